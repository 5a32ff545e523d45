"""Play a graph of operators on a machine as events: streams, launches, contention, memory and energy over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, System
from simexplore.sim.conditions import Conditions, Launch, PowerState
from simexplore.sim.estimate.graphs import PricedGraph
from simexplore.sim.estimate.op_run import OpRun, with_idle
from simexplore.sim.hardware.duty import Period
from simexplore.sim.hardware.idle import idle_w
from simexplore.sim.hardware.power import FIXED, split_energy
from simexplore.sim.play.devices.board import RunningBoard
from simexplore.sim.play.devices.stage import Stage, resources, stage_of
from simexplore.sim.play.devices.steps import Step
from simexplore.sim.play.engine import Clock, Event, seconds
from simexplore.sim.play.exchange import Exchanged
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.memory.places import Memories
from simexplore.sim.play.memory.timeline import MemoryTimeline
from simexplore.sim.play.meters import LoadMeter, MemoryMeter
from simexplore.sim.play.plan import Plan, Planner
from simexplore.sim.play.probes import Activity, BoardState, Probe, Probes, Task
from simexplore.sim.play.result import Run
from simexplore.workloads.graph import Graph, Node

Process = Generator[Event, Any, None]


def execute(
    graph: Graph,
    machine: Gpu | System,
    conditions: Conditions | None = None,
    launch: Launch = "graph",
    probes: Sequence[Probe] = (),
    allow_overflow: bool = False,
    power: PowerState | Period | None = None,
    runs: int = 1,
) -> Run:
    """Play a graph on a machine, after the passes that the machine's devices ask for.

    Nodes run at their places as soon as what they need has ended, on the graph's own streams; streams share the
    machine. Only places that the graph uses are in the result, and draw power.

    Args:
        graph: the work; fields of its operators are numbers.
        machine: a GPU, or a system of devices and links.
        conditions: how every kernel is run. By default, what a node reads from nodes before it is warm in L2, and
            all else is cold.
        launch: how kernels are launched, where `conditions` is not given.
        probes: what watches the run besides the result's own meters.
        allow_overflow: let the run hold more than the memory of a GPU, a CPU or a drive.
        power: what of the boards' energy budgets is there at the start; a period: what work leaves there that is done
            once in it. By default, what `conditions` tell; without these either, what the same work leaves there that
            has been done for long.
        runs: how often the graph is played, one run after the other; the result is of all.

    Raises:
        SimexploreError: the machine has no such place as a node asks for, a place cannot run an operator, or the graph
            does not fit into the memory of a place (`memory.ledger.OutOfMemoryError`, which names the tensors alive).
    """
    return _Playback(PricedGraph.on(graph, machine, conditions, launch, runs), power, probes, allow_overflow).run()


class _Playback:
    """The state of one run."""

    def __init__(
        self, work: PricedGraph, power: PowerState | Period | None, probes: Sequence[Probe], allow_overflow: bool
    ) -> None:
        self._graph = graph = work.graph
        self._loads, self._peak, self._tensors = LoadMeter(), MemoryMeter(), MemoryTimeline()
        self._probes = Probes([self._loads, self._peak, self._tensors, *probes])
        self._clock = Clock()
        self._places, self._first = work.places, work.system.first_gpu
        self._memory = Memories(graph, self._places, self._first, unlimited=allow_overflow)
        self._boards = _boards(work, power, self._clock)
        self._board_at = {board.name: board for board in self._boards}
        self._beside = _unregulated(self._places)
        self._network = FlowNetwork(
            self._clock, _capacities(self._places), self._on_rates, self._probes.watch_waves, self._boards,
            self._on_boards if self._probes.watch_boards else None,
        )  # fmt: skip
        for board in self._boards:
            board.on_look(self._network.settle_soon)
        self._stages = {
            name: stage_of(place, self._clock, self._network, self._probes) for name, place in self._places.items()
        }
        self._exchanges: dict[str, Exchanged] = {}
        for exchange in graph.exchanges:
            state = Exchanged(self._clock, self._network, self._probes, exchange)
            self._exchanges |= {exchange.asks: state, exchange.answers: state}
        self._planner = Planner(work)
        self._ended = {node.name: self._clock.event() for node in graph.nodes}
        self._ops: list[OpRun] = []
        self._end_fs = 0

    def run(self) -> Run:
        streams: dict[int, list[Node]] = defaultdict(list)
        stream_of = self._graph.streams()
        for node in self._graph.nodes:
            streams[stream_of[node.name]].append(node)
        self._memory.watch(self._on_tensor)
        self._probes.on_memory(0, self._memory.held_bytes)
        self._network.settle_soon()  # what idle boards draw is told from the start
        for stream, nodes in streams.items():
            self._clock.process(self._play_stream(stream, nodes))
        with np.errstate(over="ignore", invalid="ignore"):  # kernels that take next to no time on a resource
            self._clock.run()
        place_in_graph = {node.name: place for place, node in enumerate(self._graph.nodes)}
        beside_w = sum(device.power_w for device in self._beside.values())
        idle_j = self._loads.idle_energy_j(self._end_fs) + seconds(self._end_fs) * beside_w
        return Run(
            time_s=seconds(self._end_fs),
            energies_j=with_idle(self._ops, idle_j),
            peak_memory_bytes=self._peak.peak_bytes,
            utilization=self._loads.utilization(self._end_fs),
            memory={
                name: self._tensors.peak(name, self._places[name].capacity_bytes)
                for name in dict.fromkeys((self._first, *self._tensors.places))
            },
            ops=tuple(sorted(self._ops, key=lambda op: (op.start_s, place_in_graph[op.name]))),
        )

    def _play_stream(self, stream: int, nodes: list[Node]) -> Process:
        for node in nodes:
            waiting = [ended for name in node.after if not (ended := self._ended[name]).triggered]
            if waiting:
                yield self._clock.all_of(waiting)
            yield from self._play_node(node, stream)

    def _play_node(self, node: Node, stream: int) -> Process:
        place = self._places[node.place or self._first]
        plan = self._planner.plan(node)
        task = Task(node, stream, place.name, {"op": plan.text, "bound": plan.bound, "kernel": plan.kernel})
        self._probes.on_node_start(self._clock.now_fs, task)
        self._memory.begin(node)
        self._probes.on_memory(self._clock.now_fs, self._memory.held_bytes)
        played = self._play_alone if node.name not in self._exchanges else self._play_exchanged
        op = yield from played(node, stream, plan, self._stages[place.name])
        self._end_fs = self._clock.now_fs
        self._probes.on_node_end(self._end_fs, task)
        self._memory.end(node)
        self._probes.on_memory(self._end_fs, self._memory.held_bytes)
        self._ops.append(op)
        self._ended[node.name].succeed()

    def _play_alone(self, node: Node, stream: int, plan: Plan, stage: Stage) -> Generator[Event, Any, OpRun]:
        """A node whose kernels run one after the other; its time is what it took here."""
        start_fs = self._clock.now_fs
        clock = self._clock_from(node)
        spent: dict[str, float] = defaultdict(float)
        for step in plan.steps:
            energy_j = yield from step.play(stage, _activity(node, stream, plan, step))
            _add(spent, step, energy_j)
        return _op_run(node, plan, start_fs, seconds(self._clock.now_fs - start_fs), spent, clock())

    def _play_exchanged(self, node: Node, stream: int, plan: Plan, stage: Stage) -> Generator[Event, Any, OpRun]:
        """A node that works batch by batch while another does; its time is that of its own work alone."""
        exchanged, (step,) = self._exchanges[node.name], plan.steps
        clock = self._clock_from(node)
        side = yield from exchanged.play(step, stage, _activity(node, stream, plan, step))
        spent: dict[str, float] = defaultdict(float)
        _add(spent, step, side.energy_j)
        return _op_run(node, plan, exchanged.begun_fs, side.alone_s, spent, clock())

    def _clock_from(self, node: Node) -> Callable[[], float]:
        """Tells the mean clock over boost of a node's board from now until it is asked."""
        board = self._board_at.get(self._places[node.place or self._first].home)
        if board is None:
            return lambda: 1.0
        begun_fs = self._clock.now_fs
        before_fs = board.ticked_fs(begun_fs)

        def mean() -> float:
            taken_fs = self._clock.now_fs - begun_fs
            return (board.ticked_fs(self._clock.now_fs) - before_fs) / taken_fs if taken_fs else 1.0

        return mean

    def _on_tensor(self, place: str, name: str, kind: str, size: float) -> None:
        self._probes.on_tensor(self._clock.now_fs, place, name, kind, size)

    def _on_rates(self, loads: Mapping[str, float]) -> None:
        self._probes.on_rates(self._clock.now_fs, loads)

    def _on_boards(self, drawn: Mapping[str, tuple[float, float]]) -> None:
        states = dict(self._beside)
        for name, (power_w, clock) in drawn.items():
            prefix = "" if name == self._first else f"{name}."
            if name in self._board_at:
                states[prefix] = BoardState(power_w, self._places[name].gpu.clock.top_hz * clock)
            else:
                idle = self._beside.get(prefix)
                states[prefix] = BoardState(power_w + (0.0 if idle is None else idle.power_w))
        self._probes.on_boards(self._clock.now_fs, states)


