"""Small graphs on the round machine, event by event: a launch takes 1 us and a clock 1 ns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.schema.system import system_of
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Grid, KernelDemand, Latency, LinkDemand, Work
from simexplore.sim.estimate.graphs import PricedGraph
from simexplore.sim.estimate.op_run import OpRun
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.play.devices.kernel import GpuKernel
from simexplore.sim.play.devices.stage import resources, stage_of
from simexplore.sim.play.devices.steps import named, step_of
from simexplore.sim.play.engine import Clock
from simexplore.sim.play.execute import execute
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.memory.ledger import Memory
from simexplore.sim.play.meters import Integral, LoadMeter, MemoryMeter
from simexplore.sim.play.plan import Planner
from simexplore.sim.play.probes import WAVES, Activity, BoardState, Probe, Probes, Task
from simexplore.sim.play.result import Run
from simexplore.sim.play.trace import Trace
from simexplore.workloads.graph import Graph, Node, single
from simexplore.workloads.ops import Gemm

US, NS = 10**9, 10**6
"""In femtoseconds."""
STEADY = {"power.burst_headroom": 0, "power.tdp": "10000 W", "dram.efficiency": 1}
"""Nothing is throttled, and DRAM gives 100 B a clock."""


def kernel(ctas: float, cycles: float, dram_bytes: float = 0.0, energy_j: float = 0.0) -> KernelDemand:
    """CTAs that have an SM to themselves, a chain of so many clocks and some traffic each, after 100 clocks of set-up.

    Their energy is that of special functions, at 8 pJ, which the clock hides.
    """

    def one(value: float) -> Any:
        return np.array([float(value)])

    return KernelDemand(
        "mine",
        Grid(one(ctas), one(4), one(32), one(96_000)),
        Work(dram_write_bytes=one(dram_bytes), special_ops=one(energy_j / 8e-12 / ctas)),
        Latency(chain_cycles=one(cycles), setup_cycles=one(100)),
    ).map(np.ravel)


def graph(**nodes: tuple[Any, tuple[str, ...]]) -> Graph:
    return Graph(
        "mine", tuple(Node(name, Ready(demand, f"text of {name}"), after) for name, (demand, after) in nodes.items())
    )


class Recorder(Probe):
    """Writes down what it sees, with times in nanoseconds: of durations the femtosecond is rounded up."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str]] = []
        self.held: list[tuple[float, float]] = []

    def _write(self, now_fs: int, event: str) -> None:
        self.events.append((round(now_fs / NS, 5), event))

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        self._write(now_fs, f"{activity.node} starts on {activity.stream}")

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        self._write(now_fs, f"{activity.node} ends")

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        self._write(now_fs, f"{activity.node} wave")

    def on_sms(self, now_fs: int, held_share: float) -> None:
        self.held.append((round(now_fs / NS, 5), round(held_share, 12)))


def test_a_tail_leaves_sms_to_the_next_stream() -> None:
    """a has 25 CTAs on ten SMs: its third wave leaves five, where b's five start when a's second wave has ended."""
    seen = Recorder()
    work = graph(a=(kernel(25, 1000), ()), b=(kernel(5, 700), ()), c=(kernel(10, 50), ("a", "b")))
    run = execute(work, round_gpu(STEADY), probes=[seen])
    assert seen.events == [
        (1000, "a starts on 0"),
        (2100, "a wave"),
        (3100, "a wave"),
        (3100, "b starts on 1"),
        (3900, "b wave"),
        (3900, "b ends"),
        (4100, "a wave"),
        (4100, "a ends"),
        (5100, "c starts on 0"),
        (5250, "c wave"),
        (5250, "c ends"),
    ]
    assert seen.held == [(1000, 1), (1000, 1), (3100, 1), (3900, 0.5), (4100, 0), (5100, 1), (5250, 0)]
    assert run.time_s == pytest.approx(5250e-9)
    assert [(op.name, op.op, op.start_s, op.time_s) for op in run.ops] == [
        ("a", "text of a", 0.0, pytest.approx(4100e-9)),
        ("b", "text of b", 0.0, pytest.approx(3900e-9)),
        ("c", "text of c", pytest.approx(4100e-9), pytest.approx(1150e-9)),
    ]
    assert run.utilization["sm"] == pytest.approx((10 * 2100 + 10 * 800 + 5 * 200 + 10 * 150) / 10 / 5250)


