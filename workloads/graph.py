"""Graphs of operators: who waits for whom, and what stays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import did_you_mean
from simexplore.workloads.operators.base import Operator

ACTIVATIONS = "activations"
"""What a node's result is unless it says otherwise."""


class GraphError(SimexploreError):
    """A graph that cannot run: a name used twice, an unknown dependency, or a cycle."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator in a graph.

    Args:
        name: unique in its graph.
        op: what is computed.
        after: names of the nodes whose results it needs.
        output_bytes: memory that its result holds until the last node that needs it has ended [B].
        group: what it belongs to, such as `layer 3`; for people.
        place: name of the device, or of the link of a copy, that it runs on; None: the machine's first GPU.
        module: True: attention as a serving engine's module, which also rotates queries and keys and appends to the
            KV cache.
        fresh: True: it waits for the nodes of `after` and reads nothing of theirs, as the work of a new request does.
        merged: operators that its last kernel does beside, on values that it has in registers, as a compiler merges
            them (`workloads.compilers`).
        merged_bytes: what that kernel reads and writes for them beside its own operands [B].
        unread: names in `after` that it waits for and reads nothing of.
        kind: what its result is: activations, weights, gradients, states, …; for memory.
        apart: from one GPU of a collective to the next: those that share a layer lie between copies of it.
    """

    name: str
    op: Operator
    after: tuple[str, ...] = ()
    output_bytes: float = 0.0
    group: str = ""
    place: str | None = None
    module: bool = False
    fresh: bool = False
    merged: tuple[Operator, ...] = ()
    merged_bytes: float = 0.0
    unread: tuple[str, ...] = ()
    kind: str = ACTIVATIONS
    apart: int = 1

    @classmethod
    def of(cls, name: str, op: Operator, after: Iterable[str] = (), group: str = "", place: str | None = None) -> Node:
        """A node whose result is what its operator writes."""
        return cls(name, op, tuple(after), float(op.output_bytes), group, place)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the nodes whose results it reads."""
        if self.fresh:
            return ()
        return tuple(name for name in self.after if name not in self.unread) if self.unread else self.after

    @property
    def flops(self) -> float:
        """Arithmetic operations of all that its kernels do."""
        return float(self.op.flops) + sum(float(each.flops) for each in self.merged)

    @property
    def min_bytes(self) -> float:
        """Compulsory memory traffic of its kernels [B]."""
        return float(self.op.min_bytes) + self.merged_bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two nodes that run at the same time and hand each other work in batches.

    `asks` makes the queries of a batch in one phase and uses its answers in a later one; `answers` works on one batch
    after the other. Both have the same `after`.

    Args:
        asks: name of the node that makes queries and uses answers.
        answers: name of the node that answers them.
        batches: batches in all.
        last_share: size of the last batch over the others', at most 1.
        in_flight: batches between the two at once; answers to a batch are used when so many more have been asked.
        doorbell_s: from the end of a batch on one side until the other sees it [s].
    """

    asks: str
    answers: str
    batches: int
    last_share: float
    in_flight: int
    doorbell_s: float

    @property
    def full_batches(self) -> float:
        """The work of all batches, counted in full ones."""
        return self.batches - 1 + self.last_share


