"""Nsight Compute: the CSV of `ncu --csv`, both `--page raw` (a row a kernel) and `--page details` (a row a metric).

A kernel's shapes are only known where a column names its NVTX range (`--nvtx`) or the kernel was renamed after it
(`--print-nvtx-rename kernel`). The file is read twice, row by row: first for how its numbers are written, then for its
kernels. Format: NVIDIA Nsight Compute CLI, section on printing and CSV output.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.decimals import Decimal, Evidence, number_in
from simexplore.kernels.profiles.labels import NO_SHAPES, operator_in, says_operator
from simexplore.kernels.profiles.tally import Tally
from simexplore.kernels.profiles.torch_calls import UnmatchedError

TAKEN = {"launch": "profiled", "clocks": "base", "caches": "flushed"}
"""ncu's defaults: it locks clocks to base (--clock-control base) and flushes all caches before each kernel
(--cache-control all); NVIDIA Nsight Compute CLI, command line options, profile."""
TIMES = ("gpu__time_duration.sum", "gpu__time_duration.avg", "Duration")
"""Names of the metric that is a kernel's time."""
NAME, METRIC, UNIT, VALUE = "Kernel Name", "Metric Name", "Metric Unit", "Metric Value"
LONGEST_LINE = 1 << 24
"""Characters; a hundred thousand columns have fewer."""
NO_ROW = "lines that are no rows"

_US = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "µs": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3}
_US |= {"s": 1e6, "second": 1e6}
_RANGES = re.compile(r"range|nvtx|domain", re.IGNORECASE)
"""Columns that may hold the NVTX ranges around a kernel."""

Cells = list[str]


@dataclass(frozen=True)
class _Header:
    """Where the columns are that matter."""

    width: int
    name: int
    labels: tuple[int, ...]
    """Columns whose text may tell the kernel's range."""
    times: tuple[int, ...]
    """Raw page: the column that is the time."""
    metric: tuple[int, int, int] | None
    """Details page: columns of a metric's name, unit and value."""
    identity: tuple[int, ...]
    """Columns that tell one kernel from the next."""
    device: tuple[int | None, int | None, int | None]
    """Columns of the device's name, number and compute capability."""


def read(path: Path, tally: Tally) -> None:
    """Add what a CSV holds. Raises SimexploreError where the file is none of ncu's, is damaged, or has no times."""
    tally.taken = TAKEN
    try:
        decimal = _decimal(path)
        kernels = sum(_add(path, header, rows, decimal, tally) for header, rows in _tables(path, tally))
    except (OSError, UnicodeError, csv.Error) as error:
        raise SimexploreError(f"{path}: expected CSV of ncu in UTF-8, found: {error}") from None
    if kernels == 0:
        raise SimexploreError(f"{path}: expected kernels with the metric {TIMES[0]} or Duration, found neither")


def _decimal(path: Path) -> Decimal:
    """How the file writes numbers: every value that has a unit is looked at."""
    seen = Evidence()
    for header, rows in _tables(path, None):
        units: Cells | None = None
        for _, cells in rows:
            if header.metric is not None:
                if cells[header.metric[1]]:
                    seen.see(cells[header.metric[2]])
            elif units is None:
                units = cells
            else:
                for unit, cell in zip(units, cells, strict=True):
                    if unit:
                        seen.see(cell)
    decimal = seen.decimal()
    if decimal not in (".", ","):
        raise SimexploreError(
            f"{path}: expected numbers of one locale, found {decimal}: export again with LC_ALL=C ncu --csv …"
        )
    return "," if decimal == "," else "."


def _tables(path: Path, tally: Tally | None) -> Iterator[tuple[_Header, Iterator[tuple[int, Cells]]]]:
    """The header, and the rows below it with their lines; each header of several exports in one file begins anew.

    A tally is told of lines that are no rows: ncu and the program that it profiles print between them.
    """
    with _opened(path) as file:
        rows = _rows(file)
        header = next((_header(path, line, cells) for line, cells in rows if cells[0] == "ID"), None)
        if header is None:
            raise SimexploreError(f'{path}: expected a line that begins with "ID", found none: run ncu with --csv')
        following = [header]
        while following:
            current = following.pop()
            yield current, _below(path, current, rows, following, tally)


