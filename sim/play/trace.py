"""A run as a Chrome trace, which chrome://tracing and ui.perfetto.dev open.

The format is the Trace Event Format of the Chromium project, JSON object form. One process per GPU; in it one thread
per stream with a slice per kernel, and counters of shared resources, memory, and the power and clock of each board.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simexplore.sim.play.flows import IDLE, POWER
from simexplore.sim.play.probes import Activity, BoardState, Probe

Event = dict[str, Any]

_FS_PER_NS = 10**6
_PROCESS = 1  # 0 is the idle process to Perfetto
_FIRST_THREAD = 100  # apart from process numbers, which Perfetto takes for a process's main thread


class Trace(Probe):
    """Records kernels by stream, and the levels of shared resources, SM slots, memory, power and clocks.

    `power` is all that a board draws, idle included [W], and `clock` that of its SMs [MHz]; boards of other GPUs than
    the first begin with their name, `b.power`. The area under all powers is the energy of the run.

    Times are cut to whole nanoseconds, which is what viewers keep: so slices that follow each other never overlap.
    """

    def __init__(self, machine: str) -> None:
        """An empty trace of a run on the machine of this name."""
        self._machine = machine
        self._begun: dict[Activity, int] = {}
        self._slices: list[Event] = []
        self._counters: list[Event] = []
        self._levels: dict[tuple[str, str], float] = {}
        self._streams: set[int] = set()
        self._end_ns = 0

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        self._begun[activity] = now_fs // _FS_PER_NS
        self._streams.add(activity.stream)

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        start_ns = self._begun.pop(activity)
        self._end_ns = max(self._end_ns, now_fs // _FS_PER_NS)
        self._slices.append(
            {
                "ph": "X",
                "pid": _PROCESS,
                "tid": _FIRST_THREAD + activity.stream,
                "ts": _microseconds(start_ns),
                "dur": _microseconds(now_fs // _FS_PER_NS - start_ns),
                "name": activity.node,
                "cat": "kernel",
                "args": {"kernel": activity.kernel, **activity.details},
            }
        )

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        for name, load in loads.items():
            if name not in (POWER, IDLE):
                # Sums of rounded shares may pass 1 by some 1e-16.
                self._count(now_fs, name, "share", min(load, 1.0))

    def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
        for prefix, board in boards.items():
            self._count(now_fs, f"{prefix}power", "W", board.power_w)
            if board.clock_hz is not None:
                self._count(now_fs, f"{prefix}clock", "MHz", board.clock_hz / 1e6)

    def on_sms(self, now_fs: int, held_share: float) -> None:
        self._count(now_fs, "sm", "share", held_share)

    def on_memory(self, now_fs: int, held_bytes: float) -> None:
        self._end_ns = max(self._end_ns, now_fs // _FS_PER_NS)  # told when a node ends, which may be after its kernels
        self._count(now_fs, "memory", "bytes", held_bytes)

    def to_json(self) -> dict[str, Any]:
        """The trace as plain data: metadata first, then events in the order of their time."""
        closing = [self._counter(self._end_ns, *series, 0.0) for series, level in self._levels.items() if level != 0.0]
        timed = sorted([*self._slices, *self._counters, *closing], key=lambda event: event["ts"])
        return {
            "displayTimeUnit": "ns",
            "otherData": {"machine": self._machine},
            "traceEvents": [*self._metadata(), *timed],
        }

    def write(self, path: Path) -> None:
        """Write the trace to a file."""
        path.write_text(json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False), encoding="utf-8")

    def _count(self, now_fs: int, name: str, unit: str, level: float) -> None:
        if self._levels.get((name, unit)) != level:
            self._levels[name, unit] = level
            self._counters.append(self._counter(now_fs // _FS_PER_NS, name, unit, level))

    def _counter(self, now_ns: int, name: str, unit: str, level: float) -> Event:
        return {"ph": "C", "pid": _PROCESS, "ts": _microseconds(now_ns), "name": name, "args": {unit: level}}

    def _metadata(self) -> list[Event]:
        process = _label("process_name", {"name": self._machine})
        threads = [
            event
            for stream in sorted(self._streams)
            for event in (
                _label("thread_name", {"name": f"stream {stream}"}, _FIRST_THREAD + stream),
                _label("thread_sort_index", {"sort_index": stream}, _FIRST_THREAD + stream),
            )
        ]
        return [process, *threads]


def _label(name: str, args: dict[str, Any], thread: int | None = None) -> Event:
    where = {"pid": _PROCESS} if thread is None else {"pid": _PROCESS, "tid": thread}
    return {"ph": "M", **where, "name": name, "args": args}


def _microseconds(time_ns: int) -> float:
    return time_ns / 1000