def _activity(node: Node, stream: int, plan: Plan, step: Step) -> Activity:
    details = {"op": plan.text, "bound": plan.bound, **step.details}
    return Activity(node.name, stream, step.kernel, details)


def _add(spent: dict[str, float], step: Step, energy_j: float) -> None:
    """Add what a step has taken by where it went; what follows the core's voltage has all been at the same clocks."""
    clocked_j, fixed_j = split_energy(step.spends)
    left = (energy_j - fixed_j) / clocked_j if clocked_j > 0.0 else 1.0
    for name, joules in step.spends.items():
        if joules:
            spent[name] += joules if name in FIXED else joules * left


def _op_run(
    node: Node, plan: Plan, start_fs: int, time_s: float, spent: Mapping[str, float], clock_over_boost: float
) -> OpRun:
    return OpRun(
        node.name, plan.text, seconds(start_fs), time_s, plan.bound, dict(spent),
        plan.kernel, plan.interval_ratio, plan.spread, clock_over_boost,
    )  # fmt: skip


def _boards(work: PricedGraph, power: PowerState | Period | None, clock: Clock) -> list[RunningBoard]:
    """The boards of a run, each budget as the work before has left it."""
    charges = _charges(work, power)
    without = {"headroom_w": 0.0} if power == "sustained" else {}
    return [RunningBoard(name, board._replace(**without), charges[name], clock) for name, board in work.boards.items()]


