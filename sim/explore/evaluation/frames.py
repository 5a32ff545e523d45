"""Neural-graphics frames on machines with a cluster for them, which no row of one operator on one machine describes."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import system_of
from simexplore.sim.conditions import Launch
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.graphs import busy_seconds, estimate_graph
from simexplore.sim.estimate.offload import prepared
from simexplore.sim.estimate.op_run import time_interval
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.evaluation.totals import Totals
from simexplore.sim.explore.table import Index
from simexplore.sim.play.execute import execute
from simexplore.workloads.graph import Graph


def add_frame(
    graph: Graph, gpu: Gpu, launch: Launch, fidelity: Literal["estimate", "execute"], points: Index, totals: Totals
) -> None:
    """Put what a frame costs on a machine at some points of a sweep.

    Raises:
        SimexploreError: the cluster cannot hold the encoding.
    """
    play = partial(execute, allow_overflow=True) if fidelity == "execute" else estimate_graph
    run = play(graph, gpu, launch=launch)
    totals.time_s[points] = run.time_s
    totals.energy_j[points] = run.energy_j
    totals.peak_bytes[points] = sum(prepared(graph, system_of(gpu)).resident_bytes.values())
    longest = max(run.ops, key=lambda op: op.time_s)  # both sides work at once: the longer one bounds the frame
    totals.bound_s[BOUNDS.index(longest.bound), points] = run.time_s
    low_s, high_s = time_interval(run.time_s, run.ops)
    ends = np.array([[run.time_s - low_s], [high_s - run.time_s]])
    totals.spread_s.setdefault("frame", np.zeros((2, len(totals.time_s))))[:, points] = ends
    busy_s = busy_seconds(graph, gpu, launch=launch)
    totals.busy_s[:, points] = np.array([busy_s.get(name, 0.0) for name in RESOURCES])[:, None]
