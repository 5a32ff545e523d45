"""Graphs played on a GPU: order, overlap, energy, memory, and what the result says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, Conditions
from simexplore.sim.demand import CollectiveDemand
from simexplore.sim.estimate.operators import kernels_of, predict
from simexplore.sim.hardware.collective import collective_timing
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import Activity, Probe
from simexplore.workloads.graph import Graph, Node, single
from simexplore.workloads.ops import Gemm, Operator, RmsNorm, parse_operator

COLD_GRAPH = Conditions(cache=COLD)
SMALL = RmsNorm(rows=64, cols=4096)
"""64 CTAs at most: it leaves SMs to others."""
BIG = Gemm(m=4096, n=4096, k=4096)


@cache
def gpu() -> Gpu:
    """A power limit that no kernel reaches, so that what runs before a kernel does not change its clock."""
    return load_arch("nvidia/h200-sxm@facts", {"power.tdp": "5 kW"})


def alone_s(op: Operator, conditions: Conditions = COLD_GRAPH) -> float:
    return float(predict(op, gpu(), conditions).time_s[0])


def graph(**nodes: tuple[Operator, tuple[str, ...]]) -> Graph:
    return Graph("test", tuple(Node.of(name, op, after) for name, (op, after) in nodes.items()))


def test_a_chain_takes_the_sum_of_its_nodes() -> None:
    run = execute(graph(a=(BIG, ()), b=(SMALL, ("a",)), c=(BIG, ("b",))), gpu(), COLD_GRAPH)
    assert run.time_s == pytest.approx(2 * alone_s(BIG) + alone_s(SMALL), rel=1e-6)
    assert [op.name for op in run.ops] == ["a", "b", "c"]
    for before, after in zip(run.ops, run.ops[1:], strict=False):
        assert after.start_s == pytest.approx(before.start_s + before.time_s, rel=1e-12)


def test_what_a_node_reads_from_others_is_warm() -> None:
    run = execute(graph(a=(SMALL, ()), b=(SMALL, ("a",))), gpu())
    warm = alone_s(SMALL, Conditions(cache=SERVING))
    assert run.ops[0].time_s == pytest.approx(alone_s(SMALL), rel=1e-6)
    assert run.ops[1].time_s == pytest.approx(warm, rel=1e-6)
    assert warm < alone_s(SMALL)


def test_a_run_that_is_repeated_finds_nothing_of_the_one_before() -> None:
    run = execute(graph(a=(SMALL, ()), b=(SMALL, ("a",))), gpu(), runs=3)
    once = execute(graph(a=(SMALL, ()), b=(SMALL, ("a",))), gpu())
    assert [op.name for op in run.ops] == ["run0/a", "run0/b", "run1/a", "run1/b", "run2/a", "run2/b"]
    assert [op.time_s for op in run.ops] == pytest.approx([op.time_s for op in once.ops] * 3, rel=1e-6)


def test_stream_launches_cost_more_than_graph_launches() -> None:
    by_stream, by_graph = (execute(single(SMALL), gpu(), launch=launch) for launch in ("stream", "graph"))
    extra_s = gpu().launch.stream_s - gpu().launch.graph_s
    assert by_stream.time_s - by_graph.time_s == pytest.approx(extra_s, rel=1e-6)


def test_small_kernels_without_dependencies_overlap() -> None:
    apart = graph(a=(SMALL, ()), b=(SMALL, ()))
    run = execute(apart, gpu(), COLD_GRAPH)
    assert alone_s(SMALL) <= run.time_s < 1.2 * alone_s(SMALL)
    assert run.ops[0].start_s == run.ops[1].start_s == 0.0


def test_big_kernels_on_two_streams_are_hardly_faster_than_one_after_the_other() -> None:
    run = execute(graph(a=(BIG, ()), b=(BIG, ())), gpu(), COLD_GRAPH)
    assert 1.8 * alone_s(BIG) < run.time_s < 2.0 * alone_s(BIG)


def test_energy_is_that_of_the_kernels_and_of_idling() -> None:
    run = execute(graph(a=(BIG, ()), b=(SMALL, ()), c=(BIG, ("a", "b"))), gpu(), COLD_GRAPH)
    kernels_j = sum(op.energy_j for op in run.ops)
    assert run.energy_j == pytest.approx(kernels_j + gpu().power.idle_w * run.time_s, rel=1e-9)
    lone = execute(single(BIG), gpu())
    assert lone.energy_j == pytest.approx(predict(BIG, gpu()).energy_j[0], rel=1e-6)
    assert lone.mean_power_w == pytest.approx(lone.energy_j / lone.time_s)


def test_utilization_is_a_share_and_knows_the_bottleneck() -> None:
    run = execute(single(parse_operator("copy(elements=1073741824,dtype=bf16)")), gpu())
    assert all(0.0 <= share <= 1.0 for share in run.utilization.values())
    assert max(run.utilization, key=lambda name: run.utilization[name] if name != "sm" else 0.0) == "dram"
    assert run.utilization["dram"] > 0.9
    assert run.utilization["tensor"] == 0.0
    assert run.ops[0].bound == "dram"


def test_a_collective_runs_over_its_link_beside_a_kernel() -> None:
    reduce = parse_operator("all_reduce(elements=16777216,num_gpus=8,dtype=bf16)")
    run = execute(graph(a=(reduce, ()), b=(BIG, ())), gpu(), COLD_GRAPH)
    assert max(alone_s(reduce), alone_s(BIG)) < run.time_s < alone_s(reduce) + alone_s(BIG), "its channels hold SMs"
    assert run.utilization["nvlink"] > 0.0


def test_a_kernel_beside_a_collective_has_the_sms_that_its_channels_leave() -> None:
    reduce = parse_operator("all_reduce(elements=268435456,num_gpus=8,dtype=bf16)")
    kernel = parse_operator("gemm(m=4224,n=4096,k=4096,dtype=bf16)")
    ops = {op.name: op for op in execute(graph(a=(reduce, ()), b=(kernel, ())), gpu(), COLD_GRAPH).ops}
    slower = (ops["b"].time_s) / alone_s(kernel)
    assert 132 / (132 - 16) * 0.9 < slower < 1.6, "16 of 132 SMs are the switches' channels'"


def test_two_collectives_share_their_link() -> None:
    gather = parse_operator("all_gather(elements=268435456,num_gpus=8,dtype=bf16)")
    run = execute(graph(a=(gather, ()), b=(gather, ())), gpu())
    (demand,) = kernels_of(gather, gpu(), Conditions())
    assert isinstance(demand, CollectiveDemand)
    link_s = collective_timing(demand, gpu(), "graph").link_s.item()
    assert 2 * link_s < run.time_s < 2 * alone_s(gather), "one copies while the other waits"
    assert run.time_s > 1.6 * alone_s(gather)


def test_a_collective_of_one_gpu_takes_no_time() -> None:
    assert execute(single(parse_operator("all_reduce(elements=1024,num_gpus=1)")), gpu()).time_s == 0.0


def test_an_empty_graph_is_an_empty_run() -> None:
    run = execute(Graph("nothing", ()), gpu())
    assert (run.time_s, run.energy_j, run.mean_power_w, run.ops) == (0.0, 0.0, 0.0, ())


class MemoryTimeline(Probe):
    """Levels of memory in the order of time."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def on_memory(self, now_fs: int, held_bytes: float) -> None:
        self.levels.append(held_bytes)


