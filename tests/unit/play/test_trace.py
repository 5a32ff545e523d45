"""The Chrome trace: the rules of the Trace Event Format, and what the trace tells of a run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from trace_tables import slices

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import Activity, BoardState
from simexplore.sim.play.result import Run
from simexplore.sim.play.trace import Trace
from simexplore.workloads import catalog
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Gemm, RmsNorm, parse_operator

NAMED = {"B", "M", "C", "s", "f"}
METADATA = {
    "process_name": "name",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
    "process_sort_index": "sort_index",
}


def violations(trace: dict[str, Any]) -> list[str]:
    """What breaks the Trace Event Format, or what viewers make of it; empty for a good trace."""
    found: list[str] = []
    if not isinstance(trace.get("traceEvents"), list):
        return ["traceEvents is not a list"]
    if trace.get("displayTimeUnit") not in ("ms", "ns"):
        found.append("displayTimeUnit is neither ms nor ns")
    for event in trace["traceEvents"]:
        found += [f"{problem}: {event}" for problem in _event_violations(event)]
    if found:
        return found
    timed = [event["ts"] for event in trace["traceEvents"] if event["ph"] != "M"]
    if any(after < before for before, after in pairwise(timed)):
        found.append("events are not in the order of time")
    return found + _slice_violations(trace["traceEvents"])


def _event_violations(event: dict[str, Any]) -> list[str]:
    found = []
    phase = event.get("ph")
    if phase not in {*NAMED, "E"}:
        return [f"unknown phase {phase}"]
    if phase in NAMED and not (isinstance(event.get("name"), str) and event["name"]):
        found.append("no name")
    if not isinstance(event.get("pid"), int) or event["pid"] < 1:
        found.append("no process")
    if phase in "BMC" and not (isinstance(event.get("args"), dict) and event["args"]):
        found.append("no args")
    if phase == "M" and METADATA.get(event["name"]) not in event["args"]:
        found.append("metadata without its argument")
    if phase != "M" and (not isinstance(event.get("ts"), int | float) or event["ts"] < 0.0):
        found.append("no time stamp")
    if phase in "BEsf" and not isinstance(event.get("tid"), int):
        found.append("no thread")
    if phase in "sf" and not isinstance(event.get("id"), int):
        found.append("an arrow without a number")
    if phase == "C" and not all(type(value) in (int, float) for value in event["args"].values()):
        found.append("a counter that is not a number")
    return found


def _slice_violations(events: list[dict[str, Any]]) -> list[str]:
    """Slices must end, each on a thread that has a name, and arrows begin and end once."""
    found = []
    named = {(event["pid"], event["tid"]) for event in events if event.get("name") == "thread_name"}
    open_slices: Counter[tuple[int, int]] = Counter()
    for event in events:
        if event["ph"] not in "BE":
            continue
        thread = (event["pid"], event["tid"])
        open_slices[thread] += 1 if event["ph"] == "B" else -1
        if thread not in named:
            found.append(f"thread {thread} has no name")
        if open_slices[thread] < 0:
            found.append(f"thread {thread} ends a slice that has not begun")
    if any(open_slices.values()):
        found.append("a slice never ends")
    begun, ended = ([event["id"] for event in events if event["ph"] == phase] for phase in "sf")
    if sorted(begun) != sorted(ended) or len(set(begun)) < len(begun):
        found.append("an arrow has not two ends")
    return found


@cache
def gpu() -> Gpu:
    return load_arch("nvidia/h200-sxm")


@cache
def recorded() -> tuple[Trace, Run]:
    """Three streams, an all-reduce among them."""
    norm, gemm = RmsNorm(rows=64, cols=4096), Gemm(m=4096, n=4096, k=4096)
    reduce = parse_operator("all_reduce(elements=16777216,num_gpus=8,dtype=bf16)")
    nodes = (
        Node.of("norm", norm),
        Node.of("gate", gemm, ["norm"]),
        Node.of("up", gemm, ["norm"]),
        Node.of("reduce", reduce, ["norm"]),
        Node.of("join", norm, ["gate", "up", "reduce"]),
    )
    trace = Trace(gpu().name)
    run = execute(Graph("test", nodes, {"weights": 1e9}), gpu(), probes=[trace])
    return trace, run


def events(phase: str) -> list[dict[str, Any]]:
    return [event for event in recorded()[0].to_json()["traceEvents"] if event["ph"] == phase]


def test_the_trace_keeps_the_rules_of_the_format() -> None:
    assert violations(recorded()[0].to_json()) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"ph": "Q", "name": "a", "pid": 1, "args": {"x": 1}},
        {"ph": "B", "name": "a", "pid": 1, "ts": 1.0, "args": {"x": 1}},
        {"ph": "B", "name": "a", "pid": 1, "tid": 1, "ts": 1.0, "args": {"x": 1}},
        {"ph": "E", "pid": 1, "tid": 1, "ts": 1.0},
        {"ph": "s", "name": "a", "pid": 1, "tid": 1, "ts": 1.0, "id": 1},
        {"ph": "C", "name": "a", "pid": 1, "ts": 1.0, "args": {"x": "high"}},
        {"ph": "C", "name": "a", "pid": 1, "ts": -1.0, "args": {"x": 1.0}},
        {"ph": "M", "name": "process_name", "pid": 1, "args": {}},
    ],
    ids=["phase", "no thread", "no end", "no beginning", "half an arrow", "text", "negative time", "metadata"],
)
def test_the_rules_find_what_is_broken(broken: dict[str, Any]) -> None:
    assert violations({"displayTimeUnit": "ns", "traceEvents": [broken]})


def test_every_kernel_is_a_slice_on_its_stream_with_what_there_is_to_know() -> None:
    told = slices(recorded()[0].to_json())
    run = recorded()[1]
    assert {event["name"] for event in told if event["cat"] == "op"} == {op.name for op in run.ops}
    assert len({event["tid"] for event in told}) == 3
    gate = next(event for event in told if event["cat"] == "kernel" and event["args"]["node"] == "gate")
    op = next(op for op in run.ops if op.name == "gate")
    assert gate["name"] == op.kernel == "gemm"
    assert gate["args"]["op"] == op.op
    assert gate["args"]["bound"] == op.bound
    assert "x" in gate["args"]["tile"]
    assert gate["ts"] + gate["dur"] == pytest.approx((op.start_s + op.time_s) * 1e6, abs=0.002)


def test_a_launch_is_the_first_phase_of_the_first_kernel() -> None:
    told = slices(recorded()[0].to_json())[:4]
    assert [(event["cat"], event["name"], event["ts"]) for event in told] == [
        ("op", "norm", 0.0), ("kernel", "rmsnorm", 0.0), ("phase", "launch", 0.0), ("phase", "set-up", told[2]["dur"]),
    ]  # fmt: skip
    assert told[2]["dur"] == pytest.approx(gpu().launch.graph_s * 1e6, abs=0.002)


def test_counters_of_shared_resources_are_shares_that_close_to_zero() -> None:
    run = recorded()[1]
    for name in run.utilization:
        series = [event for event in events("C") if event["name"] == name]
        values = [event["args"]["share"] for event in series]
        assert all(0.0 <= value <= 1.0 for value in values), name
        assert values[-1] == 0.0, name
        assert series[-1]["ts"] <= run.time_s * 1e6
    assert max(event["args"]["share"] for event in events("C") if event["name"] == "nvlink") == pytest.approx(1.0)


def test_the_area_under_a_counter_is_the_utilization() -> None:
    run = recorded()[1]
    series = [(event["ts"], event["args"]["share"]) for event in events("C") if event["name"] == "l2"]
    area = sum(level * (end - start) for (start, level), (end, _) in pairwise(series))
    assert area / (run.time_s * 1e6) == pytest.approx(run.utilization["l2"], rel=1e-3)


def test_memory_is_counted_in_bytes() -> None:
    memory = [event["args"]["bytes"] for event in events("C") if event["name"] == "memory held"]
    assert memory[0] == 1e9
    assert max(memory) == recorded()[1].peak_memory_bytes
    assert memory[-1] == 0.0


def area(of: list[dict[str, Any]], name: str, unit: str) -> float:
    """Under a counter [unit s]."""
    series = [(event["ts"], event["args"][unit]) for event in of if event["name"] == name]
    return sum(level * (end - start) for (start, level), (end, _) in pairwise(series)) / 1e6


def test_the_area_under_power_is_the_energy_idle_included() -> None:
    run = recorded()[1]
    power = [event["args"]["W"] for event in events("C") if event["name"] == "power"]
    assert power[0] == gpu().power.idle_w
    assert power[-1] == 0.0
    cut_j = 1e-9 * sum(power)  # times are cut to whole nanoseconds
    assert area(events("C"), "power", "W") == pytest.approx(run.energy_j, abs=cut_j)
    assert cut_j < 1e-3 * run.energy_j


def test_the_clock_is_that_of_boost_until_the_power_limit_holds_it() -> None:
    trace, held = Trace("held"), load_arch("nvidia/h200-sxm", {"power.tdp": "300 W"})
    run = execute(Graph("gemm", (Node.of("gemm", Gemm(m=8192, n=8192, k=8192)),)), held, probes=[trace])
    counters = [event for event in trace.to_json()["traceEvents"] if event["ph"] == "C"]
    clock = [event["args"]["MHz"] for event in counters if event["name"] == "clock"]
    boost = held.clock.boost_hz / 1e6
    assert clock[0] == pytest.approx(boost)  # before the launch
    assert clock[-1] == 0.0
    assert 0.0 < min(clock[1:-1]) < 0.9 * boost
    (op,) = run.ops
    assert area(counters, "clock", "MHz") / run.time_s == pytest.approx(op.clock_over_boost * boost, rel=1e-5)
    assert op.clock_over_boost < 0.9


def test_each_board_has_its_own_power_and_clock() -> None:
    trace = Trace("two")
    trace.on_boards(0, {"": BoardState(30.0, 1.5e9), "b.": BoardState(40.0, 2e9), "c.": BoardState(5.0)})
    told = trace.to_json()["traceEvents"]
    processes = {event["pid"]: event["args"]["name"] for event in told if event["name"] == "process_name"}
    counted = [(processes[event["pid"]], event["name"], event["args"]) for event in told if event["ph"] == "C"]
    assert counted[:5] == [
        ("gpu", "power", {"W": 30.0}),
        ("gpu", "clock", {"MHz": 1500.0}),
        ("b", "power", {"W": 40.0}),
        ("b", "clock", {"MHz": 2000.0}),
        ("c", "power", {"W": 5.0}),
    ]


def test_slices_that_follow_within_a_nanosecond_do_not_overlap() -> None:
    trace = Trace("tiny")
    for start_fs, end_fs in ((0, 1_999_999), (1_999_999, 2_000_001), (2_000_001, 5_700_000)):
        activity = Activity("a", 0, "kernel")
        trace.on_kernel_start(start_fs, activity)
        trace.on_kernel_end(end_fs, activity)
    assert violations(trace.to_json()) == []
    assert [(each["ts"], each["dur"]) for each in slices(trace.to_json())] == [
        (0.0, 0.001),
        (0.001, 0.001),
        (0.002, 0.003),
    ]


def test_a_trace_ends_with_what_ends_last() -> None:
    """A kernel of 1 us, and memory that a node gives back 3 us after it: power counts until then."""
    trace, activity = Trace("late"), Activity("a", 0, "kernel")
    trace.on_boards(0, {"": BoardState(30.0)})
    trace.on_kernel_start(0, activity)
    trace.on_kernel_end(10**9, activity)
    trace.on_memory(4 * 10**9, 0.0)
    counted = [event for event in trace.to_json()["traceEvents"] if event["ph"] == "C" and event["name"] == "power"]
    assert [(event["ts"], event["args"]["W"]) for event in counted] == [(0.0, 30.0), (4.0, 0.0)]


def test_a_trace_is_written_as_json(tmp_path: Path) -> None:
    trace = recorded()[0]
    path = tmp_path / "trace.json"
    trace.write(path)
    assert json.loads(path.read_text(encoding="utf-8")) == trace.to_json()


def test_a_trace_of_nothing_is_still_a_trace() -> None:
    assert violations(Trace("idle").to_json()) == []


def test_a_long_frame_on_a_cluster_has_no_violations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way when the middle is left out stands still: its slice ends, and goes on after it."""
    monkeypatch.setattr("simexplore.sim.play.exchange.LONGEST_PLAYED", 16)
    trace = Trace("machine")
    execute(catalog.build("ngp/gia/hashgrid"), load_arch("ngpc/rtx-3090-ngpc-8@facts"), probes=[trace])
    assert violations(trace.to_json()) == []
    kernels = [event for event in slices(trace.to_json()) if event["cat"] == "kernel"]
    assert {event["args"]["node"] for event in kernels} == {"rest", "encode and mlp"}
    whole = [event["args"]["node"] for event in kernels if " to " in event["args"]["batch"]]
    assert whole == ["rest", "encode and mlp"]


