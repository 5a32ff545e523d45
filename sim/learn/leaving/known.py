"""What was known of rows before a fit: by the machine that it begins with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction
from simexplore.sim.estimate.correction import NORMAL_80, half_width_of_group
from simexplore.sim.estimate.intervals.standing import sigma_of_unseen
from simexplore.sim.learn.correction import Before


def lent(gpu: Gpu) -> Mapping[str, Correction]:
    """The corrections that a machine has before a fit, by group: its own first, then its kin's."""
    found: dict[str, Correction] = {}
    for lender in reversed(gpu.lenders):
        residual = lender.calibration.residual if lender.calibration is not None else None
        found |= residual.corrections if residual is not None else {}
    return found


def known_before(
    group: str, axes: Iterable[str], base: Gpu, optimism: float = 1.0, correction: Correction | None = None
) -> Before:
    """What a machine knew of a group's rows.

    Args:
        group: its name.
        axes: on which its rows' kinds lie.
        base: the machine that the fit begins with.
        optimism: of the physics, where it was fitted on the rows.
        correction: of the machine, if it has one and was not fitted on these rows.
    """
    spread = base.calibration.spread if base.calibration is not None else {}
    width = half_width_of_group(group, base)
    family = group.split(" ", 1)[0]
    unseen = {axis: NORMAL_80 * sigma_of_unseen(spread, family, axis) for axis in axes}
    return Before(width, {axis: max(width, far) for axis, far in unseen.items()}, optimism, correction)
