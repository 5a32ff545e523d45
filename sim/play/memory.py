"""Device memory over time: what is resident all along, and results that live until their last reader has ended."""

from __future__ import annotations

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node


class Memory:
    """What a graph holds in the memory of one GPU; nodes that never begin here, being elsewhere, hold nothing."""

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
        self._readers = {node.name: 0 for node in graph.nodes}
        for node in graph.nodes:
            for name in node.after:
                self._readers[name] += 1
        self._check("")

    @property
    def held_bytes(self) -> float:
        """What is held now [B]."""
        return self._resident_bytes + sum(self._results.values())

    def begin(self, node: Node) -> None:
        """Make room for a node's result.

        Raises:
            SimexploreError: it does not fit.
        """
        self._results[node.name] = node.output_bytes
        self._check(node.name)

    def end(self, node: Node) -> None:
        """Let go of results that nobody will read any more."""
        for name in node.after:
            self._readers[name] -= 1
        for name in (node.name, *node.after):
            if self._readers[name] == 0:
                self._results.pop(name, None)

    def _check(self, node: str) -> None:
        if self.held_bytes <= self._capacity_bytes:
            return
        parts = {**self._graph.resident_bytes, "results": sum(self._results.values())}
        shown = ", ".join(f"{name} {_gigabytes(size)}" for name, size in parts.items() if size > 0.0)
        when = f" at {node}" if node else ""
        held, room = _gigabytes(self.held_bytes), _gigabytes(self._capacity_bytes)
        raise SimexploreError(
            f"{self._graph.name} needs {held} of device memory{when} ({shown}), and {self._machine} has {room}: "
            "make it smaller, spread it over more GPUs, or allow overflow"
        )


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.4g} GB"