def test_a_layer_played_twice_is_two_slices() -> None:
    """A run behind the other begins with the layer that the former ends with."""
    trace = Trace("machine")
    graph = Graph("one layer", (Node.of("norm", RmsNorm(rows=64, cols=4096), group="layer 0"),))
    execute(graph, gpu(), probes=[trace], runs=3)
    layers = [event["name"] for event in slices(trace.to_json()) if event["cat"] == "layer"]
    assert layers == ["run0/layer 0", "run1/layer 0", "run2/layer 0"]


def test_arrows_say_whether_a_result_is_read() -> None:
    """Of two GEMMs one after the other, the second reads nothing of the first."""
    trace, gemm = Trace("machine"), Gemm(m=64, n=64, k=64)
    nodes = (Node.of("a", gemm), replace(Node.of("b", gemm, ["a"]), unread=("a",)), Node.of("c", gemm, ["b"]))
    execute(Graph("chain", nodes), gpu(), probes=[trace])
    told = [(event["ph"], event["name"]) for event in trace.to_json()["traceEvents"] if event["ph"] in "sf"]
    assert told == [("s", "waits for"), ("f", "waits for"), ("s", "reads"), ("f", "reads")]


def test_a_file_says_what_it_is_of() -> None:
    assert Trace("machine", about={"version": "1"}).to_json()["otherData"] == {"machine": "machine", "version": "1"}
