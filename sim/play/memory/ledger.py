"""The memory of one device: what is resident, what operators read, and results until their last reader has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.tensors.operands import operand_bytes

WORTH_TELLING = 1e-3
"""Share of what is needed, below which no part is named."""
MOST_TOLD = 5
"""Tensors that a message names."""
OPERANDS = "operands"
"""Kind of what operators read that neither a node made nor the graph names."""

Change = Callable[[str, str, float], None]
"""Told a tensor's name, its kind, and its bytes: above zero when it is born, below when it dies."""


class Held(NamedTuple):
    """A tensor that is in memory."""

    name: str
    kind: str
    bytes: float


class OutOfMemoryError(SimexploreError):
    """Work that does not fit: where, at which node, and which tensors are alive there, the largest first."""

    def __init__(self, message: str, place: str, needed_bytes: float, alive: Sequence[Held]) -> None:
        super().__init__(message, place, needed_bytes, tuple(alive))  # an event that fails is made again of these
        self.message, self.place, self.needed_bytes = message, place, needed_bytes
        self.alive = tuple(sorted(alive, key=lambda tensor: -tensor.bytes))

    def __str__(self) -> str:
        return self.message


def ignore(name: str, kind: str, size: float) -> None:
    """What is done with a change that nobody wants to know of."""


class Memory:
    """What a graph holds in the memory of one device; nodes that never begin here, being elsewhere, hold nothing.

    Operands that no node made are in memory while their node runs. They are among the graph's resident parts as far
    as these go: a graph that names its weights holds no more for the operators that read them.
    """

    def __init__(
        self,
        graph: Graph,
        machine: str,
        capacity_bytes: float,
        resident: Mapping[str, float] | None = None,
        place: str = "",
    ) -> None:
        """Memory with the graph's resident parts in it.

        Args:
            graph: what will run.
            machine: name of the device, for messages.
            capacity_bytes: the most that can be held; infinite to allow any amount.
            resident: what stays here from start to end by name [B]; by default what the graph has on the first GPU.
            place: name of the device in its system.

        Raises:
            OutOfMemoryError: the resident parts alone do not fit.
        """
        self._graph = graph
        self._machine, self._place = machine, place
        self._capacity_bytes = capacity_bytes
        self._resident = dict(graph.resident_bytes if resident is None else resident)
        self._resident_bytes = sum(self._resident.values())
        self._results: dict[str, float] = {}
        self._kinds = {node.name: node.kind for node in graph.nodes}
        self._operands: dict[str, float] = {}
        self._made = {node.name: node.output_bytes for node in graph.nodes}
        self._readers = dict.fromkeys(self._made, 0)
        for node in graph.nodes:
            for name in node.reads:
                self._readers[name] += 1
        self._told: Change = ignore
        self._told_operands = 0.0
        self._check(None)

    @property
    def held_bytes(self) -> float:
        """The bytes that the run holds now [B]."""
        return self._resident_bytes + self._beyond_resident_bytes + sum(self._results.values())

    @property
    def alive(self) -> tuple[Held, ...]:
        """The tensors that are here now; operands that nothing names are one."""
        resident = [Held(name, name, size) for name, size in self._resident.items()]
        results = [Held(name, self._kinds[name], size) for name, size in self._results.items()]
        beyond = self._beyond_resident_bytes
        operands = [Held(OPERANDS, OPERANDS, beyond)] if beyond else []
        return tuple(tensor for tensor in (*resident, *operands, *results) if tensor.bytes)

    def watch(self, told: Change) -> None:
        """From now on, tell of every birth and death; what is here already is born now."""
        self._told, self._told_operands = told, self._beyond_resident_bytes
        for tensor in self.alive:
            told(*tensor)

    @property
    def _beyond_resident_bytes(self) -> float:
        return max(sum(self._operands.values()) - self._resident_bytes, 0.0)

    def begin(self, node: Node, *, reads_here: bool = True) -> None:
        """Make room for a node's result, and for what it reads that no node made.

        `reads_here`: whether the node's operands are here too; those of a copy are where it comes from.

        Raises:
            OutOfMemoryError: it does not fit.
        """
        if reads_here:
            made = sum(self._made[name] for name in node.reads)
            self._operands[node.name] = max(sum(operand_bytes(node.op).values()) - made, 0.0)
        self._results[node.name] = node.output_bytes
        self._check(node)
        self._tell(node.name, node.output_bytes)

    def end(self, node: Node) -> None:
        """Let go of what the node alone read, and of results that nobody will read any more."""
        self._operands.pop(node.name, None)
        for name in node.reads:
            self._readers[name] -= 1
        for name in (node.name, *node.reads):
            if self._readers[name] == 0:
                self._tell(name, -self._results.pop(name, 0.0))

    def _tell(self, name: str, size: float) -> None:
        if size:
            self._told(name, self._kinds[name], size)
        if (beyond := self._beyond_resident_bytes) != self._told_operands:
            self._told(OPERANDS, OPERANDS, beyond - self._told_operands)
            self._told_operands = beyond

    def _check(self, node: Node | None) -> None:
        if self.held_bytes <= self._capacity_bytes:
            return
        results = {"results": sum(self._results.values())}
        parts = {**self._resident, **self._operand_parts(node), **results}
        told = {name: size for name, size in parts.items() if size > WORTH_TELLING * self.held_bytes}
        shown = ", ".join(f"{name} {_gigabytes(size)}" for name, size in told.items())
        when = f" at {node.name}" if node else ""
        held, room = _gigabytes(self.held_bytes), _gigabytes(self._capacity_bytes)
        where = f"of memory at {self._place}" if self._place else "of device memory"
        raise OutOfMemoryError(
            f"{self._graph.name} needs {held} {where}{when} ({shown}{self._largest()}), and {self._machine} has "
            f"{room}: make it smaller, spread it over more GPUs, or allow overflow",
            self._place,
            self.held_bytes,
            self.alive,
        )

    def _largest(self) -> str:
        """The largest of several results by name; of one, the node is already told."""
        if len(self._results) < 2:
            return ""
        largest = sorted(self._results.items(), key=lambda item: -item[1])[:MOST_TOLD]
        more = len(self._results) - len(largest)
        named = ", ".join(f"{name} {_gigabytes(size)}" for name, size in largest)
        return f"; alive: {named}{f' and {more} more' if more else ''}"

    def _operand_parts(self, node: Node | None) -> Mapping[str, float]:
        """What operators read that nothing else accounts for; by name, where it is all that one of them reads."""
        beyond = self._beyond_resident_bytes
        names = operand_bytes(node.op) if node else {}
        return names if names and sum(names.values()) == beyond else {OPERANDS: beyond}


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.4g} GB"
