"""A graph in closed form: each node's time alone on the idle machine, put end to end along the longest chain.

What it leaves out is what the events add: kernels that run side by side here take nothing from each other, and no
memory is counted. On a chain of operators both give the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, System, system_of
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions, Launch, conditions_of
from simexplore.sim.estimate.alone import Alone, alone
from simexplore.sim.estimate.exchange import exchange_seconds, side_of
from simexplore.sim.estimate.offload import prepared
from simexplore.sim.estimate.op_run import OpRun, in_short, time_interval
from simexplore.sim.estimate.placed import Priced, demands_at, place_of, priced
from simexplore.sim.hardware.idle import idle_w
from simexplore.workloads.graph import Graph, Node


@dataclass(frozen=True, repr=False)
class Estimate:
    """What a workload costs where kernels do not contend."""

    time_s: float
    """Length of the critical path [s]."""
    energy_j: float
    """Dynamic energy of all kernels, and idle power over the time [J]."""
    ops: tuple[OpRun, ...]
    """The nodes in the order in which they start."""

    def __repr__(self) -> str:
        return in_short("Estimate", self.time_s, self.energy_j, self.ops)

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


def estimate_graph(
    graph: Graph, machine: Gpu | System, conditions: Conditions | None = None, launch: Launch = "graph"
) -> Estimate:
    """The closed form of a graph; arguments as in `execute`.

    Raises:
        SimexploreError: the machine has no such place as a node asks for, or the place cannot run its operator.
    """
    work = _Work.on(graph, machine, conditions, launch)
    costs = {node.name: work.priced(node) for node in work.graph.nodes}
    spans = {name: _Span(0.0, cost.time_s, cost.time_s) for name, cost in costs.items()} | _exchanged(work)
    ends: dict[str, float] = {}
    ops = []
    for node in work.graph.nodes:
        cost, span = costs[node.name], spans[node.name]
        start_s = max((ends[name] for name in node.after), default=0.0)
        ends[node.name] = start_s + span.length_s
        ops.append(
            OpRun(
                node.name, cost.text, start_s + span.begins_s, span.busy_s,
                cost.bound, cost.dynamic_j, cost.kernel, cost.interval_ratio,
            )
        )  # fmt: skip
    time_s = max(ends.values(), default=0.0)
    idle_j = time_s * sum(idle_w(place.arch) for place in work.places.values())
    return Estimate(
        time_s=time_s,
        energy_j=sum(op.energy_j for op in ops) + idle_j,
        ops=tuple(sorted(ops, key=lambda op: op.start_s)),
    )


def busy_seconds(
    graph: Graph, machine: Gpu | System, conditions: Conditions | None = None, launch: Launch = "graph"
) -> Mapping[str, float]:
    """Time for which a graph keeps each shared resource busy, by its name as in a run's utilization [s]."""
    work = _Work.on(graph, machine, conditions, launch)
    busy: dict[str, float] = defaultdict(float)
    for node in work.graph.nodes:
        place = work.place(node)
        for told in work.alone(node):
            for name, seconds in told.busy_s.items():
                busy[place.prefix + name] += float(seconds)
    return busy


def places_of(graph: Graph, system: System) -> dict[str, Place]:
    """The places that a graph uses, by name: the first GPU, those of its nodes, and the devices that these lie beside.

    Raises:
        SimexploreError: the system has no such place as a node asks for.
    """
    some = {node.place: node for node in graph.nodes}
    used = [system.place(), *(place_of(node, system) for node in some.values())]
    homes = [system.place(place.home) for place in used]
    return {place.name: place for pair in zip(homes, used, strict=True) for place in pair}


@dataclass(frozen=True)
class _Span:
    """A node in time, counted from when what it needs is there."""

    begins_s: float
    busy_s: float
    length_s: float


class _Work:
    """A graph on a system, each different operator priced once."""

    def __init__(self, graph: Graph, system: System, conditions: Conditions | None, launch: Launch) -> None:
        self.graph, self.system = graph, system
        self.places = places_of(graph, system)
        self._first = system.first_gpu
        self._conditions, self._launch = conditions, launch
        self._priced: dict[tuple[object, ...], Priced] = {}

    @classmethod
    def on(cls, graph: Graph, machine: Gpu | System, conditions: Conditions | None, launch: Launch) -> _Work:
        """The graph after the passes that the machine asks for."""
        system = system_of(machine)
        return cls(prepared(graph, system), system, conditions, launch)

    def priced(self, node: Node) -> Priced:
        """What a node costs alone."""
        place, given = self.place(node), self._given(node)
        key = (node.op, place.name, given)
        if key not in self._priced:
            try:
                self._priced[key] = priced(node.op, place, given)
            except SimexploreError as error:
                raise SimexploreError(f"{node.name}: {error}") from None
        return self._priced[key]

    def alone(self, node: Node) -> list[Alone]:
        """What each of a node's demands costs alone, in numbers."""
        place, given = self.place(node), self._given(node)
        return [alone(demand, place, given).as_numbers() for demand in demands_at(node.op, place, given)]

    def place(self, node: Node) -> Place:
        """Where a node runs."""
        return self.places[node.place or self._first]

    def _given(self, node: Node) -> Conditions:
        return conditions_of(node, self._launch, self._conditions)


def _exchanged(work: _Work) -> dict[str, _Span]:
    """The nodes that exchange batches: both last until the last answer is used."""
    nodes = {node.name: node for node in work.graph.nodes}
    spans = {}
    for exchange in work.graph.exchanges:
        names = (exchange.asks, exchange.answers)
        asks, answers = (side_of(work.alone(nodes[name]), exchange) for name in names)
        length_s = exchange_seconds(asks, answers, exchange)
        for name, side in zip(names, (asks, answers), strict=True):
            spans[name] = _Span(asks.latency_s, side.batch_s * exchange.full_batches, length_s)
    return spans
