"""What was known of rows before a fit: by the machine that it begins with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.correction import NORMAL_80, half_width_of_group
from simexplore.sim.estimate.intervals.standing import sigma_of_unseen
from simexplore.sim.estimate.operators import physics
from simexplore.sim.learn.correction import Before
from simexplore.workloads.ops import FAMILIES, parse_operator


def lent(gpu: Gpu) -> Mapping[str, Correction]:
    """The corrections that a machine has before a fit, by group: its own first, then its kin's."""
    found: dict[str, Correction] = {}
    for lender in reversed(gpu.lenders):
        residual = lender.calibration.residual if lender.calibration is not None else None
        found |= residual.corrections if residual is not None else {}
    return found


def staying(before: Gpu, after: Gpu, taught: Collection[str]) -> Mapping[str, Correction]:
    """The machine's own corrections that a fit leaves as they were: of other groups, whose physics did not move.

    Whether it moved is seen on the example of the group's family. A variant's corrections are another machine's.

    Args:
        before: the machine that the fit began with.
        after: with the fitted values, no correction.
        taught: groups that the fit had rows of.
    """
    residual = before.calibration.residual if before.calibration is not None else None
    if residual is None or before.lenders[0] is not before:
        return {}
    others = {group: correction for group, correction in residual.corrections.items() if group not in taught}
    families = {group.split(" ", 1)[0] for group in others}
    still = {family for family in families if _example_s(family, before) == _example_s(family, after)}
    return {group: correction for group, correction in others.items() if group.split(" ", 1)[0] in still}


def _example_s(family: str, gpu: Gpu) -> float:
    """Time of a family's example by the physics alone [s]."""
    op = parse_operator(FAMILIES[family].example)
    return float(physics(op, gpu, Conditions()).time_s[0])


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
