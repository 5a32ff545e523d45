"""A graph in closed form: each node's time alone on the idle machine, put end to end along the longest chain.

What it leaves out is what the events add: kernels that run side by side here take nothing from each other, and no
memory is counted. On a chain of operators both give the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf
from typing import Any, Literal, NamedTuple

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Path, Place, System, system_of
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions, Launch, PowerState, conditions_of
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.estimate.cost import Cost, clocked_energies, excess_of, hold, one_after_another, repeated
from simexplore.sim.estimate.exchange import Side, exchange_seconds, side_of
from simexplore.sim.estimate.offload import prepared
from simexplore.sim.estimate.op_run import (
    UNCALIBRATED_POWER,
    OpRun,
    Whole,
    in_short,
    spends_of,
    whole_to_json,
    with_idle,
)
from simexplore.sim.estimate.placed import Priced, demands_at, place_of, priced
from simexplore.sim.estimate.row_costs import costs_of_phases
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.hardware.duty import Period, steady_charge
from simexplore.sim.hardware.idle import idle_w
from simexplore.sim.hardware.power import Board, Repeated, board_of, steady_w
from simexplore.workloads.graph import Exchange, Graph, Node, chained


@dataclass(frozen=True, repr=False)
class Estimate(Whole):
    """What a workload costs where kernels do not contend."""

    time_s: float
    """Length of the critical path [s]."""
    energies_j: Mapping[str, float]
    """Energy by where it goes: names as in `power.COMPONENTS`, and `idle`, what the devices draw beside them [J]."""
    ops: tuple[OpRun, ...]
    """The nodes in the order in which they start."""

    def __repr__(self) -> str:
        return in_short("Estimate", self.time_s, self.energy_j, self.ops)

    def to_json(self) -> dict[str, Any]:
        """Plain data with the keys of a `Run`; None for what only events tell."""
        return {
            **whole_to_json(self.time_s, self.energies_j, self.ops),
            "peak_memory_bytes": None,
            "utilization": None,
            "memory": None,
            "ops": [op.to_json() for op in self.ops],
        }


def estimate_graph(
    graph: Graph,
    machine: Gpu | System,
    conditions: Conditions | None = None,
    launch: Launch = "graph",
    power: PowerState | Period | None = None,
    runs: int = 1,
) -> Estimate:
    """The closed form of a graph; arguments as in `execute`.

    Raises:
        SimexploreError: the machine has no such place as a node asks for, or the place cannot run its operator.
    """
    work = PricedGraph.on(graph, machine, conditions, launch, runs)
    jobs = work.jobs
    boards, allowed = work.boards, work.allowed_w(power)
    ends: dict[str, float] = {}
    saved_j, ops = 0.0, []
    for node in work.graph.nodes:
        job, home = jobs[node.name], work.place(node).home
        told = job.held(boards.get(home), allowed.get(home))
        start_s = max((ends[name] for name in node.after), default=0.0)
        ends[node.name] = start_s + told.length_s
        saved_j += told.saved_j
        priced, begun_s = job.priced, start_s + told.begins_s
        ops.append(
            OpRun(
                node.name, priced.text, begun_s, told.busy_s, priced.bound, told.energies_j,
                priced.kernel, priced.interval_ratio, spread_at(work.place(node)), told.clock_over_boost,
            )
        )  # fmt: skip
    time_s = max(ends.values(), default=0.0)
    idle_j = time_s * sum(idle_w(place.arch) for place in work.places.values()) - saved_j
    return Estimate(time_s, with_idle(ops, idle_j), tuple(sorted(ops, key=lambda op: op.start_s)))


def paused_w(graph: Graph, machine: Gpu | System) -> float:
    """Power of all that a graph runs on, with nothing to do [W]."""
    system = system_of(machine)
    return sum(idle_w(place.arch) for place in places_of(prepared(graph, system), system).values())


def called_by_host(told: Estimate, call_s: float, idle_w: float) -> Estimate:
    """The estimate of a graph on one stream, each operator of which the host hands over `call_s` after the one before.

    An operator starts when the one before has ended and its own call is done: start_i = max(end_(i-1), (i + 1) t_call).
    The GPU idles while it waits.

    Args:
        told: the graph's estimate, with operators in the order in which they are called.
        call_s: time of the host for a call [s].
        idle_w: power of the idle machine [W].
    """
    end_s, ops = 0.0, []
    for index, op in enumerate(told.ops):
        start_s = max(end_s, (index + 1) * call_s)
        ops.append(replace(op, start_s=start_s))
        end_s = start_s + op.time_s
    time_s = max(end_s, told.time_s)
    energies = {**told.energies_j, "idle": told.energies_j["idle"] + (time_s - told.time_s) * idle_w}
    return Estimate(time_s, energies, tuple(ops))


def spread_at(place: Place) -> float:
    """How far measured power scatters about the model's at a place."""
    return place.home_arch.energy.spread if isinstance(place.home_arch, Gpu) else UNCALIBRATED_POWER


