"""Nsight Systems: the SQLite file of `nsys export --type sqlite`.

Kernels are in CUPTI_ACTIVITY_KIND_KERNEL with ids of their names in StringIds; a kernel's launch is the row of
CUPTI_ACTIVITY_KIND_RUNTIME with its correlationId, and the NVTX ranges around the launch on its thread tell what was
computed. Copies, fills and whole CUDA graphs have tables of their own: their time is told, and becomes no row.
Format: NVIDIA Nsight Systems User Guide, SQLite export schema reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.labels import NO_SHAPES, operator_in, says_operator
from simexplore.kernels.profiles.nsys_ranges import FAR, NO_RANGE, Ranges, innermost, ranges_in
from simexplore.kernels.profiles.nsys_tables import NONE, Export, Ints, opened
from simexplore.kernels.profiles.tally import NO_TIME, Tally
from simexplore.kernels.profiles.torch_calls import UnmatchedError

TAKEN = {"launch": "profiled"}
"""How nsys takes its times: durations of kernels, clocks and caches left alone."""
KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
LAUNCHES = "CUPTI_ACTIVITY_KIND_RUNTIME"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
COPIES = "CUPTI_ACTIVITY_KIND_MEMCPY"
FILLS = "CUPTI_ACTIVITY_KIND_MEMSET"
STRINGS = "StringIds"
PROCESS = ~0xFFFFFF
"""Bits of a globalTid that are the process's: a kernel has them as globalPid."""
DIRECTIONS = {1: "HtoD", 2: "DtoH", 8: "DtoD", 9: "HtoH", 10: "PtoP"}
"""CUpti_ActivityMemcpyKind."""

GRAPH = (
    "launched by a CUDA graph, which no range is inside of: profile the program without graphs "
    "(enforce_eager, no mode='reduce-overhead')"
)
COPY = "a copy, of which the profile tells no operator"
FILL = "a fill, of which the profile tells no operator"
_OF_GRAPH, _NO_LAUNCH, _SEVERAL, _TOO_LATE = -2, -3, -4, -5
_REASONS = {
    NO_RANGE: NO_SHAPES,
    _OF_GRAPH: GRAPH,
    _NO_LAUNCH: "its launch is not in the profile: profile with --trace=cuda,nvtx from before the first launch",
    _SEVERAL: "several launches have its correlation",
    _TOO_LATE: "it ended before its launch began: the times of the profile are damaged",
}
"""What stands in place of a range's number → why a kernel has none."""


@dataclass(frozen=True)
class _Kernels:
    """Kernels as arrays of shape (kernels,)."""

    end: Ints
    time_ns: Ints
    """0 where it is not told, or not above 0."""
    device: Ints
    correlation: Ints
    process: Ints
    name: Ints
    in_graph: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Texts:
    """Names by id."""

    names: dict[int, str]
    """Of kernels."""
    telling: dict[int, str]
    """Labels of ranges that tell an operator."""
    graph_launches: tuple[int, ...]
    """Names of the driver's calls that launch a CUDA graph."""
    gpus: dict[int, str]

    def name(self, number: int) -> str:
        """Of a kernel."""
        return self.names.get(number, "unnamed kernel")

    def gpu(self, number: int) -> str:
        """Of a device."""
        return self.gpus.get(number, "unknown GPU" if number == NONE else f"GPU {number}")


def read(path: Path, tally: Tally) -> None:
    """Add what an export holds. Raises SimexploreError where the file is no such export, or is damaged."""
    tally.taken = TAKEN
    with opened(path) as export:
        if STRINGS not in export.tables or not {KERNELS, GRAPHS} & export.tables:
            raise SimexploreError(
                f"{path}: expected tables {KERNELS} and {STRINGS}, found {_listed(export.tables)}: "
                "profile with --trace=cuda,nvtx and export with nsys export --type sqlite"
            )
        kernels = _kernels(export)
        texts = _texts(export, kernels)
        ranges = ranges_in(export, texts.telling)
        around = _around(export, kernels, ranges, texts)
        _add_others(export, tally)
    _add_rangeless(kernels, around, texts, tally)
    _add_ranges(kernels, around, ranges, texts, tally)


def _listed(tables: set[str]) -> str:
    names = sorted(tables)
    return (", ".join(names[:12]) or "none") + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _kernels(export: Export) -> _Kernels:
    if KERNELS not in export.tables:
        none = np.empty(0, dtype=np.int64)
        return _Kernels(none, none, none, none, none, none, none.astype(bool))
    missing = {"start", "end", "correlationId"} - export.columns(KERNELS)
    if missing:
        raise SimexploreError(f"{export.path}: expected a column {min(missing)!r} in {KERNELS}, found none")
    fields = ("start", "end", "deviceId", "correlationId", "globalPid", "demangledName", "shortName", "graphNodeId")
    start, end, device, correlation, process, long, short, node = export.integers(KERNELS, fields)
    name = np.where(long == NONE, short, long)
    return _Kernels(end, _durations(start, end), device, correlation, process, name, (node != NONE) & (node != 0))


def _durations(start: Ints, end: Ints) -> Ints:
    """Times of rows [ns], 0 where there is none that a GPU can take."""
    told = (start > -FAR) & (start < end) & (end < FAR)
    return np.where(told, np.where(told, end, 0) - np.where(told, start, 0), 0)


def _texts(export: Export, kernels: _Kernels) -> _Texts:
    named = set(np.unique(kernels.name).tolist())
    names: dict[int, str] = {}
    telling: dict[int, str] = {}
    graphs: list[int] = []
    for number, text in export.texts(STRINGS, "id", "value"):
        if number in named:
            names[number] = text
        if says_operator(text):
            telling[number] = text
        if "GraphLaunch" in text:
            graphs.append(number)
    return _Texts(names, telling, tuple(graphs), dict(export.texts("TARGET_INFO_GPU", "id", "name")))


