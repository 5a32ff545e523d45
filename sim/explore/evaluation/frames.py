"""Neural-graphics frames on machines with a cluster for them, which no row of one operator on one machine describes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Launch
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.op_run import time_interval
from simexplore.sim.estimate.operators import BOUNDS
from simexplore.sim.explore.evaluation.totals import Totals
from simexplore.sim.explore.table import Index
from simexplore.sim.play.execute import execute
from simexplore.sim.play.ngpc.frame import estimate_frame, plan_frame
from simexplore.workloads.graph import Graph


def add_frame(
    graph: Graph, gpu: Gpu, launch: Launch, fidelity: Literal["estimate", "execute"], points: Index, totals: Totals
) -> None:
    """Put what a frame costs on a machine at some points of a sweep.

    Raises:
        SimexploreError: the cluster cannot hold the encoding.
    """
    plan = plan_frame(graph, gpu, launch)
    assert plan is not None, "only frames come here, on machines with a cluster"
    if fidelity == "estimate":
        time_s, energy_j, ops = estimate_frame(plan, gpu)
    else:
        run = execute(graph, gpu, launch=launch, allow_overflow=True)
        time_s, energy_j, ops = run.time_s, run.energy_j, run.ops
    totals.time_s[points] = time_s
    totals.energy_j[points] = energy_j
    longest = max(ops, key=lambda op: op.time_s)  # both sides work at once: the longer one bounds the frame
    totals.bound_s[BOUNDS.index(longest.bound), points] = time_s
    low_s, high_s = time_interval(time_s, ops)
    ends = np.array([[time_s - low_s], [high_s - time_s]])
    totals.spread_s.setdefault("frame", np.zeros((2, len(totals.time_s))))[:, points] = ends
    busy = plan.busy_s
    totals.busy_s[:, points] = np.array([busy.get(name, 0.0) for name in RESOURCES])[:, None]
