"""A graph in closed form: nodes alone, along the longest chain."""

from __future__ import annotations

import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, WARM, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import parse_operator

SHORT, LONG, LAST = (parse_operator(f"gemm(m=64,n={n},k=4096,dtype=bf16)") for n in (256, 16384, 1024))
DIAMOND = Graph(
    "diamond",
    (
        Node.of("short", SHORT),
        Node.of("long", LONG),
        Node.of("last", LAST, after=("short", "long")),
    ),
)


def test_time_is_that_of_the_longest_chain() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    result = simexplore.estimate(DIAMOND, gpu)
    cold, serving = Conditions(cache=COLD), Conditions(cache=SERVING)
    short, long = (float(predict(op, gpu, cold).time_s[0]) for op in (SHORT, LONG))
    last = float(predict(LAST, gpu, serving).time_s[0])
    assert short < long
    assert result.time_s == pytest.approx(long + last, rel=1e-12)
    assert {op.name: op.start_s for op in result.ops} == pytest.approx({"short": 0.0, "long": 0.0, "last": long})


def test_energy_is_dynamic_of_all_and_idle_of_the_time() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    result = simexplore.estimate(DIAMOND, gpu)
    dynamic_j = sum(op.energy_j for op in result.ops)
    assert all(op.energy_j > 0 for op in result.ops)
    assert result.energy_j == pytest.approx(dynamic_j + gpu.power.idle_w * result.time_s)


def test_given_conditions_hold_for_every_node() -> None:
    warm, default = (simexplore.estimate(DIAMOND, "nvidia/h200-sxm", cache=cache) for cache in (WARM, None))
    assert warm.time_s < default.time_s


def test_what_a_machine_cannot_run_is_told_with_the_node() -> None:
    graph = Graph("one", (Node.of("mine", parse_operator("gemm(m=1,n=1,k=1,dtype=fp4)")),))
    with pytest.raises(SimexploreError, match=r"^mine: .*fp4"):
        simexplore.estimate(graph, "nvidia/t4")
