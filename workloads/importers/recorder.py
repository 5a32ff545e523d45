"""Calls of a framework, one after the other, as the nodes of a graph and a list of what no operator stands for."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.graph_data import MAX_OPERATORS
from simexplore.workloads.importers.imported import Imported, Repeated, Unknown, tallied
from simexplore.workloads.importers.lowering import NOT_FUSED, Lowered
from simexplore.workloads.ops import Softmax

LONGEST = 150
"""Characters of a node's name."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a framework.

    Args:
        name: what is called, as people know it.
        group: the part of the model that it belongs to, `layers.3.mlp`.
        reads, writes: what stands for the tensors that it reads and makes.
        flops: arithmetic operations, counted where no operator stands for it.
        bytes: all that it reads and writes [B], the same.
    """

    name: str
    group: str
    reads: tuple[Hashable, ...]
    writes: tuple[Hashable, ...]
    flops: float
    bytes: float


class Recorder:
    """A graph in the making. It remembers which nodes made each tensor, through what leaves no node behind.

    Frameworks launch on one stream, in order: each node is after the one before it, and after those that made what it
    reads.
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._makers: dict[Hashable, tuple[str, ...]] = {}
        self._taken: Counter[str] = Counter()
        self._unknown: list[Unknown] = []
        self._notes: dict[str, None] = {}

    def passes(self, call: Call) -> None:
        """A call without work, such as a view: its result is where its operands are."""
        makers = self._makers_of(call.reads)
        self._makers.update(dict.fromkeys(call.writes, makers))

    def add(self, call: Call, lowered: Lowered) -> None:
        """A call, and the operators that it amounts to or why there are none.

        Raises:
            SimexploreError: the model makes more operators than a graph may have.
        """
        if isinstance(lowered, str):
            why = f" ({lowered})" if lowered else ""
            self._unknown.append(Unknown(f"{call.name}{why}", 1, call.flops, call.bytes))
            self.passes(call)
            return
        if not lowered:
            self.passes(call)
            return
        makers = self._makers_of(call.reads)
        last = self._nodes[-1].name if self._nodes else None
        after = makers if last is None or last in makers else (*makers, last)
        for op in lowered:
            node = Node.of(self._name(f"{call.group}.{op.op}" if call.group else op.op), op, after, call.group)
            self._nodes.append(node)
            after = (node.name,)
        if any(isinstance(op, Softmax) for op in lowered[1:]):
            self._notes[NOT_FUSED] = None
        if len(self._nodes) > MAX_OPERATORS:
            raise SimexploreError(f"expected a model of at most {MAX_OPERATORS} operators, found more")
        self._makers.update(dict.fromkeys(call.writes, after))

    def imported(self, name: str, resident_bytes: Mapping[str, float]) -> Imported:
        """The graph, and what is left out of it.

        Raises:
            SimexploreError: no operator stands for anything in the model.
        """
        unknown = tallied(self._unknown)
        if not self._nodes:
            seen = ", ".join(one.name for one in unknown[:5]) or "nothing at all"
            raise SimexploreError(f"{name}: expected a model with operators that are known, found {seen}")
        graph = Graph(readable(name), tuple(self._nodes), resident_bytes)
        return Imported(graph, unknown, tuple(self._notes), alike(self._nodes))

    def _makers_of(self, keys: Iterable[Hashable]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for key in keys for name in self._makers.get(key, ())))

    def _name(self, wanted: str) -> str:
        """A name of its own: the second `layers.3.gemm` is `layers.3.gemm#2`."""
        name = readable(wanted)
        self._taken[name] += 1
        return name if self._taken[name] == 1 else f"{name}#{self._taken[name]}"


def readable(name: str) -> str:
    """A name of letters, digits and a few marks, not too long."""
    return re.sub(r"[^\w./-]+", "_", name, flags=re.ASCII)[-LONGEST:] or "model"


def alike(nodes: Iterable[Node]) -> tuple[Repeated, ...]:
    """Numbered parts of a model that have the same operators, such as `layers.0`, `layers.1`, …, outermost first."""
    parts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for node in nodes:
        match = re.match(r"(.*?)\b(\d+)\b", node.group)
        if match:
            parts[match[1]][match[2]].append(node.op.describe())
    found = []
    for prefix, numbered in parts.items():
        counts = Counter(tuple(operators) for operators in numbered.values())
        operators, count = counts.most_common(1)[0]
        if count > 1:
            found.append(Repeated(f"{prefix}*", count, len(operators)))
    return tuple(found)
