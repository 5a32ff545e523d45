"""A graph in closed form: each node's time alone on the idle machine, put end to end along the longest chain.

What it leaves out is what the events add: kernels that run side by side here take nothing from each other, and no
memory is counted. On a chain of operators both give the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, Conditions, Launch
from simexplore.sim.estimate.op_run import OpRun, time_interval
from simexplore.sim.estimate.operators import predict
from simexplore.sim.play.ngpc.frame import estimate_frame, plan_frame
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Operator


@dataclass(frozen=True)
class Estimate:
    """What a workload costs where kernels do not contend."""

    time_s: float
    """Length of the critical path [s]."""
    energy_j: float
    """Dynamic energy of all kernels, and idle power over the time [J]."""
    ops: tuple[OpRun, ...]
    """The nodes in the order in which they start."""

    def to_json(self) -> dict[str, Any]:
        """Plain data with the keys of a `Run`; None for what only events tell."""
        low_s, high_s = time_interval(self.time_s, self.ops)
        return {
            "time_s": self.time_s,
            "time_low_s": low_s,
            "time_high_s": high_s,
            "energy_j": self.energy_j,
            "peak_memory_bytes": None,
            "utilization": None,
            "ops": [op.to_json() for op in self.ops],
        }


def estimate_graph(graph: Graph, gpu: Gpu, conditions: Conditions | None = None, launch: Launch = "graph") -> Estimate:
    """The closed form of a graph; arguments as in `execute`.

    Raises:
        SimexploreError: the GPU cannot run an operator.
    """
    plan = plan_frame(graph, gpu, launch)
    if plan is not None:
        return Estimate(*estimate_frame(plan, gpu))
    alone: dict[tuple[Operator, Conditions], OpRun] = {}
    ends: dict[str, float] = {}
    ops = []
    for node in graph.nodes:
        given = conditions or Conditions(cache=SERVING if node.after else COLD, launch=launch)
        key = (node.op, given)
        if key not in alone:
            alone[key] = _alone(node, gpu, given)
        op = alone[key]
        start_s = max((ends[name] for name in node.after), default=0.0)
        ends[node.name] = start_s + op.time_s
        ops.append(replace(op, name=node.name, start_s=start_s))
    time_s = max(ends.values(), default=0.0)
    return Estimate(
        time_s=time_s,
        energy_j=sum(op.energy_j for op in ops) + gpu.power.idle_w * time_s,
        ops=tuple(sorted(ops, key=lambda op: op.start_s)),
    )


def _alone(node: Node, gpu: Gpu, conditions: Conditions) -> OpRun:
    try:
        prediction = predict(node.op, gpu, conditions)
    except SimexploreError as error:
        raise SimexploreError(f"{node.name}: {error}") from None
    time_s = float(prediction.time_s[0])
    dynamic_j = float(prediction.energy_j[0]) - gpu.power.idle_w * time_s
    ratio = float(prediction.interval_ratio[0])
    return OpRun(node.name, node.op.describe(), 0.0, time_s, prediction.bound[0], dynamic_j, node.op.op, ratio)