def test_results_live_until_their_last_reader_has_ended() -> None:
    nodes = (
        Node("a", SMALL, (), 1e9),
        Node("b", SMALL, ("a",), 2e9),
        Node("c", SMALL, ("a", "b"), 4e9),
    )
    timeline = MemoryTimeline()
    run = execute(Graph("test", nodes, {"weights": 8e9}), gpu(), probes=[timeline])
    #                         start a    a ends  b      b ends  c       c ends: nobody reads its result
    assert timeline.levels == [8e9, 9e9, 9e9, 11e9, 11e9, 15e9, 8e9]
    assert run.peak_memory_bytes == 15e9


def test_too_much_memory_is_an_error_that_names_what_is_too_large() -> None:
    big = Graph("big/model", (Node("a", SMALL, (), 1e9),), {"weights": 200e9, "kv_cache": 5e9})
    with pytest.raises(SimexploreError, match=r"big/model needs 205 GB .*weights 200 GB, kv_cache 5 GB.*has 141 GB"):
        execute(big, gpu())
    late = Graph("late", (Node("a", SMALL), Node("b", SMALL, ("a",), 100e9)), {"weights": 100e9})
    with pytest.raises(SimexploreError, match=r"late needs 200 GB of device memory at b \(weights 100 GB, results 100"):
        execute(late, gpu())
    assert execute(big, gpu(), allow_overflow=True).peak_memory_bytes == 206e9


