"""Which operators of a graph a machine's learned correction serves, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simexplore.archs.load import is_as_calibrated
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, System, system_of
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions, Launch, conditions_of
from simexplore.sim.estimate.correction import correction_of, feature_columns, group_of, octaves_outside, stacked
from simexplore.sim.estimate.graphs import places_of
from simexplore.sim.estimate.traits import NAMES
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.base import Operator

FAR_OCTAVES = 1.2
"""Beyond this distance from the measured rows less than half of a correction is left: exp(-d^2 / 2) < 0.5."""


@dataclass(frozen=True)
class Learned:
    """What a learned correction did for a graph."""

    applied: int
    """Operators whose time it is in."""
    operators: int
    """All of them."""
    left_out: Mapping[str, int]
    """Why it does not serve the others -> how many those are; empty where the machine never had any."""

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        return {"applied": self.applied, "operators": self.operators, "left_out": dict(self.left_out)}


def learned_of(
    graph: Graph, machine: Gpu | System, conditions: Conditions | None = None, launch: Launch = "graph", why: str = ""
) -> Learned:
    """What the learned corrections of a graph's places do for it; arguments as in `execute`.

    Args:
        why: what is said where a machine's corrections were left out altogether.
    """
    places = places_of(graph, system_of(machine))
    first = system_of(machine).first_gpu
    reasons: Counter[str] = Counter()
    known: dict[tuple[Any, ...], str | None] = {}
    applied = 0
    for node in graph.nodes:
        place, given = places[node.place or first], conditions or conditions_of(node, launch)
        key = (node.op, place.name, given)
        if key not in known:
            known[key] = _missing(node.op, place, given, why)
        reason = known[key]
        applied += reason is None
        if reason:
            reasons[reason] += 1
    return Learned(applied, len(graph.nodes), dict(reasons.most_common()))


def _missing(op: Operator, place: Place, conditions: Conditions, why: str) -> str | None:
    """Why no correction serves an operator; None where one does, nothing where there never was one."""
    gpu = place.arch
    residual = gpu.calibration.residual if isinstance(gpu, Gpu) and gpu.calibration is not None else None
    if residual is None or not isinstance(gpu, Gpu):
        return ""
    if not residual.corrections:
        if is_as_calibrated(gpu) and not why:
            return ""  # energies alone were fitted
        return why or f"the values of {gpu.name} are not those that it was learned with"
    correction = correction_of(op, gpu, conditions)
    if correction is None:
        return f"nothing was learned of {group_of(op, conditions)}"
    try:
        columns = feature_columns(op, gpu, np.zeros((1, len(NAMES))))
        distance = float(octaves_outside(correction.hull, stacked(columns, correction.coordinates))[0])
    except SimexploreError as error:
        return str(error)
    far = f"sizes of {op.op} are more than {FAR_OCTAVES:g} octaves from measured ones, where it fades"
    return far if distance > FAR_OCTAVES else None