def test_energy_of_kernels_and_of_idling() -> None:
    run = execute(
        graph(
            a=(kernel(10, 1000, energy_j=3e-6), ()),
        ),
        round_gpu(STEADY),
    )
    assert run.ops[0].energy_j == pytest.approx(3e-6)
    assert run.energy_j == pytest.approx(3e-6 + 20 * run.time_s)
    assert run.mean_power_w == pytest.approx(run.energy_j / run.time_s)


def test_two_kernels_contend_on_dram() -> None:
    """Five CTAs of 500 clocks and 20 kB each at 100 B/clk, which nothing overlaps, take 1500 clocks alone.

    Two thirds of these DRAM is busy; side by side each goes at three quarters of its pace.
    """
    gpu, work = round_gpu({**STEADY, "library.overlap_exponent": 1}), kernel(5, 500, 20_000)
    alone, both = execute(graph(a=(work, ())), gpu), execute(graph(a=(work, ()), b=(work, ())), gpu)
    assert alone.time_s == pytest.approx(2600e-9)
    assert both.time_s == pytest.approx(3100e-9)
    assert both.utilization["dram"] == pytest.approx(2000 / 3100)


def test_messages_wait_and_then_share_their_link() -> None:
    """Three steps of 5 us, and 50 kB at 10 GB/s: 15 us and 5 us, for two at once 10 us; then nothing is left to do."""
    seen = Recorder()
    message = LinkDemand("copy", "pcie", np.array([50e3]), np.array([3.0]))
    empty = LinkDemand("copy", "pcie", np.array([0.0]), np.array([1.0]))
    run = execute(graph(a=(message, ()), b=(message, ()), c=(empty, ("b",))), round_gpu(), probes=[seen])
    assert seen.events == [
        (0, "a starts on 0"),
        (0, "b starts on 1"),
        (25_000, "a ends"),
        (25_000, "b ends"),
        (25_000, "c starts on 1"),
        (30_000, "c ends"),
    ]
    assert run.utilization["pcie"] == pytest.approx(10 / 30)
    assert run.utilization["nvlink"] == 0.0
    assert [op.energies_j for op in run.ops] == [pytest.approx({"link": 50e3 * 80e-12})] * 2 + [{}]


# --- a kernel as events see it ----------------------------------------------------------------------------------------


def test_a_kernel_with_a_learned_correction_is_slower_at_the_same_power() -> None:
    """25 CTAs in three waves; a factor of 3 on launch, set-up, waves, busy time and energy."""
    place = system_of(round_gpu(STEADY)).place()
    demand = kernel(25, 1000, dram_bytes=40, energy_j=5e-6)
    plain, slow = (step_of(demand, place, Conditions(), factor) for factor in (1.0, 3.0))
    assert isinstance(plain, GpuKernel)
    assert isinstance(slow, GpuKernel)
    assert (plain.ctas, plain.ctas_per_sm, plain.launch_s) == (25, 1, 1e-6)
    assert slow.launch_s == pytest.approx(3e-6)
    one, three = plain.timing(25, 10.0), slow.timing(25, 10.0)
    assert (one.full_waves, one.tail_share) == (3, 0)
    assert one.full_wave_share == pytest.approx(1 / 3)
    assert one.setup_s == pytest.approx(100e-9)
    assert (three.setup_s, three.run_s) == pytest.approx((3 * one.setup_s, 3 * one.run_s))
    assert one.demands["dram"] == pytest.approx(0.4e-9)  # 40 B at 100 GB/s
    assert three.demands["dram"] == pytest.approx(1.2e-9)
    assert one.power is not None
    assert three.power is not None
    assert one.power.clocked_j == pytest.approx(5e-6 / 25)
    assert one.power.fixed_j == pytest.approx(40 * 100e-12)
    assert (three.power.clocked_j, three.power.fixed_j) == pytest.approx((15e-6 / 25, 12e-9))
    assert (one.power.on_clock_s, one.power.own_clock_s) == pytest.approx((one.run_s, 25 * 0.4e-9), rel=1e-6)
    assert (plain.spends["special"], slow.spends["special"]) == pytest.approx((5e-6, 15e-6))
    told = {"ctas": 25, "ctas_per_sm": 1, "waves": 2.5, "l2_bytes": 0.0, "dram_bytes": 1000.0}
    assert plain.details == told  # 25 CTAs on 10 SMs, 40 B each


