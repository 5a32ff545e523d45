"""The memory of all places of a run: each holds what its nodes make, and what copies bring to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

from simexplore.archs.schema.system import Path, Place
from simexplore.sim.play.memory.ledger import Memory
from simexplore.workloads.graph import Graph, Node

Told = Callable[[str, str, str, float], None]
"""Told a place, a tensor's name, its kind, and its bytes: above zero when it is born, below when it dies."""


class Memories:
    """One ledger for each device of a run."""

    def __init__(self, graph: Graph, places: Mapping[str, Place], first: str, *, unlimited: bool = False) -> None:
        """With what is resident in each.

        Args:
            graph: what will run.
            places: those that it uses, by name.
            first: the GPU on which a graph's `resident_bytes` are.
            unlimited: hold any amount anywhere.

        Raises:
            OutOfMemoryError: what is resident somewhere does not fit there.
        """
        self._places, self._first = places, first
        self._ledgers: dict[str, Memory] = {}
        for name in dict.fromkeys(
            (first, *graph.resident_elsewhere, *(place.holds or first for place in places.values()))
        ):
            place = places[name]
            resident = {**(graph.resident_bytes if name == first else {}), **graph.resident_elsewhere.get(name, {})}
            capacity = place.capacity_bytes
            room = inf if unlimited or capacity is None else capacity
            told = place.gpu.name if name == first else getattr(place.arch, "name", name)
            self._ledgers[name] = Memory(graph, told, room, resident, "" if name == first else name)

    @property
    def held_bytes(self) -> float:
        """What the first GPU holds now [B]."""
        return self._ledgers[self._first].held_bytes

    def watch(self, told: Told) -> None:
        """From now on, tell of every birth and death, by place."""
        for name, ledger in self._ledgers.items():
            ledger.watch(partial(told, name))

    def begin(self, node: Node) -> None:
        """Make room for a node's result where it lies.

        Raises:
            OutOfMemoryError: it does not fit there.
        """
        place = self._places[node.place or self._first]
        self._ledgers[place.holds or self._first].begin(node, reads_here=not isinstance(place.arch, Path))

    def end(self, node: Node) -> None:
        """Let go, everywhere, of what nobody will read any more."""
        for ledger in self._ledgers.values():
            ledger.end(node)
