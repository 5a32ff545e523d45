"""Nodes of a training step in the making: one stream of kernels, and what runs beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from simexplore.workloads.graph import Node
from simexplore.workloads.operators.base import Operator

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
"""Phases of a step: a node's group is what it belongs to and the phase, `layer3 backward`."""


class Tape:
    """Nodes in the order in which a framework launches them; `phase` is that of the next ones."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.phase = FORWARD
        self._last: tuple[str, ...] = ()
        self._exchanged: tuple[str, ...] = ()
        self._beside: list[Node] = []

    def add(
        self,
        name: str,
        op: Operator,
        reads: Iterable[str],
        group: str = "",
        output_bytes: float | None = None,
        kind: str = "activations",
    ) -> str:
        """A node after the one before it on the stream, and its name.

        Args:
            output_bytes: memory that its result holds; None: what its operator writes. 0: it writes where memory is
                held already.
            kind: what its result is.
        """
        held = float(op.output_bytes) if output_bytes is None else output_bytes
        self.nodes.append(replace(self._node(name, op, reads, self._last, group, held), kind=kind))
        self.nodes += self._beside  # after the node that goes on, so that this one keeps its stream
        self._beside, self._last = [], (name,)
        return name

    def merge(self, op: Operator, moved_bytes: float) -> None:
        """Let the last node's kernel do an operator beside its own, moving so many bytes more for it."""
        index = next(index for index in reversed(range(len(self.nodes))) if self.nodes[index].name in self._last)
        self.nodes[index] = replace(self.nodes[index], merged=(op,), merged_bytes=moved_bytes)

    def beside(self, name: str, op: Operator, reads: Iterable[str], group: str = "", apart: int = 1) -> str:
        """A node on the stream of exchanges, as soon as what it reads is there; it writes in place."""
        self._beside.append(replace(self._node(name, op, reads, self._exchanged, group, 0.0), apart=apart))
        self._exchanged = (name,)
        return name

    def wait(self) -> None:
        """Let the next node of the stream come after all exchanges."""
        self.nodes += self._beside
        self._beside, self._last = [], (*self._last, *self._exchanged)

    def _node(
        self, name: str, op: Operator, reads: Iterable[str], before: Iterable[str], group: str, held_bytes: float
    ) -> Node:
        """A node that reads some nodes, and only waits for those before it on its stream."""
        read = tuple(dict.fromkeys(reads))
        unread = tuple(name for name in dict.fromkeys(before) if name not in read)
        return Node(name, op, (*read, *unread), held_bytes, f"{group} {self.phase}".strip(), unread=unread)
