"""Events of a PyTorch trace, checked: calls of operators, launches, and what ran on GPUs.

What an event does not tell, or tells in another form than it should (no duration, a time as text, no arguments), is
None here, so that the rest of the importer has no such cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from simexplore.kernels.profiles.kineto import chrome
from simexplore.kernels.profiles.kineto.collectives import NAME
from simexplore.kernels.profiles.torch_calls import MATCHES, Call, recorded_call

CALLS = ("cpu_op", "operator")
LAUNCHES = ("_runtime", "_driver")
"""Endings of categories of the host's calls of a device's driver: cuda_runtime, cuda_driver, mtia_runtime, …"""
ON_GPU = {
    "kernel": "kernel",
    "gpu_memcpy": "memcpy",
    "memcpy": "memcpy",
    "gpu_memset": "memset",
    "memset": "memset",
}
"""Categories of events that run on the GPU, those of PyTorch 1.8 too."""

Process = int | str | None
Thread = tuple[Process, int | str | None]


@dataclass(slots=True, eq=False)
class Host:
    """A call of an operator on a thread of the host."""

    name: str
    thread: Thread
    start_us: float
    end_us: float | None
    """None: the trace does not tell."""
    call: Call | None
    """What it computed; only of operators that we have."""
    external: int | None
    parent: Host | None = None
    children_us: float = 0.0
    ran: list[Device] = field(default_factory=list)
    """What it launched, its inner calls' kernels left out that are theirs."""


@dataclass(slots=True, eq=False)
class Launch:
    """A call of the driver that started something on a GPU."""

    name: str
    thread: Thread
    start_us: float
    around: Host | None = None
    """The innermost call that it was made in."""


@dataclass(slots=True, eq=False)
class Device:
    """A kernel, copy or fill on a GPU."""

    name: str
    kind: str
    start_us: float | None
    time_us: float | None
    """None where it is not above 0."""
    place: tuple[Process, int | None]
    """The event's process, which stands for the GPU, and the GPU's number."""
    correlation: int | None
    external: int | None
    in_graph: bool
    collective: Mapping[str, Any] | None


@dataclass
class Trace:
    """What is in a trace."""

    calls: list[Host] = field(default_factory=list)
    launches: dict[int, list[Launch]] = field(default_factory=dict)
    """By correlation."""
    on_gpu: list[Device] = field(default_factory=list)
    gpus: dict[int, str] = field(default_factory=dict)
    """Names by number."""
    torn: set[Thread] = field(default_factory=set)
    """Threads of calls that have no place in time."""
    unplaced: dict[str, int] = field(default_factory=dict)
    """Names of those calls, and how many there are."""
    drives_gpu: bool = False
    """Whether the run saw a GPU, whatever was recorded of it."""


def read_trace(path: Path) -> Trace:
    """The events of a file. Raises SimexploreError where it is no Chrome trace."""
    trace = Trace()
    same: dict[Call, Call] = {}
    for name, value in chrome.members(path):
        if name == chrome.EVENTS:
            if isinstance(value, dict) and value.get("ph") == "X":
                _add(trace, value, same)
        elif name == "deviceProperties" and isinstance(value, list):
            trace.drives_gpu = trace.drives_gpu or bool(value)
            trace.gpus.update(_names(value))
    return trace


def _names(devices: list[Any]) -> dict[int, str]:
    told = ((device.get("id"), device.get("name")) for device in devices if isinstance(device, dict))
    return {number: name for number, name in told if type(number) is int and isinstance(name, str) and name}


def _add(trace: Trace, event: Mapping[str, Any], same: dict[Call, Call]) -> None:
    category = str(event.get("cat")).lower()
    given = event.get("args")
    given = given if isinstance(given, dict) else {}
    if category in CALLS:
        _add_call(trace, event, given, same)
    elif category in ON_GPU:
        trace.on_gpu.append(_device(event, given, ON_GPU[category]))
    elif category.endswith(LAUNCHES) or category in ("runtime", "driver"):
        trace.drives_gpu = True
        correlation, start_us = whole(given.get("correlation")), number(event.get("ts"))
        if correlation is not None and start_us is not None:
            launch = Launch(_text(event.get("name")), _thread(event), start_us)
            trace.launches.setdefault(correlation, []).append(launch)


def _add_call(trace: Trace, event: Mapping[str, Any], given: Mapping[str, Any], same: dict[Call, Call]) -> None:
    name, start_us, time_us = _text(event.get("name")), number(event.get("ts")), number(event.get("dur"))
    if start_us is None:
        trace.torn.add(_thread(event))
        trace.unplaced[name] = trace.unplaced.get(name, 0) + 1
        return
    end_us = None if time_us is None or time_us < 0.0 else start_us + time_us
    call = None
    if name in MATCHES:
        told = {key.lower(): value for key, value in given.items()}
        lists = (told.get(key) for key in ("input dims", "input type", "concrete inputs", "input strides"))
        call = recorded_call(name, *lists)
        call = same.setdefault(call, call)
    trace.calls.append(Host(name, _thread(event), start_us, end_us, call, _external(given)))


def _device(event: Mapping[str, Any], given: Mapping[str, Any], kind: str) -> Device:
    time_us = number(event.get("dur"))
    node = whole(given.get("graph node id")) or whole(given.get("graph id"))
    return Device(
        name=_text(event.get("name")),
        kind=kind,
        start_us=number(event.get("ts")),
        time_us=time_us if time_us is not None and time_us > 0.0 else None,
        place=(_thread(event)[0], given["device"] if type(given.get("device")) is int else None),
        correlation=whole(given.get("correlation")),
        external=_external(given),
        in_graph=node is not None,
        collective={key: given.get(key) for key in _OF_COLLECTIVES} if NAME in given else None,
    )


_OF_COLLECTIVES = (NAME, "dtype", "In msg nelems", "Out msg nelems", "Group size")


def _external(given: Mapping[str, Any]) -> int | None:
    return whole(given.get("External id", given.get("external id")))


def _thread(event: Mapping[str, Any]) -> Thread:
    process, thread = (key if isinstance(key, int | str) else None for key in (event.get("pid"), event.get("tid")))
    return process, thread


def _text(value: object) -> str:
    return value if isinstance(value, str) else "unnamed"


def number(value: object) -> float | None:
    """A finite number of JSON as it is; text that spells one is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if isfinite(found) else None


def whole(value: object) -> int | None:
    """An id above 0."""
    return value if type(value) is int and value > 0 else None
