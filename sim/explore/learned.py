"""What a sweep leaves out: the learned correction belongs to the machine that was measured, and variants have none."""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.explore.spec.problem import Problem


def left_out(gpu: Gpu, problem: Problem) -> dict[str, float]:
    """By workload, its time on the unchanged machine `gpu` with the learned correction, over that of the physics alone.

    Nothing where the machine has no correction, and of workloads that it cannot run: their points say so themselves.
    """
    residual = gpu.calibration.residual if gpu.calibration is not None else None
    if residual is None or not residual.corrections:
        return {}
    factors = {}
    for workload in problem.workloads:
        graph = workload.graph({})
        try:
            with_correction, physics = (
                estimate_graph(graph, machine, launch=problem.launch).time_s for machine in (gpu, gpu.physics_only())
            )
        except SimexploreError:
            continue
        factors[workload.name] = with_correction / physics
    return factors


def told(factors: dict[str, float]) -> str:
    """`decode +0.3 %, prefill +1.2 %`."""
    return ", ".join(f"{name} {factor - 1.0:+.1%}".replace("%", " %") for name, factor in factors.items())