def _below(
    path: Path, header: _Header, rows: Iterator[tuple[int, Cells]], following: list[_Header], tally: Tally | None
) -> Iterator[tuple[int, Cells]]:
    for line, cells in rows:
        if cells[0] == "ID":
            following.append(_header(path, line, cells))
            return
        if len(cells) == header.width:
            yield line, cells
        elif cells[0].startswith("==") or len(cells) == 1:
            if tally is not None and not cells[0].startswith("=="):
                tally.miss(NO_ROW, "printed by the program, or cut off", 0.0)
        else:
            raise SimexploreError(
                f"{path}:{line}: expected {header.width} cells as in the header, found {len(cells)}: is it cut off?"
            )


def _opened(path: Path) -> TextIO:
    """The text of a file; PowerShell writes what it redirects in UTF-16."""
    with path.open("rb") as file:
        wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return path.open(encoding="utf-16" if wide else "utf-8-sig", newline="")


def _rows(file: TextIO) -> Iterator[tuple[int, Cells]]:
    reader = csv.reader(_lines(file))
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line of over {LONGEST_LINE >> 20} MiB")
        yield line


def _header(path: Path, line: int, names: Cells) -> _Header:
    at = {name: column for column, name in enumerate(names)}
    if NAME not in at:
        raise SimexploreError(f"{path}:{line}: expected a column {NAME}, found {', '.join(names[:12])}")
    times = tuple(at[name] for name in TIMES if name in at)[:1]
    metric = (at[METRIC], at[UNIT], at[VALUE]) if {METRIC, UNIT, VALUE} <= at.keys() else None
    if metric is None and not times:
        raise SimexploreError(f"{path}: expected a column {TIMES[0]}: run ncu with --metrics {TIMES[0]} or --set basic")
    label_columns = [column for column, name in enumerate(names) if name == NAME or _RANGES.search(name)]
    return _Header(
        width=len(names),
        name=at[NAME],
        labels=tuple(label_columns),
        times=times,
        metric=metric,
        identity=tuple(at[name] for name in ("ID", "Process ID") if name in at),
        device=(at.get("device__attribute_display_name", at.get("Device Name")), at.get("Device"), at.get("CC")),
    )


def _add(path: Path, header: _Header, rows: Iterator[tuple[int, Cells]], decimal: Decimal, tally: Tally) -> int:
    """Add the kernels of one table; how many there were."""
    count = 0
    for line, cells, value, unit in _timed(header, rows):
        count += 1
        number = number_in(value, decimal)
        if number is not None and unit not in _US:
            raise SimexploreError(f"{path}:{line}: expected a time such as 12.3 usecond, found {value!r} {unit!r}")
        _add_kernel(header, cells, 0.0 if number is None else number * _US[unit], tally)  # n/a: ncu could not measure
    return count


def _timed(header: _Header, rows: Iterator[tuple[int, Cells]]) -> Iterator[tuple[int, Cells, str, str]]:
    """Rows that are kernels' times, with value and unit: of a details page one for each kernel."""
    if header.metric is not None:
        last: tuple[str, ...] = ()
        name, unit, value = header.metric
        for line, cells in rows:
            identity = tuple(cells[column] for column in header.identity)
            if cells[name] in TIMES and identity != last:
                last = identity
                yield line, cells, cells[value], cells[unit]
        return
    (time,) = header.times
    units = next(rows, None)  # the first row has the units
    if units is not None:
        yield from ((line, cells, cells[time], units[1][time]) for line, cells in rows)


def _add_kernel(header: _Header, cells: Cells, time_us: float, tally: Tally) -> None:
    name = cells[header.name]
    labels = [cells[column] for column in header.labels if says_operator(cells[column])]
    if not labels:
        tally.miss(name, NO_SHAPES, time_us)
        return
    try:
        operators = {operator_in(label, name) for label in labels}
        if len(operators) > 1:
            raise UnmatchedError("its ranges tell several operators")
    except UnmatchedError as error:
        tally.miss(name, str(error), time_us)
    else:
        tally.match(operators.pop(), time_us, name, _device(header, cells))


def _device(header: _Header, cells: Cells) -> str:
    """ncu numbers devices; their names are a metric that is not always collected."""
    name, number, capability = ("" if column is None else cells[column] for column in header.device)
    return name or f"GPU {number or '0'} (cc {capability or '?'})"