def _around(export: Export, kernels: _Kernels, ranges: Ranges, texts: _Texts) -> Ints:
    """The number of each kernel's range, or a key of the reasons why it has none."""
    around = np.full(len(kernels.end), _NO_LAUNCH, dtype=np.int64)
    if {"globalTid", "start", "correlationId"} <= export.columns(LAUNCHES):
        thread, time, correlation, name = _complete(
            export.integers(LAUNCHES, ("globalTid", "start", "correlationId", "nameId"))
        )
        inside = innermost(ranges, thread, time)
        inside[np.isin(name, texts.graph_launches)] = _OF_GRAPH
        first, last = _launches_of(kernels, thread & PROCESS, correlation, inside)
        found = first >= 0
        around[found] = np.where(inside[first[found]] == inside[last[found]], inside[first[found]], _SEVERAL)
        late = found & (kernels.time_ns > 0)
        late[late] = kernels.end[late] < time[first[late]]
        around[late & (around != _OF_GRAPH)] = _TOO_LATE
    around[kernels.in_graph] = _OF_GRAPH
    return around


def _complete(launches: Ints) -> Ints:
    """Those with a thread, a time and a correlation."""
    told = np.all(launches[:3] != NONE, axis=0)
    return launches if told.all() else launches[:, told]


def _launches_of(kernels: _Kernels, process: Ints, correlation: Ints, inside: Ints) -> tuple[Ints, Ints]:
    """For each kernel, those of its launches in the range with the least and the greatest number; -1 without any.

    Correlations are numbers of one process. An export that has no processes is taken as of one, if its launches are.
    """
    owner = kernels.process
    if len(process) and process.min() == process.max():
        owner = np.where(owner == NONE, process[0], owner)
    keys = _pair_codes(np.concatenate([process, owner]), np.concatenate([correlation, kernels.correlation]))
    launched, wanted = keys[: len(process)], keys[len(process) :]
    order = np.lexsort((inside, launched))
    ordered = launched[order]
    left, right = np.searchsorted(ordered, wanted, side="left"), np.searchsorted(ordered, wanted, side="right")
    found = (right > left) & (kernels.correlation != NONE)
    none = np.full(len(wanted), -1, dtype=np.int64)
    first, last = none.copy(), none.copy()
    first[found], last[found] = order[left[found]], order[right[found] - 1]
    return first, last


def _pair_codes(first: Ints, second: Ints) -> Ints:
    """A number for each pair, equal where pairs are."""
    kinds, codes = np.unique(second, return_inverse=True)
    return np.unique(first, return_inverse=True)[1].astype(np.int64).ravel() * len(kinds) + codes.ravel()


def _add_others(export: Export, tally: Tally) -> None:
    """Time that is no kernel's: copies by direction, fills, and CUDA graphs that were recorded as a whole."""
    for table, column in ((COPIES, "copyKind"), (FILLS, ""), (GRAPHS, "")):
        if not {"start", "end"} <= export.columns(table):
            continue
        start, end, kind = export.integers(table, ("start", "end", column))
        time_ns = _durations(start, end)
        for direction in np.unique(kind).tolist():
            mine = kind == direction
            name, reason = {
                COPIES: (f"Memcpy {DIRECTIONS.get(direction, 'of another kind')}", COPY),
                FILLS: ("Memset", FILL),
                GRAPHS: ("CUDA graph", GRAPH),
            }[table]
            tally.miss(name, reason, float(time_ns[mine].sum()) / 1e3, int(mine.sum()))


def _add_rangeless(kernels: _Kernels, around: Ints, texts: _Texts, tally: Tally) -> None:
    """Kernels that no range tells of, by name and reason."""
    rows = np.flatnonzero(around < 0)
    pairs, which = np.unique(np.stack([kernels.name[rows], around[rows]]), axis=1, return_inverse=True)
    which = which.ravel()
    counts = np.bincount(which, minlength=pairs.shape[1])
    times = np.bincount(which, weights=kernels.time_ns[rows], minlength=pairs.shape[1])
    for name, reason, count, time_ns in zip(*pairs.tolist(), counts.tolist(), times.tolist(), strict=True):
        tally.miss(texts.name(name), _REASONS[reason], time_ns / 1e3, count)


def _add_ranges(kernels: _Kernels, around: Ints, ranges: Ranges, texts: _Texts, tally: Tally) -> None:
    """Kernels of one range are one call: a row, or each among the unmatched."""
    for rows in _groups(around):
        time_ns, names = kernels.time_ns[rows], kernels.name[rows]
        longest = int(np.argmax(time_ns))
        name = texts.name(int(names[longest]))
        label = ranges.labels[int(ranges.label[around[rows[0]]])]
        try:
            if time_ns.min() <= 0:
                raise UnmatchedError(f"{NO_TIME}, or that of another kernel of the call is none")
            device = kernels.device[rows]
            if device.min() != device.max():
                raise UnmatchedError("kernels of one range on several GPUs")
            operator = operator_in(label, name)
        except UnmatchedError as error:
            for number, time in zip(names.tolist(), time_ns.tolist(), strict=True):
                tally.miss(texts.name(number), str(error), time / 1e3)
        else:
            tally.match(operator, float(time_ns.sum()) / 1e3, name, texts.gpu(int(device[0])))


def _groups(around: Ints) -> Iterator[npt.NDArray[np.intp]]:
    """Rows of each range that has kernels."""
    order = np.argsort(around, kind="stable")
    order = order[np.searchsorted(around[order], 0) :]
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(around[order])) + 1)