@dataclass(frozen=True, slots=True)
class Graph:
    """Operators in an order in which they can run.

    `nodes` may be given in any order; they are kept in topological order, and in the order given where that allows.
    `resident_bytes` is the memory of the first GPU held from start to end [B] by name: `weights`, `kv_cache`;
    `resident_elsewhere` that of other devices, by place. `exchanges` are pairs of nodes that hand each other work while
    they run.

    Raises:
        GraphError: a name used twice, an unknown name in `after`, a cycle, or an exchange of nodes that cannot run at
            the same time.
    """

    name: str
    nodes: tuple[Node, ...]
    resident_bytes: Mapping[str, float] = field(default_factory=dict)
    exchanges: tuple[Exchange, ...] = ()
    resident_elsewhere: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", _in_order(tuple(self.nodes)))
        _check_exchanges(self.nodes, self.exchanges)
        object.__setattr__(self, "resident_bytes", dict(self.resident_bytes))
        held = {place: dict(resident) for place, resident in self.resident_elsewhere.items()}
        object.__setattr__(self, "resident_elsewhere", held)

    @property
    def flops(self) -> float:
        """Arithmetic operations of all nodes."""
        return float(sum(node.flops for node in self.nodes))

    @property
    def min_bytes(self) -> float:
        """Compulsory memory traffic of all nodes [B], each result written and read again."""
        return float(sum(node.min_bytes for node in self.nodes))

    def critical_path(self, durations: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
        """The longest chain of nodes that wait for each other: its length and its names.

        Args:
            durations: time of each node by name, in any unit; the length has the same.
        """
        finish: dict[str, float] = {}
        longest_before: dict[str, str | None] = {}
        for node in self.nodes:
            before = max(node.after, key=finish.__getitem__, default=None)
            longest_before[node.name] = before
            finish[node.name] = durations[node.name] + (0.0 if before is None else finish[before])
        name: str | None = max(finish, key=finish.__getitem__, default=None)
        length = 0.0 if name is None else finish[name]
        path: list[str] = []
        while name is not None:
            path.append(name)
            name = longest_before[name]
        return length, tuple(reversed(path))

    def streams(self) -> dict[str, int]:
        """A stream for every node, such that a stream never makes a node wait for one that it does not need.

        Greedy, in order: a node joins the stream of its first dependency that is still the last of its stream, else
        the lowest stream whose last node comes before it through other nodes, else a new one. A node's clock
        holds the last position on each stream that comes before it.
        """
        clocks: dict[str, dict[int, int]] = {}
        stream_of: dict[str, int] = {}
        last_position: list[int] = []
        for node in self.nodes:
            clock: dict[int, int] = {}
            for name in node.after:
                for stream, position in clocks[name].items():
                    clock[stream] = max(position, clock.get(stream, -1))
            free = [stream for stream, position in clock.items() if position == last_position[stream]]
            direct = [stream_of[name] for name in node.after if stream_of[name] in free]
            chosen = direct[0] if direct else min(free, default=len(last_position))
            if chosen == len(last_position):
                last_position.append(-1)
            last_position[chosen] += 1
            clock[chosen] = last_position[chosen]
            clocks[node.name], stream_of[node.name] = clock, chosen
        return stream_of


def single(op: Operator) -> Graph:
    """The graph of one operator alone, named by its text."""
    return Graph(op.describe(), (Node.of(op.op, op),))


def chained(graph: Graph, times: int) -> Graph:
    """A graph so often, one run after the other: `qkv` becomes `run0/qkv`, `run1/qkv`, …

    A run begins when the one before has ended, and reads nothing of it; what is resident is there once. Once leaves
    the graph as it is.

    Raises:
        GraphError: `times` is less than 1.
    """
    if times < 1:
        raise GraphError(f"expected work to be done at least once, found {times} times")
    if times == 1:
        return graph
    read = {name for node in graph.nodes for name in node.after}
    last = [node.name for node in graph.nodes if node.name not in read]
    nodes: list[Node] = []
    exchanges: list[Exchange] = []
    before: tuple[str, ...] = ()
    for run in (f"run{index}/" for index in range(times)):
        for node in graph.nodes:
            after = tuple(run + name for name in node.after)
            unread = tuple(run + name for name in node.unread)
            fresh = node.fresh or not after
            nodes.append(replace(node, name=run + node.name, after=after or before, fresh=fresh, unread=unread))
        exchanges += [replace(each, asks=run + each.asks, answers=run + each.answers) for each in graph.exchanges]
        before = tuple(run + name for name in last)
    return Graph(graph.name, tuple(nodes), graph.resident_bytes, tuple(exchanges), graph.resident_elsewhere)


def find_cycle(after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The names along a cycle, the first one again at the end; empty when there is none."""
    import networkx as nx

    edges: nx.DiGraph[str] = nx.DiGraph([(before, name) for name, needed in after.items() for before in needed])
    try:
        cycle = nx.find_cycle(edges)
    except nx.NetworkXNoCycle:
        return ()
    return (cycle[0][0], *(edge[1] for edge in cycle))


def _check_exchanges(nodes: tuple[Node, ...], exchanges: tuple[Exchange, ...]) -> None:
    after = {node.name: set(node.after) for node in nodes}
    ends = [name for exchange in exchanges for name in (exchange.asks, exchange.answers)]
    for name in ends:
        if name not in after or ends.count(name) > 1:
            raise GraphError(f"an exchange needs two operators of this graph that are in no other, found {name!r}")
    for exchange in exchanges:
        if after[exchange.asks] != after[exchange.answers]:
            both = f"{exchange.asks!r} and {exchange.answers!r}"
            raise GraphError(f"{both} hand each other work while they run: give both the same 'after'")


def _in_order(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    position: dict[str, int] = {}
    for index, node in enumerate(nodes):
        if position.setdefault(node.name, index) != index:
            raise GraphError(f"two operators are named {node.name!r}: give each a name of its own")
    for node in nodes:
        for name in node.after:
            if name not in position:
                raise GraphError(
                    f"operator {node.name!r} is to run after {name!r}, which is not in the graph"
                    f"{did_you_mean(name, position)}"
                )
    if all(position[name] < index for index, node in enumerate(nodes) for name in node.after):
        return nodes
    import networkx as nx  # it costs as much as a prediction, and most graphs come in order

    edges: nx.DiGraph[str] = nx.DiGraph()
    edges.add_nodes_from(position)
    edges.add_edges_from((name, node.name) for node in nodes for name in node.after)
    try:
        order = list(nx.lexicographical_topological_sort(edges, key=position.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(find_cycle({node.name: node.after for node in nodes}))
        raise GraphError(f"operators wait for each other in a circle: {cycle}") from None
    return tuple(nodes[position[name]] for name in order)