def test_names_of_what_other_devices_share_begin_with_theirs() -> None:
    first = system_of(round_gpu()).place()
    assert named({"dram": 1.0}, first) == {"dram": 1.0}

    class Second:
        prefix = "b."

    assert named({"dram": 1.0}, Second()) == {"b.dram": 1.0}  # type: ignore[arg-type]


def test_what_is_shared_on_a_gpu() -> None:
    place = system_of(round_gpu()).place()
    parts = ("tensor", "fma", "special", "shared", "l2", "dram")
    assert resources(place.arch, place) == dict.fromkeys((*parts, "nvlink", "pcie"), 1.0)
    gpu = round_gpu()
    alone = gpu.model_copy(update={"links": gpu.links.model_copy(update={"nvlink": None})})
    assert resources(alone, place) == dict.fromkeys((*parts, "pcie"), 1.0)
    assert resources("unknown", place) == {}


def test_only_the_first_gpu_tells_how_much_of_its_sms_is_held() -> None:
    for prefix, told in (("", [1.0]), ("b.", [])):
        seen, clock = Recorder(), Clock()
        place = replace(system_of(round_gpu()).place(), prefix=prefix)
        stage = stage_of(place, clock, FlowNetwork(clock, {}), Probes([seen]))
        assert stage.array is not None
        stage.array.hold()
        stage.probes.on_kernel_start(0, Activity("a", 0, "kernel"))
        assert [share for _, share in seen.held] == told
        assert len(seen.events) == 1


def test_a_plan_tells_the_names_of_all_its_kernels() -> None:
    work = single(Gemm(m=64, n=64, k=64, dtype="fp8", activation_dtype="bf16"))
    planner = Planner(PricedGraph.on(work, round_gpu(), None, "graph"))
    assert planner.plan(work.nodes[0]).kernel == "largest_value+quant_scale_matrix+gemm"


# --- meters, memory, probes -------------------------------------------------------------------------------------------


def test_an_integral_of_steps() -> None:
    integral = Integral()
    integral.step(1 * US, 2.0)
    integral.step(3 * US, 5.0)
    integral.step(4 * US, 0.0)
    assert integral.until(10 * US) == pytest.approx(2e-6 * 2 + 1e-6 * 5)
    integral.step(10 * US, 1.0)
    assert integral.until(12 * US) == pytest.approx(11e-6)


def test_loads_are_means_and_power_is_an_energy() -> None:
    meter = LoadMeter()
    meter.on_sms(0, 0.5)
    meter.on_rates(1 * US, {"dram": 0.25, "power": 30.0})
    meter.on_sms(3 * US, 0.0)
    meter.on_rates(3 * US, {"dram": 1.0, "power": 0.0})
    assert meter.utilization(4 * US) == pytest.approx({"sm": 1.5 / 4, "dram": (0.5 + 1.0) / 4})
    assert meter.dynamic_energy_j(4 * US) == pytest.approx(60e-6)
    assert meter.utilization(0) == {"sm": 0.0, "dram": 0.0}


def test_no_mean_is_above_one() -> None:
    meter = LoadMeter()
    meter.on_rates(0, {"dram": 1.0 + 1e-12})
    assert meter.utilization(US)["dram"] == 1.0


def test_the_most_memory() -> None:
    meter = MemoryMeter()
    assert meter.peak_bytes == 0.0
    for level in (3.0, 7.0, 5.0):
        meter.on_memory(0, level)
    assert meter.peak_bytes == 7.0


def held(graph: Graph, capacity: float) -> list[float]:
    """Memory after each beginning and end of the nodes, one after another."""
    memory, levels = Memory(graph, "machine", capacity), []
    for node in graph.nodes:
        memory.begin(node)
        levels.append(memory.held_bytes)
        memory.end(node)
        levels.append(memory.held_bytes)
    return levels


