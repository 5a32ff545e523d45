"""Which operators of a graph learned corrections serve, faded by how much, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from simexplore.archs.load import is_as_calibrated
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, System, system_of
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions, Launch, conditions_of
from simexplore.sim.estimate.correction import feature_columns, group_of, octaves_outside, stacked
from simexplore.sim.estimate.graphs import places_of
from simexplore.sim.estimate.learned.passed_on import Lent, kept_share, lent_to
from simexplore.sim.estimate.operators import at_boost, lesson_of
from simexplore.sim.estimate.traits import NAMES
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.base import Operator

FAR_OCTAVES = 1.2
"""Beyond this distance from the measured rows less than half of a correction is left: exp(-d^2 / 2) < 0.5."""
LEAST_KEPT = 0.5
"""Share of a correction below which it is said to be left out."""


@dataclass(frozen=True)
class Learned:
    """What learned corrections did for a graph."""

    applied: int
    """Operators whose time one is in."""
    operators: int
    """All of them."""
    left_out: Mapping[str, int]
    """Why none serves the others -> how many those are; empty where the machine never had any."""
    lenders: tuple[str, ...] = ()
    """Machines that they were learned on, where it is another one than this."""
    faded: float = 0.0
    """Share of them that is gone because those machines are others, mean over the operators that they serve."""

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        return {**asdict(self), "left_out": dict(self.left_out), "lenders": list(self.lenders)}


class _Service(NamedTuple):
    """What is learned of an operator at a place."""

    reason: str | None = None
    """Why no correction serves it; None where one does, nothing where there never was one."""
    kept: float = 1.0
    """Share of the correction that the fading between machines leaves."""
    lender: str = ""
    """Machine that lends it, if it is another one."""


def learned_of(
    graph: Graph, machine: Gpu | System, conditions: Conditions | None = None, launch: Launch = "graph", why: str = ""
) -> Learned:
    """What the learned corrections of a graph's places do for it; arguments as in `execute`.

    Args:
        why: what is said where a machine's corrections were left out altogether.
    """
    places = places_of(graph, system_of(machine))
    first = system_of(machine).first_gpu
    known: dict[tuple[Any, ...], _Service] = {}
    found = []
    for node in graph.nodes:
        place, given = places[node.place or first], conditions or conditions_of(node, launch)
        key = (node.op, place.name, given)
        if key not in known:
            known[key] = _service(node.op, place, given, why)
        found.append(known[key])
    served = [service for service in found if service.reason is None]
    reasons = Counter(service.reason for service in found if service.reason)
    return Learned(
        applied=len(served),
        operators=len(found),
        left_out=dict(reasons.most_common()),
        lenders=tuple(dict.fromkeys(service.lender for service in served if service.lender)),
        faded=sum(1.0 - service.kept for service in served) / max(len(served), 1),
    )


def _service(op: Operator, place: Place, conditions: Conditions, why: str) -> _Service:
    gpu = place.arch
    if not isinstance(gpu, Gpu):
        return _Service("")
    if not any(lender.lends for lender in gpu.lenders):
        residual = gpu.calibration.residual if gpu.calibration is not None else None
        if residual is None or (is_as_calibrated(gpu) and not why):
            return _Service("")  # nothing was ever learned, or energies alone
        return _Service(why or f"the values of {gpu.name} are not those that it was learned with")
    lent = lent_to(op, gpu, conditions)
    if lent is None:
        return _Service(f"nothing was learned of {group_of(op, conditions)}")
    try:
        columns = feature_columns(op, lent.lender, np.zeros((1, len(NAMES))))
        distance = float(octaves_outside(lent.correction.hull, stacked(columns, lent.correction.coordinates))[0])
        kept = 1.0 if lent.lender is gpu else _kept(lent, op, gpu, conditions)
    except SimexploreError as error:
        return _Service(str(error))
    if distance > FAR_OCTAVES:
        return _Service(f"sizes of {op.op} are more than {FAR_OCTAVES:g} octaves from measured ones, where it fades")
    if kept < LEAST_KEPT:
        return _Service(f"{op.op} takes quite another time on {lent.lender.name}, where it was learned: it fades")
    return _Service(None, kept, "" if lent.lender is gpu else lent.lender.name)


def _kept(lent: Lent, op: Operator, gpu: Gpu, conditions: Conditions) -> float:
    lesson = lesson_of(lent, op, conditions)
    return 0.0 if lesson is None else float(kept_share(at_boost(op, gpu, conditions).time_s, lesson)[0])
