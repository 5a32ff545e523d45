"""Work on systems of devices and links, which no row of one operator on one machine describes: a point at a time."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.graphs import Estimate, busy_seconds, estimate_graph
from simexplore.sim.estimate.op_run import time_interval
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.evaluation.totals import Totals
from simexplore.sim.explore.evaluation.work import Variant
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.table import Index
from simexplore.sim.play.execute import execute
from simexplore.sim.play.result import Run


def add_system(
    variant: Variant, system: System, problem: Problem, points: Index, totals: Totals, errors: dict[int, str]
) -> None:
    """Put what a workload costs on a system at some points of a sweep; where it runs out of memory, they fail."""
    try:
        told = _told(variant, system, problem)
    except SimexploreError as error:
        errors.update(dict.fromkeys(points.tolist(), str(error)))
        return
    totals.time_s[points] = told.time_s
    totals.energy_j[points] = told.energy_j
    totals.tokens[points] = variant.tokens
    totals.peak_bytes[points] = told.peak_memory_bytes if isinstance(told, Run) else variant.peak_bytes
    low_s, high_s = time_interval(told.time_s, told.ops)
    ends = np.array([[told.time_s - low_s], [high_s - told.time_s]])
    totals.spread_s.setdefault("system", np.zeros((2, len(totals.time_s))))[:, points] = ends
    for op in told.ops:
        totals.bound_s[BOUNDS.index(op.bound), points] += op.time_s
    busy = _busy(told, variant, system, problem)
    for index, name in enumerate(RESOURCES):
        totals.busy_s[index, points] = busy.get(name, 0.0)


def _told(variant: Variant, system: System, problem: Problem) -> Run | Estimate:
    if problem.fidelity == "estimate":
        return estimate_graph(variant.whole, system, launch=problem.launch)
    return execute(variant.whole, system, launch=problem.launch, allow_overflow=problem.allow_overflow)


def _busy(told: Run | Estimate, variant: Variant, system: System, problem: Problem) -> dict[str, float]:
    """Seconds for which each resource of the first GPU is in use."""
    if isinstance(told, Run):
        return {name: share * told.time_s for name, share in told.utilization.items()}
    return dict(busy_seconds(variant.whole, system, launch=problem.launch))
