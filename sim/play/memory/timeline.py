"""Memory over time, as a probe: which tensors were where, from when to when, and what each place held at its peak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from simexplore.sim.play.engine import seconds
from simexplore.sim.play.probes import Probe


class Tensor(NamedTuple):
    """A tensor's stay in the memory of a place."""

    name: str
    kind: str
    place: str
    bytes: float
    born_s: float
    """When the node that makes it begins [s]."""
    died_s: float | None
    """When its last reader has ended [s]; None: it is there to the end."""


@dataclass(frozen=True)
class PlaceMemory:
    """What a run held at one place."""

    peak_bytes: float
    """The most at once [B]."""
    at_s: float
    """When that was first [s]."""
    by_kind: Mapping[str, float]
    """What it was made of then, by kind [B]."""
    capacity_bytes: float | None
    """What there is room for [B]; None: nobody said."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; units are in the keys."""
        return {
            "peak_bytes": self.peak_bytes,
            "peak_at_s": self.at_s,
            "peak_bytes_by_kind": dict(self.by_kind),
            "capacity_bytes": self.capacity_bytes,
        }


class Step(NamedTuple):
    """What a place holds from an instant on."""

    at_s: float
    by_kind: Mapping[str, float]
    """Bytes by kind [B]."""


class MemoryTimeline(Probe):
    """Records births and deaths of tensors."""

    def __init__(self) -> None:
        self._changes: dict[str, list[tuple[int, str, str, float]]] = defaultdict(list)

    def on_tensor(self, now_fs: int, place: str, name: str, kind: str, size: float) -> None:
        self._changes[place].append((now_fs, name, kind, size))

    @property
    def places(self) -> tuple[str, ...]:
        """Where anything ever was."""
        return tuple(self._changes)

    def changes(self, place: str) -> list[tuple[str, float]]:
        """Name and bytes of every birth (above zero) and death (below) at a place, in order [B]."""
        return [(name, size) for _, name, _, size in self._changes[place]]

    def tensors(self, place: str) -> list[Tensor]:
        """All tensors that were at a place, in the order of their birth."""
        found: list[Tensor] = []
        alive: dict[str, list[int]] = defaultdict(list)
        for now_fs, name, kind, size in self._changes[place]:
            if size > 0.0:
                alive[name].append(len(found))
                found.append(Tensor(name, kind, place, size, seconds(now_fs), None))
            else:
                self._die(found, alive[name], -size, seconds(now_fs))
        return found

    def _die(self, found: list[Tensor], alive: list[int], size: float, now_s: float) -> None:
        """End the newest of what has this name; of operands, which come and go in parts, as much as goes."""
        while size > 0.0 and alive:
            tensor = found[alive[-1]]
            gone = min(tensor.bytes, size)
            size -= gone
            if gone < tensor.bytes:
                found[alive[-1]] = tensor._replace(bytes=tensor.bytes - gone)
                found.append(tensor._replace(bytes=gone, died_s=now_s))
                return
            found[alive.pop()] = tensor._replace(died_s=now_s)

    def steps(self, place: str) -> list[Step]:
        """What a place held, a step for each instant at which it changed."""
        levels: dict[str, float] = defaultdict(float)
        found: list[Step] = []
        for now_fs, _, kind, size in self._changes[place]:
            levels[kind] += size
            step = Step(seconds(now_fs), {name: level for name, level in levels.items() if level > 0.0})
            if found and found[-1].at_s == step.at_s:
                found[-1] = step
            else:
                found.append(step)
        return found

    def peak(self, place: str, capacity_bytes: float | None = None) -> PlaceMemory:
        """The most that a place held at once, counting what is born before what dies at the same instant."""
        levels: dict[str, float] = defaultdict(float)
        held, most, at_fs, then = 0.0, 0.0, 0, {}
        for now_fs, _, kind, size in self._changes[place]:
            levels[kind] += size
            held += size
            if held > most:
                most, at_fs, then = held, now_fs, dict(levels)
        by_kind = {kind: level for kind, level in then.items() if level > 0.0}
        return PlaceMemory(most, seconds(at_fs), by_kind, capacity_bytes)
