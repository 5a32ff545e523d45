"""Device memory over time: what is resident, what operators read, and results until their last reader has ended."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.tensors import operand_bytes

WORTH_TELLING = 1e-3
"""Share of what is needed, below which no part is named."""


class Memory:
    """What a graph holds in the memory of one GPU; nodes that never begin here, being elsewhere, hold nothing.

    Operands that no node made are in memory while their node runs. They are among the graph's resident parts as far
    as these go: a graph that names its weights holds no more for the operators that read them.
    """

    def __init__(self, graph: Graph, machine: str, capacity_bytes: float) -> None:
        """Memory with the graph's resident parts in it.

        Args:
            graph: what will run.
            machine: name of the GPU, for messages.
            capacity_bytes: the most that can be held; infinite to allow any amount.

        Raises:
            SimexploreError: the resident parts alone do not fit.
        """
        self._graph = graph
        self._machine = machine
        self._capacity_bytes = capacity_bytes
        self._resident_bytes = sum(graph.resident_bytes.values())
        self._results: dict[str, float] = {}
        self._operands: dict[str, float] = {}
        self._made = {node.name: node.output_bytes for node in graph.nodes}
        self._readers = dict.fromkeys(self._made, 0)
        for node in graph.nodes:
            for name in node.reads:
                self._readers[name] += 1
        self._check(None)

    @property
    def held_bytes(self) -> float:
        """The bytes that the run holds now [B]."""
        return self._resident_bytes + self._beyond_resident_bytes + sum(self._results.values())

    @property
    def _beyond_resident_bytes(self) -> float:
        return max(sum(self._operands.values()) - self._resident_bytes, 0.0)

    def begin(self, node: Node) -> None:
        """Make room for a node's result, and for what it reads that no node made.

        Raises:
            SimexploreError: it does not fit.
        """
        made = sum(self._made[name] for name in node.reads)
        self._operands[node.name] = max(sum(operand_bytes(node.op).values()) - made, 0.0)
        self._results[node.name] = node.output_bytes
        self._check(node)

    def end(self, node: Node) -> None:
        """Let go of what the node alone read, and of results that nobody will read any more."""
        self._operands.pop(node.name, None)
        for name in node.reads:
            self._readers[name] -= 1
        for name in (node.name, *node.reads):
            if self._readers[name] == 0:
                self._results.pop(name, None)

    def _check(self, node: Node | None) -> None:
        if self.held_bytes <= self._capacity_bytes:
            return
        results = {"results": sum(self._results.values())}
        parts = {**self._graph.resident_bytes, **self._operand_parts(node), **results}
        told = {name: size for name, size in parts.items() if size > WORTH_TELLING * self.held_bytes}
        shown = ", ".join(f"{name} {_gigabytes(size)}" for name, size in told.items())
        when = f" at {node.name}" if node else ""
        held, room = _gigabytes(self.held_bytes), _gigabytes(self._capacity_bytes)
        raise SimexploreError(
            f"{self._graph.name} needs {held} of device memory{when} ({shown}), and {self._machine} has {room}: "
            "make it smaller, spread it over more GPUs, or allow overflow"
        )

    def _operand_parts(self, node: Node | None) -> Mapping[str, float]:
        """What operators read that nothing else accounts for; by name, where it is all that one of them reads."""
        beyond = self._beyond_resident_bytes
        names = operand_bytes(node.op) if node else {}
        return names if names and sum(names.values()) == beyond else {"operands": beyond}


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.4g} GB"
