"""What would help, what lost, machines beside each other, and whole workloads: sums, orders and re-runs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from round_gpu import round_gpu

import simexplore
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.estimate.op_run import OpRun
from simexplore.sim.explain.lost import choices_of
from simexplore.sim.explain.machines import beside
from simexplore.sim.explain.tables import beside_table, tables_of
from simexplore.sim.explain.what_if import what_ifs
from simexplore.sim.explain.whole import BESIDE, explain
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import parse_operator


def test_what_would_help_is_in_order_and_says_what_to_set() -> None:
    gpu = round_gpu()
    asked: list[Mapping[str, str]] = []

    def variant(changes: Mapping[str, str]) -> Gpu:
        asked.append(changes)
        if "dram.latency" in changes:
            raise SimexploreError("no such machine")
        return round_gpu(changes)

    def timed(machine: Gpu) -> float:
        return 1.0 / (machine.sm.count * machine.dram.bandwidth_bytes_per_s**2)

    found = what_ifs(gpu, timed(gpu), variant, timed)
    assert [each.name for each in found] == ["dram.bandwidth", "sm.count"], "what changes nothing is not told"
    assert dict(found[0].changes) == {"dram.bandwidth": "120 GB/s"}
    assert found[0].gain == pytest.approx(1.0 / 1.44 - 1.0)
    assert found[1].gain == pytest.approx(1.0 / 1.2 - 1.0)
    assert found[1].to_json()["set"] == {"sm.count": "12"}
    assert {"l2.near_latency": "88 clk", "l2.far_latency": "184 clk"} in asked
    assert {"clock.boost": "1.2 GHz"} in asked


def test_candidates_lose_by_what_the_library_reckons() -> None:
    gpu = simexplore.load_arch("nvidia/h200-sxm")
    found = choices_of(parse_operator("gemm(m=4096,n=4096,k=4096)"), gpu, Conditions())
    behind = [each.behind for each in found.candidates]
    assert behind == sorted(behind)
    assert behind[0] > 0.0
    assert found.tried > 50
    assert len({each.tile for each in found.candidates}) == len(found.candidates), "each once"
    page = explain(simexplore.load_workload("gemm(m=4096,n=4096,k=4096)"), gpu).ops[0].kernels[0]
    assert page.tile not in {each.tile for each in found.candidates}


def test_algorithms_that_lost_are_told() -> None:
    gpu = simexplore.load_arch("nvidia/a100-sxm-80gb")
    text = "conv2d(batch=16,cin=64,cout=64,ksize=3,hw=56,pad=1,dtype=fp32)"
    found = choices_of(parse_operator(text), gpu, Conditions())
    assert found.algorithms
    assert all(each.behind >= 0.0 and each.takes_s > 0.0 for each in found.algorithms)


def made(time_s: float, ratio: float, spread: float = 0.01) -> Estimate:
    """A result of one operator whose interval has this ratio."""
    op = OpRun("a", "gemm(m=1)", 0.0, time_s, "dram", {"dram": time_s}, "gemm", ratio, spread)
    return Estimate(time_s, {"dram": time_s}, (op,))


def test_a_difference_counts_where_intervals_do_not_meet() -> None:
    first, near, far = beside([("a", made(1.0, 1.1)), ("b", made(1.15, 1.1)), ("c", made(2.0, 1.1))])
    assert (first.time_s.ratio, first.time_s.differs) == (1.0, False)
    assert (near.time_s.ratio, near.time_s.differs) == (1.15, False)  # 1.15 / 1.1 is less than 1.1
    assert (far.time_s.ratio, far.time_s.differs) == (2.0, True)
    assert (far.time_s.low, far.time_s.high) == pytest.approx((2.0 / 1.1, 2.2))
    assert far.energy_j.differs
    assert beside([("a", made(1.0, 1.1, 1.0)), ("c", made(2.0, 1.1, 1.0))])[1].energy_j.differs is False
    assert beside([("a", made(2.0, 1.1)), ("b", made(1.0, 1.1))])[1].time_s.differs, "less is a difference too"
    assert dict(far.kinds_s) == {"gemm": 2.0}


def test_a_workload_by_layer_and_by_kind() -> None:
    gpu = simexplore.load_arch("nvidia/h200-sxm")
    graph = simexplore.load_workload("llm/llama-3-8b/decode", {"layers": 3})
    told = explain(graph, gpu)
    assert told.time_s == simexplore.estimate(graph, gpu).time_s
    assert sum(told.parts_s.values()) == pytest.approx(told.time_s, rel=1e-9)
    assert sum(told.kinds.values()) == pytest.approx(told.time_s, rel=1e-9)
    assert sum(told.layers.values()) == pytest.approx(told.time_s, rel=1e-9)
    assert list(told.layers) == ["embedding", "layer0", "layer1", "layer2", "head"]
    assert sum(len(op.names) for op in told.ops) == len(graph.nodes)
    titles = {table.title: table for table in tables_of(told)}
    assert [row[:2] for row in titles["by layer"].rows] == [
        ("embedding", "1"), ("layer0", "1"), ("layer1 to layer2", "2"), ("head", "1"),
    ]  # fmt: skip
    assert {"by kind", "operators", "where the numbers come from"} <= set(titles)


def test_what_runs_side_by_side_is_told_apart_from_the_parts() -> None:
    op = parse_operator("gemm(m=64,n=4096,k=4096)")
    graph = Graph("both", (Node.of("a", op), Node.of("b", op)))
    told = explain(graph, simexplore.load_arch("nvidia/h200-sxm"))
    assert told.parts_s[BESIDE] == pytest.approx(-told.ops[0].time_s)
    assert sum(told.parts_s.values()) == pytest.approx(told.time_s)


def test_collectives_are_latency_and_transfer() -> None:
    gpu = simexplore.load_arch("nvidia/h100-sxm")
    told = explain(simexplore.load_workload("all_reduce(elements=10000000,num_gpus=8)"), gpu)
    assert told.parts_s["set-up"] > 0.0
    assert told.parts_s["main loop"] > 0.0
    assert sum(told.parts_s.values()) == pytest.approx(told.time_s, rel=1e-9)


def test_a_system_is_explained_with_what_runs_side_by_side() -> None:
    machine = load_machine("systems/rtx-4090-fuyou")
    graph = simexplore.load_workload("offload/fuyou", {"layers": 2, "batch": 4})
    told = explain(graph, machine)
    assert told.time_s == simexplore.estimate(graph, machine).time_s
    assert sum(told.parts_s.values()) == pytest.approx(told.time_s, rel=1e-9)
    assert told.parts_s[BESIDE] < 0.0
    for op in told.ops:
        assert sum(op.parts_s.values()) == pytest.approx(op.time_s, rel=1e-9), op.op
    assert {"transfer", "gemm", "host_work"} <= set(told.kinds)
    assert {op.choices is None for op in told.ops if op.kind in ("transfer", "host_work")} == {True}


def test_machines_stand_beside_each_other() -> None:
    graph = simexplore.load_workload("gemm(m=4096,n=4096,k=4096)")
    every = [explain(graph, simexplore.load_arch(name)) for name in ("nvidia/h200-sxm", "nvidia/a100-sxm-80gb")]
    table = beside_table(every)
    lines = [row for row in table.rows if row[0] == "ratio"]
    assert lines[0][1:] == ("1", f"{every[1].time_s / every[0].time_s:.3g}")
    assert lines[1][2].startswith("~"), "the energies' intervals meet"
    assert [row[0] for row in table.rows][-7:-1] == ["launch", "set-up", "fill", "main loop", "tail", "epilogue"]
