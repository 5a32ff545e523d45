"""Events of the Trace Event Format of the Chromium project: slices that nest, arrows between them, counters, labels.

Slices are told by where they begin and end, in the order of their nesting. Perfetto would sort complete events (`X`)
of one instant before all others, and bind arrows to the innermost of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from simexplore.sim.play.probes import Activity, Task

Event = dict[str, Any]
Ends = Mapping[str, Sequence[tuple[bool, int, bool]]]
"""Ends of arrows by node: whether the arrow begins there, its number, and whether it is of a result that is read."""

_RUN = re.compile(r"run\d+/")
"""What the names of nodes begin with where a graph is played several times."""


@dataclass(frozen=True)
class Slice:
    """Something that a thread does from one time to another, and what it is made of, in order."""

    name: str
    category: str
    begin_ns: int
    end_ns: int
    args: Mapping[str, object]
    parts: Sequence[Slice] = ()

    def events(self, pid: int, tid: int, ends: Ends) -> Iterator[Event]:
        """Its beginning, the ends of its arrows, its parts, its end."""
        where = {"pid": pid, "tid": tid}
        begin = {"ph": "B", **where, "ts": microseconds(self.begin_ns), "name": self.name, "cat": self.category}
        yield {**begin, "args": dict(self.args)}
        if self.category == "op":
            for begins, number, reads in ends.get(self.name, ()):
                told = {"ph": "s"} if begins else {"ph": "f", "bp": "e"}
                name = "reads" if reads else "waits for"
                yield {**told, **where, "ts": microseconds(self.begin_ns), "id": number, "name": name, "cat": "flow"}
        for part in self.parts:
            yield from part.events(pid, tid, ends)
        yield {"ph": "E", **where, "ts": microseconds(self.end_ns)}


@dataclass(frozen=True)
class Kernel:
    """A kernel or a transfer that has ended."""

    activity: Activity
    phases: Sequence[tuple[int, str]]
    """When each begins [ns]; one without a name is not shown."""
    end_ns: int

    @property
    def slice(self) -> Slice:
        """Its phases fill it."""
        node = self.activity.node
        until = [*(begin_ns for begin_ns, _ in self.phases[1:]), self.end_ns]
        phases = tuple(
            Slice(name, "phase", begin_ns, end_ns, {"node": node})
            for (begin_ns, name), end_ns in zip(self.phases, until, strict=True)
            if name and begin_ns < end_ns
        )
        args = {"node": node, **self.activity.details}
        return Slice(self.activity.kernel, "kernel", self.phases[0][0], self.end_ns, args, phases)


@dataclass
class Played:
    """A node of the graph as it was played."""

    task: Task
    begin_ns: int
    end_ns: int | None = None
    """None: it has not ended."""
    kernels: list[Kernel] = field(default_factory=list)

    @property
    def layer(self) -> str:
        """What it belongs to, and in which run; nothing where it belongs to nothing."""
        node = self.task.node
        run = _RUN.match(node.name)
        return f"{run[0] if run else ''}{node.group}" if node.group else ""

    @property
    def slice(self) -> Slice:
        """Its kernels, and what is known of the node before anything is played."""
        node = self.task.node
        args = {**self.task.details, "flops": node.flops, "min_bytes": node.min_bytes}
        end_ns = self.begin_ns if self.end_ns is None else self.end_ns
        return Slice(node.name, "op", self.begin_ns, end_ns, args, tuple(kernel.slice for kernel in self.kernels))


def in_layers(played: Sequence[Played]) -> Iterator[Slice]:
    """The nodes of one thread in the order in which they began; neighbours of a layer are parts of one slice."""
    for name, neighbours in groupby(played, key=lambda each: each.layer):
        slices = [each.slice for each in neighbours]
        if name:
            yield Slice(name, "layer", slices[0].begin_ns, slices[-1].end_ns, {"nodes": len(slices)}, slices)
        else:
            yield from slices


def arrows(played: Mapping[str, Played]) -> dict[str, list[tuple[bool, int, bool]]]:
    """An arrow from each node to each that waits for it, as `Ends`."""
    ends: dict[str, list[tuple[bool, int, bool]]] = {}
    number = 0
    for name, after in played.items():
        for before in after.task.node.after:
            if before in played:
                number += 1
                reads = before in after.task.node.reads
                ends.setdefault(before, []).append((True, number, reads))
                ends.setdefault(name, []).append((False, number, reads))
    return ends


def counter(pid: int, now_ns: int, name: str, unit: str, level: float) -> Event:
    """A quantity that has this level from now on."""
    return {"ph": "C", "pid": pid, "ts": microseconds(now_ns), "name": name, "args": {unit: level}}


def label(name: str, args: Mapping[str, object], pid: int, tid: int | None = None) -> Event:
    """What a process or a thread is called, or where it stands."""
    where = {"pid": pid} if tid is None else {"pid": pid, "tid": tid}
    return {"ph": "M", **where, "name": name, "args": dict(args)}


def microseconds(time_ns: int) -> float:
    """The format's unit of time [us]."""
    return time_ns / 1000