def test_an_operator_that_the_machine_cannot_run_is_named_by_its_node() -> None:
    with pytest.raises(SimexploreError, match=r"^odd: .*fp8"):
        execute(graph(odd=(Gemm(m=64, n=64, k=64, dtype="fp8"), ())), load_arch("nvidia/a100-sxm-80gb"))


def test_the_result_is_plain_data_with_stable_keys() -> None:
    data = json.loads(json.dumps(execute(single(SMALL), gpu()).to_json()))
    energy = {"energy_j", "energy_low_j", "energy_high_j", "energies_j", "clock_over_boost"}
    times = {"time_s", "time_low_s", "time_high_s"}
    assert set(data) == {*energy, *times, "mean_power_w", "peak_memory_bytes", "memory", "utilization", "ops"}
    (op,) = data["ops"]
    assert set(op) == {*energy, *times, "name", "op", "start_s", "bound", "kernel"}
    assert op["op"] == SMALL.describe()
    assert op["energy_low_j"] < op["energy_j"] == sum(op["energies_j"].values()) < op["energy_high_j"]
    assert data["energy_low_j"] < data["energy_j"] == sum(data["energies_j"].values()) < data["energy_high_j"]
    assert set(data["energies_j"]) == {*op["energies_j"], "idle"}


class Everything(Probe):
    """Writes all hooks down."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, object]] = []

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        self.calls.append((now_fs, "start", activity.node))

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        self.calls.append((now_fs, "end", activity.node))

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        self.calls.append((now_fs, "wave", activity.node))

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        self.calls.append((now_fs, "rates", dict(loads)))


def test_watching_a_run_changes_nothing_in_it() -> None:
    work = graph(a=(BIG, ()), b=(SMALL, ()), c=(BIG, ("b",)), d=(SMALL, ("a", "c")))
    probe = Everything()
    assert execute(work, gpu(), probes=[probe]) == execute(work, gpu())
    again = Everything()
    execute(work, gpu(), probes=[again])
    assert again.calls == probe.calls
    assert [time for time, _, _ in probe.calls] == sorted(time for time, _, _ in probe.calls)
    assert {hook for _, hook, _ in probe.calls} == {"start", "end", "wave", "rates"}


OPERATORS = (
    SMALL,
    BIG,
    Gemm(m=1, n=4096, k=4096),
    Gemm(m=300, n=11008, k=512),
    parse_operator("softmax(rows=3000,cols=1024,dtype=bf16)"),
    parse_operator("attention_decode(batch=4,heads=32,kv_heads=8,head_dim=128,seq_kv=3000,dtype=bf16)"),
    parse_operator("all_reduce(elements=1048576,num_gpus=4,dtype=bf16)"),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 10))):
        after = draw(st.lists(st.sampled_from(nodes), max_size=3, unique_by=id)) if nodes else []
        nodes.append(Node.of(f"n{index}", draw(st.sampled_from(OPERATORS)), [node.name for node in after]))
    return Graph("random", tuple(nodes))


@settings(max_examples=60)
@given(graphs())
def test_never_below_the_critical_path_nor_out_of_order(work: Graph) -> None:
    run = execute(work, gpu(), COLD_GRAPH)
    by_name = {op.name: op for op in run.ops}
    assert set(by_name) == {node.name for node in work.nodes}
    durations = {node.name: alone_s(node.op) for node in work.nodes}
    assert run.time_s >= work.critical_path(durations)[0] * (1 - 1e-9)
    for node in work.nodes:
        assert by_name[node.name].time_s >= durations[node.name] * (1 - 1e-9)
        for name in node.after:
            before = by_name[name]
            assert by_name[node.name].start_s >= (before.start_s + before.time_s) * (1 - 1e-12)


def test_kernels_that_become_ready_together_are_launched_in_the_order_of_the_graph() -> None:
    probe = Everything()
    work = graph(first=(SMALL, ()), a=(BIG, ("first",)), b=(BIG, ("first",)), c=(BIG, ("first",)))
    execute(work, gpu(), COLD_GRAPH, probes=[probe])
    assert [node for _, hook, node in probe.calls if hook == "start"] == ["first", "a", "b", "c"]
