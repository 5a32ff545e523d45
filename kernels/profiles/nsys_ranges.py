"""NVTX ranges of an nsys export that tell an operator, and which of them a launch was made in."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simexplore.kernels.profiles.labels import says_operator
from simexplore.kernels.profiles.nsys_tables import Export, Ints, quoted

TABLES = re.compile(r"NVTX_EVENTS(_V\d+)?")
"""Newer exports number the table: NVTX_EVENTS_V2, NVTX_EVENTS_V3."""
PUSH_POP = 59
"""eventType of a range of one thread; without an end it was open when the profile ended."""
NO_RANGE = -1
FAR = 1 << 62
"""Times beyond are none; differences of those before fit 64 bits."""
_AT_ONCE = 100_000


@dataclass(frozen=True)
class Ranges:
    """Ranges as arrays of shape (ranges,), their labels numbered."""

    start: Ints
    end: Ints
    thread: Ints
    label: Ints
    labels: tuple[str, ...]


def ranges_in(export: Export, texts: dict[int, str]) -> Ranges:
    """All ranges that tell an operator. `texts` are the strings that do, by id, which ranges may name by `textId`."""
    found: Mapping[str, array[int]] = {name: array("q") for name in ("start", "end", "thread", "label")}
    numbers: dict[str, int] = {}
    for table in sorted(name for name in export.tables if TABLES.fullmatch(name)):
        for start, end, thread, text in _told(export, table, texts):
            row = (start, end, thread, numbers.setdefault(text, len(numbers)))
            for column, value in zip(found.values(), row, strict=True):
                column.append(value)
    columns = {name: np.frombuffer(column, dtype=np.int64) for name, column in found.items()}
    return Ranges(**columns, labels=tuple(numbers))


def _told(export: Export, table: str, texts: dict[int, str]) -> Iterator[tuple[int, int, int, str]]:
    """Start, end, thread and label of the ranges of a table."""
    have = export.columns(table)
    if not {"start", "end", "globalTid"} <= have:
        return
    names = ("start", "end", "globalTid", "eventType", "text", "textId")
    cells = ", ".join(quoted(name) if name in have else "NULL" for name in names)
    for start, end, thread, kind, text, number in export.rows(f"SELECT {cells} FROM {quoted(table)}"):
        label = text if isinstance(text, str) else texts.get(number) if isinstance(number, int) else None
        if label is None or not says_operator(label) or not isinstance(start, int) or not isinstance(thread, int):
            continue
        if end is None and kind == PUSH_POP:
            end = FAR
        if isinstance(end, int) and -FAR < start <= end <= FAR:
            yield start, end, thread, label


def innermost(ranges: Ranges, threads: Ints, times: Ints) -> Ints:
    """For each moment on a thread, the range that began last and has not ended; `NO_RANGE` where there is none.

    One pass in the order of time for each thread: a range that has ended is looked at once more and never again.
    """
    inside = np.full(len(times), NO_RANGE, dtype=np.int64)
    begun = _listed(np.lexsort((-ranges.end, ranges.start, ranges.thread)), ranges.thread, ranges.start, ranges.end)
    following = next(begun, None)
    stack: list[tuple[int, int]] = []
    current: int | None = None
    for moment, thread, now in _listed(np.lexsort((times, threads)), threads, times):
        if thread != current:
            current = thread
            stack.clear()
        while following is not None and following[1:3] <= (thread, now):
            number, owner, start, end = following
            if owner == thread:
                _drop_ended(stack, start)
                stack.append((end, number))
            following = next(begun, None)
        _drop_ended(stack, now)
        if stack:
            inside[moment] = stack[-1][1]
    return inside


def _drop_ended(stack: list[tuple[int, int]], now: int) -> None:
    while stack and stack[-1][0] < now:
        stack.pop()


def _listed(order: npt.NDArray[np.intp], *columns: Ints) -> Iterator[tuple[int, ...]]:
    """Rows in an order, as Python's integers, which a whole column at once would take too much memory for."""
    for start in range(0, len(order), _AT_ONCE):
        part = order[start : start + _AT_ONCE]
        yield from zip(part.tolist(), *(column[part].tolist() for column in columns), strict=True)
