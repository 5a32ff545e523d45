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

    def add(
        self, name: str, op: Operator, reads: Iterable[str], group: str = "", output_bytes: float | None = None
    ) -> str:
        """A node after the one before it on the stream, and its name.

        Args:
            output_bytes: memory that its result holds; None: what its operator writes. 0: it writes where memory is
                held already.
        """
        self._put(name, op, (*reads, *self._last), group, output_bytes)
        self._last = (name,)
        return name

    def merge(self, op: Operator, moved_bytes: float) -> None:
        """Let the last node's kernel do an operator beside its own, moving so many bytes more for it."""
        self.nodes[-1] = replace(self.nodes[-1], merged=(op,), merged_bytes=moved_bytes)

    def beside(self, name: str, op: Operator, reads: Iterable[str], group: str = "") -> str:
        """A node that runs on a stream of its own as soon as what it reads is there; it writes in place."""
        self._put(name, op, tuple(reads), group, 0.0)
        return name

    def wait_for(self, names: Iterable[str]) -> None:
        """The next node of the stream comes after these too."""
        self._last = (*self._last, *names)

    def _put(self, name: str, op: Operator, after: Iterable[str], group: str, output_bytes: float | None) -> None:
        held = float(op.output_bytes) if output_bytes is None else output_bytes
        self.nodes.append(Node(name, op, tuple(dict.fromkeys(after)), held, f"{group} {self.phase}".strip()))