_NotSpent = Literal["serving", "burst"] | Period
"""What leaves something in the energy budgets, or may."""
_BEFORE = {"serving": Conditions(runs_before=inf), "burst": Conditions()}


def busy_seconds(
    graph: Graph, machine: Gpu | System, conditions: Conditions | None = None, launch: Launch = "graph"
) -> Mapping[str, float]:
    """Time for which a graph keeps each shared resource busy, by its name as in a run's utilization [s]."""
    work = PricedGraph.on(graph, machine, conditions, launch)
    busy: dict[str, float] = defaultdict(float)
    for node in work.graph.nodes:
        place = work.place(node)
        for told in work.alone(node):
            for name, seconds in told.busy_s.items():
                busy[place.prefix + name] += float(seconds)
    return busy


def places_of(graph: Graph, system: System) -> dict[str, Place]:
    """The places that a graph uses, by name: the first GPU, those of its nodes, and the devices that these lie beside
    or lead through.

    Raises:
        SimexploreError: the system has no such place as a node asks for.
    """
    some = {node.place: node for node in graph.nodes}
    used = [system.place(), *(place_of(node, system) for node in some.values())]
    used += [stop for place in used if isinstance(place.arch, Path) for stop in place.arch.stops]
    homes = [system.place(place.home) for place in used]
    return {place.name: place for pair in zip(homes, used, strict=True) for place in pair}


class _Told(NamedTuple):
    """A node in time, counted from when what it needs is there, and its energy."""

    begins_s: float
    busy_s: float
    length_s: float
    energies_j: dict[str, float]
    saved_j: float
    """What its board draws less than when it is idle, for as long as its clock is held back."""
    clock_over_boost: float = 1.0
    """Mean over all its time, waits included."""


class _Job(NamedTuple):
    """A node's work on its board: its own, or that of the two nodes that exchange batches, which run at one clock."""

    priced: Priced
    cost: Cost
    """Of the whole, one row."""
    share_s: float | None = None
    """Of nodes that exchange batches, the time of its own work at boost [s]."""

    def held(self, board: Board | None, allowed: float | None) -> _Told:
        """What becomes of it within the power that its board allows."""
        cost, own = self.cost, self.priced.cost
        if board is None or allowed is None:
            length_s = float(cost.time_s[0])
            return _Told(0.0, length_s, length_s, spends_of(own.energies_j[:, 0]), 0.0)
        told = hold(cost, allowed, board)
        length_s, saved_j = float(told.time_s[0]), float(told.saved_j[0])
        running = 1.0 - float(cost.waits_s[0]) / length_s if length_s > 0.0 else 0.0
        clock = 1.0 - running * (1.0 - float(told.clock[0]))
        if self.share_s is None:
            return _Told(0.0, length_s, length_s, spends_of(told.energies_j[:, 0]), saved_j, clock)
        slower = length_s / float(cost.time_s[0])
        energies_j = clocked_energies(own.energies_j, board.scale(told.clock))
        begins_s = float(cost.waits_s[0])
        return _Told(begins_s, slower * self.share_s, length_s, spends_of(energies_j[:, 0]), 0.5 * saved_j, clock)