def test_results_are_held_until_their_last_reader_ends() -> None:
    op = Ready(kernel(1, 1), "text")
    nodes = (Node("a", op, (), 1.0), Node("b", op, ("a",), 2.0), Node("c", op, ("a",), 4.0), Node("d", op, ("b",), 8.0))
    whole = Graph("mine", nodes, {"weights": 100.0})
    assert held(whole, 1e9) == [101, 101, 103, 103, 107, 102, 110, 100]
    assert held(whole, 110.0)[-1] == 100, "it just fits"
    with pytest.raises(SimexploreError, match=r"^mine needs 1.1e-07 GB of device memory at d \(weights 1e-07 GB"):
        held(whole, 109.0)
    with pytest.raises(SimexploreError, match=r"of device memory \(weights 1e-07 GB\), and machine has 9.9e-08 GB: "):
        Memory(whole, "machine", 99.0)


def test_parts_of_the_memory_that_hold_nothing_are_not_shown() -> None:
    parts = Graph("mine", (), {"weights": 100.0, "kv_cache": 0.0, "flag": 0.5})
    with pytest.raises(SimexploreError, match=r"\(weights 1e-07 GB, flag 5e-10 GB\)"):
        Memory(parts, "machine", 99.0)


def test_probes_that_do_not_ask_are_not_told() -> None:
    told: list[tuple[str, int, object]] = []

    class All(Probe):
        def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
            told.append(("start", now_fs, activity.node))

        def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
            told.append(("end", now_fs, activity.node))

        def on_wave(self, now_fs: int, activity: Activity) -> None:
            told.append(("wave", now_fs, activity.node))

        def on_sms(self, now_fs: int, held_share: float) -> None:
            told.append(("sms", now_fs, held_share))

        def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
            told.append(("rates", now_fs, loads))

        def on_memory(self, now_fs: int, held_bytes: float) -> None:
            told.append(("memory", now_fs, held_bytes))

    probes, activity = Probes([Probe(), All(), MemoryMeter()]), Activity("a", 0, "kernel")
    probes.on_kernel_start(1, activity)
    probes.on_kernel_end(2, activity)
    probes.on_wave(3, activity)
    probes.on_sms(4, 0.5)
    probes.on_rates(5, {"dram": 1.0})
    probes.on_memory(6, 7.0)
    assert told == [
        ("start", 1, "a"),
        ("end", 2, "a"),
        ("wave", 3, "a"),
        ("sms", 4, 0.5),
        ("rates", 5, {"dram": 1.0}),
        ("memory", 6, 7.0),
    ]
    assert probes.watch_waves
    assert not Probes([Probe(), MemoryMeter()]).watch_waves


def test_nodes_phases_and_boards_are_told_to_those_that_ask() -> None:
    told: list[tuple[str, int, object]] = []

    class Asks(Probe):
        def on_phase(self, now_fs: int, activity: Activity, phase: str) -> None:
            told.append((phase, now_fs, activity.node))

        def on_node_start(self, now_fs: int, task: Task) -> None:
            told.append(("node", now_fs, task.place))

        def on_node_end(self, now_fs: int, task: Task) -> None:
            told.append(("node ends", now_fs, task.place))

        def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
            told.append(("boards", now_fs, boards))

    probes, activity = Probes([Probe(), Asks()]), Activity("a", 0, "kernel")
    task = Task(single(Gemm(m=64, n=64, k=64)).nodes[0], 0, "gpu")
    probes.on_node_start(7, task)
    probes.on_phase(8, activity, WAVES)
    probes.on_node_end(9, task)
    probes.on_boards(10, {})
    assert told == [("node", 7, "gpu"), ("waves", 8, "a"), ("node ends", 9, "gpu"), ("boards", 10, {})]
    assert probes.watch_boards
    assert not Probes([Probe(), MemoryMeter()]).watch_boards


# --- results and traces -----------------------------------------------------------------------------------------------


def test_an_empty_run_draws_no_power() -> None:
    assert Run(0.0, {}, 0.0, {}, ()).mean_power_w == 0.0
    assert Run(2.0, {"idle": 1.0, "dram": 2.0}, 0.0, {}, ()).mean_power_w == 1.5