def _charges(work: PricedGraph, power: PowerState | Period | None) -> dict[str, float]:
    """What is in the boards' energy budgets at the start, in shares of a full one."""
    if work.begins_full(power):
        return dict.fromkeys(work.boards, 1.0)
    allowed = work.allowed_w(power)
    charges = {
        name: (allowed[name] - board.held_w) / board.headroom_w if board.headroom_w > 0.0 else 0.0
        for name, board in work.boards.items()
    }
    if not isinstance(power, Period):
        return charges
    # Waits within the work keep the charge up too, and a long run begins with more than it has in the mean.
    return {name: max(charge, charges[name]) for name, charge in work.charges_every(power).items()}


def _unregulated(places: Mapping[str, Place]) -> dict[str, BoardState]:
    """Devices of no GPU's board that draw power with nothing to do, by what the names of their resources begin with."""
    homes = {name for name, place in places.items() if isinstance(place.arch, Gpu)}
    others = [place for place in places.values() if place.home not in homes]
    return {place.prefix: BoardState(idle_w(place.arch)) for place in others if idle_w(place.arch)}


def _capacities(places: Mapping[str, Place]) -> dict[str, float]:
    """What is shared on the places of a run, by the names that results have for it."""
    return {
        place.prefix + name: capacity
        for place in places.values()
        for name, capacity in resources(place.arch, place).items()
    }