class PricedGraph:
    """A graph on a system, each different operator priced once."""

    def __init__(self, graph: Graph, system: System, conditions: Conditions | None, launch: Launch) -> None:
        self.graph, self.system = graph, system
        self.places = places_of(graph, system)
        self._first = system.first_gpu
        self._conditions, self._launch = conditions, launch
        self._priced: dict[tuple[object, ...], Priced] = {}

    @classmethod
    def on(
        cls, graph: Graph, machine: Gpu | System, conditions: Conditions | None, launch: Launch, runs: int = 1
    ) -> PricedGraph:
        """The graph after the passes that the machine asks for, so often one run after the other."""
        system = system_of(machine)
        return cls(chained(prepared(graph, system), runs), system, conditions, launch)

    def priced(self, node: Node) -> Priced:
        """What a node costs alone."""
        place, given = self.place(node), self.given(node)
        key = (node.op, place.name, given)
        if key not in self._priced:
            try:
                self._priced[key] = priced(node.op, place, given)
            except SimexploreError as error:
                raise SimexploreError(f"{node.name}: {error}") from None
        return self._priced[key]

    @cached_property
    def boards(self) -> dict[str, Board]:
        """The boards of its places by the name of their GPU, each with what lies beside the GPU on it."""
        beside: dict[str, float] = defaultdict(float)
        for place in self.places.values():
            beside[place.home] += idle_w(place.arch) if place.name != place.home else 0.0
        on_boards = {name: place.arch for name, place in self.places.items() if isinstance(place.arch, Gpu)}
        return {name: board_of(gpu, beside[name]) for name, gpu in on_boards.items()}

    def allowed_w(self, power: PowerState | Period | None) -> dict[str, float]:
        """Power that each kernel may draw, by the name of its board [W].

        Without `power` it is as the conditions tell, and without these the board has long been doing this work.
        """
        if power == "sustained":
            return {name: float(board.held_w) for name, board in self.boards.items()}
        jobs = self.jobs
        return {
            name: float(steady_w(self._on_board(name, jobs), board, self._excess(name, power))[0])
            for name, board in self.boards.items()
        }

    def _excess(self, name: str, power: _NotSpent | None) -> Callable[[FloatArray], FloatArray]:
        """What the budget of a board adds to the mean power of the work, by how long that takes [W]."""
        if isinstance(power, Period):
            return partial(self.boards[name].excess_w, charge=self.charges_every(power)[name])
        given = self._conditions if self._conditions is not None and power is None else _BEFORE[power or "serving"]
        return excess_of(self.boards[name], given)

    def charges_every(self, period: Period) -> dict[str, float]:
        """What is in each board's energy budget when work begins that has long been done once a period."""
        jobs = self.jobs
        return {
            name: steady_charge(self._on_board(name, jobs), board, period.between_s)
            for name, board in self.boards.items()
        }

    def begins_full(self, power: PowerState | Period | None) -> bool:
        """Whether the boards were idle before, their energy budgets full."""
        return power == "burst" or (power is None and self._conditions is not None and not self._conditions.runs_before)

    @cached_property
    def jobs(self) -> dict[str, _Job]:
        """The work of each node."""
        jobs = {node.name: _Job(cost := self.priced(node), cost.cost) for node in self.graph.nodes}
        nodes = {node.name: node for node in self.graph.nodes}
        for exchange in self.graph.exchanges:
            names = (exchange.asks, exchange.answers)
            asks, answers = (side_of(self.alone(nodes[name]), exchange) for name in names)
            both = _both(asks, answers, exchange_seconds(asks, answers, exchange), exchange)
            for name, side in zip(names, (asks, answers), strict=True):
                jobs[name] = _Job(jobs[name].priced, both, side.batch_s * exchange.full_batches)
        return jobs

    def _on_board(self, name: str, jobs: Mapping[str, _Job]) -> Repeated:
        """All that a board does, one thing after another."""
        counts: dict[int, float] = defaultdict(float)
        costs = {}
        answers = {exchange.answers for exchange in self.graph.exchanges}  # whose work is in that of the asking node
        for node in self.graph.nodes:
            if self.place(node).home == name and node.name not in answers:
                cost = jobs[node.name].cost
                costs[id(cost)] = cost
                counts[id(cost)] += 1.0
        return repeated(list(costs.values()), list(counts.values()))

    def alone(self, node: Node) -> list[Alone]:
        """What each of a node's demands costs alone, in numbers."""
        place, given = self.place(node), self.given(node)
        return [alone(demand, place, given).as_numbers() for demand in demands_at(node.op, place, given)]

    def place(self, node: Node) -> Place:
        """Where a node runs."""
        return self.places[node.place or self._first]

    def given(self, node: Node) -> Conditions:
        """How a node runs."""
        return conditions_of(node, self._launch, self._conditions)


def _both(asks: Side, answers: Side, length_s: float, exchange: Exchange) -> Cost:
    """The work of two nodes that exchange batches, which the board's clock drives as one."""
    names = dict.fromkeys((*asks.spends, *answers.spends))
    spends = {
        name: exchange.full_batches * (asks.spends.get(name, 0.0) + answers.spends.get(name, 0.0)) for name in names
    }
    phase = Phase(asks.latency_s, length_s - asks.latency_s, {}, spends)
    return one_after_another([costs_of_phases(Alone((phase,), BOUNDS[0]))])