def test_a_run_as_plain_data() -> None:
    op = OpRun("a", "text", 0.0, 2.0, "dram", {"dram": 1.0}, "kernel", 1.5, 0.2, 0.75)
    told = Run(2.0, {"dram": 1.0, "idle": 2.0}, 4.0, {"dram": 0.5}, (op,)).to_json()
    assert (told["time_s"], told["energy_j"], told["peak_memory_bytes"]) == (2.0, 3.0, 4.0)
    assert (told["energies_j"], told["mean_power_w"]) == ({"dram": 1.0, "idle": 2.0}, 1.5)
    assert told["time_low_s"] < 2.0 < told["time_high_s"]
    half_width = np.hypot(np.log(1.5), 1.2815515655446004 * 0.2)  # of time and of power, which err independently
    assert np.log(told["energy_high_j"] / 3.0) == pytest.approx(half_width)
    assert np.log(3.0 / told["energy_low_j"]) == pytest.approx(half_width)
    assert np.log(told["ops"][0]["energy_high_j"]) == pytest.approx(half_width)
    assert (told["clock_over_boost"], op.to_json()["clock_over_boost"]) == (0.75, 0.75)
    assert (told["utilization"], told["ops"]) == ({"dram": 0.5}, [op.to_json()])


def test_a_trace_word_by_word() -> None:
    trace = Trace("machine")
    first, second = Activity("a", 0, "gemm", {"tile": "64x64"}), Activity("b", 3, "norm")
    trace.on_memory(0, 8.0)
    trace.on_kernel_start(1_500_000, first)
    trace.on_rates(1_500_000, {"dram": 0.5, "power": 30.0, "idle": 20.0})
    trace.on_boards(1_500_000, {"": BoardState(50.0, 1.5e9)})
    trace.on_rates(1_700_000, {"dram": 0.5, "power": 40.0, "idle": 20.0})
    trace.on_boards(1_700_000, {"": BoardState(60.0, 1.5e9)})
    trace.on_kernel_start(1_999_999, second)
    trace.on_sms(2_000_000, 1.0)
    trace.on_kernel_end(3_000_000, first)
    trace.on_rates(3_000_000, {"dram": 1.0 + 1e-12, "power": 0.0, "idle": 20.0})
    trace.on_boards(3_000_000, {"": BoardState(20.0, 1.5e9)})
    trace.on_kernel_end(2_500_000, second)
    counter, begin, end = {"ph": "C", "pid": 1}, {"ph": "B", "pid": 1, "cat": "kernel"}, {"ph": "E", "pid": 1}
    assert trace.to_json() == {
        "displayTimeUnit": "ns",
        "otherData": {"machine": "machine"},
        "traceEvents": [
            {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "machine"}},
            {"ph": "M", "pid": 1, "name": "process_sort_index", "args": {"sort_index": 1}},
            {"ph": "M", "pid": 1, "tid": 100, "name": "thread_name", "args": {"name": "stream 0"}},
            {"ph": "M", "pid": 1, "tid": 100, "name": "thread_sort_index", "args": {"sort_index": 0}},
            {"ph": "M", "pid": 1, "tid": 101, "name": "thread_name", "args": {"name": "stream 3"}},
            {"ph": "M", "pid": 1, "tid": 101, "name": "thread_sort_index", "args": {"sort_index": 3}},
            {**counter, "ts": 0.0, "name": "memory held", "args": {"bytes": 8.0}},
            {**counter, "ts": 0.001, "name": "dram", "args": {"share": 0.5}},
            {**counter, "ts": 0.001, "name": "power", "args": {"W": 50.0}},
            {**counter, "ts": 0.001, "name": "clock", "args": {"MHz": 1500.0}},
            {**counter, "ts": 0.001, "name": "power", "args": {"W": 60.0}},
            {**begin, "tid": 100, "ts": 0.001, "name": "gemm", "args": {"node": "a", "tile": "64x64"}},
            {**begin, "tid": 101, "ts": 0.001, "name": "norm", "args": {"node": "b"}},
            {**counter, "ts": 0.002, "name": "sm", "args": {"share": 1.0}},
            {**end, "tid": 101, "ts": 0.002},
            {**counter, "ts": 0.003, "name": "dram", "args": {"share": 1.0}},
            {**counter, "ts": 0.003, "name": "power", "args": {"W": 20.0}},
            # What is not at zero when the last kernel ends is closed there.
            {**counter, "ts": 0.003, "name": "memory held", "args": {"bytes": 0.0}},
            {**counter, "ts": 0.003, "name": "dram", "args": {"share": 0.0}},
            {**counter, "ts": 0.003, "name": "power", "args": {"W": 0.0}},
            {**counter, "ts": 0.003, "name": "clock", "args": {"MHz": 0.0}},
            {**counter, "ts": 0.003, "name": "sm", "args": {"share": 0.0}},
            {**end, "tid": 100, "ts": 0.003},
        ],
    }
