"""A run as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.

The format is the Trace Event Format of the Chromium project, JSON object form. Each place that nodes run at is a
process: a device, or the path of a copy. In it each stream is a thread, on which slices nest: a layer, its nodes, their
kernels, and of each kernel launch, set-up, waves and tail. Arrows go from nodes to those that wait for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simexplore.archs.schema.system import BACK
from simexplore.sim.play.flows import IDLE, POWER
from simexplore.sim.play.probes import Activity, BoardState, Probe, Task
from simexplore.sim.play.trace_events import Event, Kernel, Played, arrows, counter, in_layers, label

_FS_PER_NS = 10**6
_FIRST_PROCESS = 1  # 0 is the idle process to Perfetto
_FIRST_THREAD = 100  # apart from process numbers, which Perfetto takes for a process's main thread

_Thread = tuple[str, int]
"""A place and a stream."""


class Trace(Probe):
    """Records nodes, kernels and their phases by stream, and the levels of resources, SMs, memory, power and clocks.

    `power` is all that a board draws, idle included [W], and `clock` that of its SMs [MHz]. What belongs to another
    device than the first GPU is a counter of that device's process. The area under all powers is the energy of the run.

    Times are cut to whole nanoseconds, which is what viewers keep: so slices that follow each other never overlap.
    """

    def __init__(self, machine: str, first: str = "gpu", about: Mapping[str, str] | None = None) -> None:
        """An empty trace.

        Args:
            machine: name of the machine.
            first: name that the first GPU has among its devices.
            about: what else the file is to say of the run.
        """
        self._about = {"machine": machine, **(about or {})}
        self._first = first
        self._places: dict[str, int] = {first: _FIRST_PROCESS}
        self._threads: dict[_Thread, int] = {}
        self._played: dict[str, Played] = {}
        self._alone: dict[_Thread, list[Kernel]] = {}
        self._phases: dict[Activity, list[tuple[int, str]]] = {}
        self._counters: list[tuple[int, str, str, str, float]] = []
        self._levels: dict[tuple[str, str, str], float] = {}
        self._held: dict[str, float] = {}
        self._end_ns = 0

    def on_node_start(self, now_fs: int, task: Task) -> None:
        self._played[task.node.name] = Played(task, now_fs // _FS_PER_NS)
        self._see(task.place, task.stream)

    def on_node_end(self, now_fs: int, task: Task) -> None:
        self._played[task.node.name].end_ns = self._until(now_fs)

    def on_phase(self, now_fs: int, activity: Activity, phase: str) -> None:
        self._phases.setdefault(activity, []).append((now_fs // _FS_PER_NS, phase))

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        if activity not in self._phases:
            self.on_phase(now_fs, activity, "")

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        kernel = Kernel(activity, self._phases.pop(activity), self._until(now_fs))
        if activity.node in self._played:
            self._played[activity.node].kernels.append(kernel)
        else:
            self._see(self._first, activity.stream)
            self._alone.setdefault((self._first, activity.stream), []).append(kernel)

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        for name, load in loads.items():
            if name not in (POWER, IDLE):
                place, own = self._whose(name)
                # Sums of rounded shares may pass 1 by some 1e-16.
                self._count(now_fs, place, own, "share", min(load, 1.0))

    def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
        for prefix, board in boards.items():
            place = prefix.removesuffix(".") or self._first
            self._count(now_fs, place, "power", "W", board.power_w)
            if board.clock_hz is not None:
                self._count(now_fs, place, "clock", "MHz", board.clock_hz / 1e6)

    def on_sms(self, now_fs: int, held_share: float) -> None:
        self._count(now_fs, self._first, "sm", "share", held_share)

    def on_memory(self, now_fs: int, held_bytes: float) -> None:
        self._until(now_fs)  # told when a node ends, which may be after its kernels
        self._count(now_fs, self._first, "memory held", "bytes", held_bytes)

    def on_tensor(self, now_fs: int, place: str, name: str, kind: str, size: float) -> None:  # noqa: ARG002
        if place != self._first:  # of which `on_memory` tells
            self._held[place] = self._held.get(place, 0.0) + size
            self._count(now_fs, place, "memory held", "bytes", self._held[place])

    def to_json(self) -> dict[str, Any]:
        """The trace as plain data: metadata first, then events in the order of their time."""
        closing = [(self._end_ns, *series, 0.0) for series, level in self._levels.items() if level != 0.0]
        counters = [
            counter(self._places[place], now_ns, name, unit, level)
            for now_ns, place, name, unit, level in (*self._counters, *closing)
        ]
        # Of one instant a thread's events keep their order, which is that of their nesting.
        timed = sorted([*counters, *self._slices()], key=lambda event: event["ts"])
        return {"displayTimeUnit": "ns", "otherData": self._about, "traceEvents": [*self._metadata(), *timed]}

    def write(self, path: Path) -> None:
        """Write the trace to a file."""
        path.write_text(json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False), encoding="utf-8")

    def _see(self, place: str, stream: int | None = None) -> None:
        self._places.setdefault(place, _FIRST_PROCESS + len(self._places))
        if stream is not None:
            self._threads.setdefault((place, stream), _FIRST_THREAD + len(self._threads))

    def _whose(self, resource: str) -> tuple[str, str]:
        """The device that a shared resource is of, and its own name there; those of links are the first GPU's."""
        device, dot, own = resource.removesuffix(BACK).partition(".")
        return (device, own) if dot else (self._first, resource)

    def _until(self, now_fs: int) -> int:
        now_ns = now_fs // _FS_PER_NS
        self._end_ns = max(self._end_ns, now_ns)
        return now_ns

    def _count(self, now_fs: int, place: str, name: str, unit: str, level: float) -> None:
        if self._levels.get((place, name, unit)) != level:
            self._see(place)
            self._levels[place, name, unit] = level
            self._counters.append((now_fs // _FS_PER_NS, place, name, unit, level))

    def _slices(self) -> Iterator[Event]:
        """Those of a thread after those of another."""
        ended = {name: played for name, played in self._played.items() if played.end_ns is not None}
        ends = arrows(ended)
        for thread, tid in self._threads.items():
            pid = self._places[thread[0]]
            nodes = [played for played in ended.values() if (played.task.place, played.task.stream) == thread]
            for each in (*in_layers(nodes), *(kernel.slice for kernel in self._alone.get(thread, ()))):
                yield from each.events(pid, tid, ends)

    def _metadata(self) -> list[Event]:
        told = []
        for place, pid in self._places.items():
            name = self._about["machine"] if len(self._places) == 1 else place
            told += [label("process_name", {"name": name}, pid), label("process_sort_index", {"sort_index": pid}, pid)]
        for (place, stream), tid in self._threads.items():
            pid = self._places[place]
            told.append(label("thread_name", {"name": f"stream {stream}"}, pid, tid))
            told.append(label("thread_sort_index", {"sort_index": stream}, pid, tid))
        return told
