"""Operators as they will be played."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, system_of
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Grid, KernelDemand, Latency, Work
from simexplore.sim.estimate.alone import alone
from simexplore.sim.estimate.graphs import PricedGraph
from simexplore.sim.estimate.operators import kernels_of, predict
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.play.devices.kernel import GpuKernel
from simexplore.sim.play.plan import Planner
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Gemm, parse_operator


@cache
def gpu() -> Gpu:
    return load_arch("nvidia/h200-sxm")


def place() -> Place:
    return system_of(gpu()).place()


def kernel(ctas: int, ctas_per_sm: int) -> GpuKernel:
    def one(value: float) -> np.ndarray:
        return np.array([float(value)])

    room = gpu().sm.shared_memory_bytes / ctas_per_sm - gpu().sm.shared_memory_reserved_bytes
    demand = KernelDemand(
        kernel="test",
        grid=Grid(
            ctas=one(ctas),
            warps_per_cta=one(1),
            registers_per_thread=one(32),
            shared_bytes_per_cta=one(room - 1),
        ),
        work=Work(
            fma_ops=one(1e6),
        ),
        latency=Latency(
            exposed_cycles=one(1000),
        ),
    )
    return GpuKernel(demand, place(), Conditions())


@pytest.mark.parametrize(
    ("ctas_per_sm", "slots", "waves"), [(3, 13, 5), (3, 26, 5), (7, 29, 3), (1, 132, 9)], ids=lambda value: str(value)
)
def test_whole_waves_on_a_fraction_of_the_sms_stay_whole(ctas_per_sm: int, slots: int, waves: int) -> None:
    timing = kernel(waves * slots, ctas_per_sm).timing(waves * slots, slots / ctas_per_sm)
    assert (timing.full_waves, timing.tail_share) == (waves, 0.0)
    more = kernel(waves * slots + 1, ctas_per_sm).timing(waves * slots + 1, slots / ctas_per_sm)
    assert more.run_s > timing.run_s


def test_shares_of_the_waves_add_up_and_demands_are_per_cta() -> None:
    grid = kernel(500, 2)
    timing = grid.timing(500, 132.0)
    assert timing.full_waves * timing.full_wave_share + timing.tail_share == pytest.approx(1.0)
    assert timing.demands["fma"] * 500 <= timing.run_s
    few = grid.timing(100, 132.0)
    assert few.demands["fma"] == pytest.approx(timing.demands["fma"])
    assert grid.timing(500, 132.0) is timing, "asked for once"


def test_a_transfer_is_the_latency_and_the_bandwidth_part_of_the_closed_form() -> None:
    op = parse_operator("all_reduce(elements=1048576,num_gpus=8,dtype=bf16)")
    (demand,) = kernels_of(op, gpu(), Conditions())
    (phase,) = alone(demand, place(), Conditions()).as_numbers().phases
    assert list(phase.takes) == ["nvlink", "l2", "dram"]
    assert phase.latency_s > 0.0
    assert phase.run_s >= phase.takes["nvlink"] > phase.takes["dram"] > 0.0  # type: ignore[operator]
    assert phase.time_s == pytest.approx(predict(op, gpu()).time_s.item())


def test_an_operator_is_mapped_once_for_each_set_of_conditions() -> None:
    op, again = Gemm(m=512, n=512, k=512), Gemm(m=512, n=512, k=512)
    nodes = (Node("a", op), Node("b", again), Node("c", op, ("b",)))
    planner = Planner(PricedGraph.on(Graph("mine", nodes), gpu(), None, "graph"))
    plan, same, later = (planner.plan(node) for node in nodes)
    assert same is plan
    assert later is not plan, "it finds what b has written in L2"
    assert plan.kernel == "gemm"
    assert plan.bound == predict(op, gpu()).bound[0]
    assert plan.bound in BOUNDS
