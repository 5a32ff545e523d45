"""Nsight Systems: the SQLite file of `nsys export --type sqlite`.

Kernels are in CUPTI_ACTIVITY_KIND_KERNEL with ids of their names in StringIds; a kernel's launch is the row of
CUPTI_ACTIVITY_KIND_RUNTIME with its correlationId, and the NVTX ranges around the launch on its thread tell what was
computed. Format: NVIDIA Nsight Systems User Guide, SQLite export schema reference.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.labels import NO_SHAPES, operator_in, says_operator
from simexplore.kernels.profiles.tally import Tally
from simexplore.kernels.profiles.torch_calls import UnmatchedError

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
LAUNCHES = "CUPTI_ACTIVITY_KIND_RUNTIME"
RANGES = "NVTX_EVENTS"
PROCESS = ~0xFFFFFF
"""Bits of a globalTid that are the process's: a kernel has them as globalPid."""


@dataclass(frozen=True)
class _Kernel:
    start: int
    time_us: float
    name: str
    device: str
    launch: tuple[int, int] | None
    """Thread and time of its launch [ns]."""


@dataclass(frozen=True)
class _Range:
    start: int
    end: int
    label: str


def read(path: Path, tally: Tally) -> None:
    """Add what an export holds. Raises SimexploreError where the file is no such export."""
    try:
        with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            tables = {row["name"] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if KERNELS not in tables or "StringIds" not in tables:
                raise SimexploreError(
                    f"{path}: expected tables {KERNELS} and StringIds, found {', '.join(sorted(tables)) or 'none'}: "
                    "profile with --trace=cuda,nvtx and export with nsys export --type sqlite"
                )
            kernels = _kernels(database, tables)
            ranges = _ranges(database) if RANGES in tables else {}
    except sqlite3.Error as error:
        raise SimexploreError(f"{path}: expected an SQLite export of Nsight Systems, found: {error}") from None
    _add(kernels, ranges, tally)


def _kernels(database: sqlite3.Connection, tables: set[str]) -> list[_Kernel]:
    names = {row["id"]: row["value"] for row in database.execute("SELECT id, value FROM StringIds")}
    gpus: dict[int, str] = {}
    if "TARGET_INFO_GPU" in tables:
        gpus = {row["id"]: row["name"] for row in database.execute("SELECT id, name FROM TARGET_INFO_GPU")}
    launches = _launches(database) if LAUNCHES in tables else {}
    found = []
    for row in database.execute(f"SELECT * FROM {KERNELS} ORDER BY start"):
        fields = dict(row)
        process = fields.get("globalPid")
        found.append(
            _Kernel(
                start=row["start"],
                time_us=(row["end"] - row["start"]) / 1e3,
                name=str(names.get(row["demangledName"], names.get(row["shortName"], "unnamed kernel"))),
                device=gpus.get(row["deviceId"], f"GPU {row['deviceId']}"),
                launch=launches.get((process, row["correlationId"]), launches.get((None, row["correlationId"]))),
            )
        )
    return found


def _launches(database: sqlite3.Connection) -> dict[tuple[Any, int], tuple[int, int]]:
    """(process, correlation) → thread and time; also by correlation alone, for exports without processes."""
    found: dict[tuple[Any, int], tuple[int, int]] = {}
    for row in database.execute(f"SELECT start, globalTid, correlationId FROM {LAUNCHES}"):
        where = (row["globalTid"], row["start"])
        found[(row["globalTid"] & PROCESS, row["correlationId"])] = where
        found.setdefault((None, row["correlationId"]), where)
    return found


def _ranges(database: sqlite3.Connection) -> dict[int, list[_Range]]:
    """Ranges that name an operator, by thread, in the order of their start."""
    columns = {row["name"] for row in database.execute(f"PRAGMA table_info({RANGES})")}
    text = "COALESCE(n.text, s.value)" if "textId" in columns else "n.text"
    join = "LEFT JOIN StringIds s ON s.id = n.textId" if "textId" in columns else ""
    by_thread: dict[int, list[_Range]] = defaultdict(list)
    query = f"SELECT n.start, n.end, n.globalTid, {text} AS label FROM {RANGES} n {join} ORDER BY n.start"
    for row in database.execute(query):
        if row["end"] is not None and row["label"] is not None and says_operator(row["label"]):
            by_thread[row["globalTid"]].append(_Range(row["start"], row["end"], row["label"]))
    return by_thread


def _innermost(ranges: list[_Range], time: int) -> _Range | None:
    """The range of a thread that began last before `time` and has not ended."""
    before = ranges[: bisect_right(ranges, time, key=lambda one: one.start)]
    return next((one for one in reversed(before) if one.end >= time), None)


def _add(kernels: Iterable[_Kernel], ranges: dict[int, list[_Range]], tally: Tally) -> None:
    """Kernels of one range are one call."""
    calls: dict[_Range, list[_Kernel]] = defaultdict(list)
    for kernel in kernels:
        around = _innermost(ranges.get(kernel.launch[0], []), kernel.launch[1]) if kernel.launch else None
        if around is None:
            tally.miss(kernel.name, NO_SHAPES, kernel.time_us)
        else:
            calls[around].append(kernel)
    for around, launched in calls.items():
        longest = max(launched, key=lambda kernel: kernel.time_us)
        try:
            operator = operator_in(around.label, longest.name)
        except UnmatchedError as error:
            for kernel in launched:
                tally.miss(kernel.name, str(error), kernel.time_us)
        else:
            tally.match(operator, sum(kernel.time_us for kernel in launched), longest.name, longest.device)
