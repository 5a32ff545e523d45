"""Nsight Compute: the CSV of `ncu --csv`, both `--page raw` (a row a kernel) and `--page details` (a row a metric).

A kernel's shapes are only known where a column names its NVTX range (`--nvtx`) or the kernel was renamed after it
(`--print-nvtx-rename kernel`). Format: NVIDIA Nsight Compute CLI, section on printing and CSV output.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.labels import NO_SHAPES, operator_in, says_operator
from simexplore.kernels.profiles.tally import Tally
from simexplore.kernels.profiles.torch_calls import UnmatchedError

TIMES = ("gpu__time_duration.sum", "gpu__time_duration.avg", "Duration")
"""Names of the metric that is a kernel's time."""
_US = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3, "s": 1e6, "second": 1e6}

Cells = dict[str, str]


@dataclass(frozen=True)
class _Kernel:
    name: str
    time_us: float
    labels: tuple[str, ...]
    """Every text of its row that may name its range."""
    device: str


def read(path: Path, tally: Tally) -> None:
    """Add what a CSV holds. Raises SimexploreError where the file is none of ncu's, or has no times."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SimexploreError(f"{path}: expected CSV of ncu in UTF-8, found: {error}") from None
    header = next((number for number, line in enumerate(lines) if line.startswith('"ID"')), None)
    if header is None:
        raise SimexploreError(f'{path}: expected a line that begins with "ID", found none: run ncu with --csv')
    rows = [dict(row) for row in csv.DictReader(lines[header:])]
    if not rows or "Kernel Name" not in rows[0]:
        raise SimexploreError(f"{path}: expected rows with a Kernel Name below the header, found none")
    kernels = _details(rows) if "Metric Name" in rows[0] else _raw(path, rows)
    _add(path, kernels, tally)


def _raw(path: Path, rows: list[Cells]) -> Iterator[_Kernel]:
    """A row a kernel; the first row has the units."""
    time = next((name for name in TIMES if name in rows[0]), None)
    if time is None:
        raise SimexploreError(f"{path}: expected a column {TIMES[0]}: run ncu with --metrics {TIMES[0]} or --set basic")
    units, kernels = rows[0], rows[1:]
    for row in kernels:
        yield _kernel(row, _microseconds(path, row[time], units[time]))


def _details(rows: list[Cells]) -> Iterator[_Kernel]:
    """A row a metric: that of the time, once for each kernel."""
    seen: set[str] = set()
    for row in rows:
        if row["Metric Name"] in TIMES and row["ID"] not in seen:
            seen.add(row["ID"])
            yield _kernel(row, _microseconds(Path(row["ID"]), row["Metric Value"], row["Metric Unit"]))


def _microseconds(path: Path, value: str, unit: str) -> float:
    """A time in µs; thousands may be grouped."""
    scale = _US.get(unit)
    try:
        number = float(value.replace(",", ""))
    except ValueError:
        number = -1.0
    if scale is None or number < 0.0:
        raise SimexploreError(f"{path}: expected a time such as 12.3 usecond, found {value!r} {unit!r}")
    return number * scale


def _kernel(row: Cells, time_us: float) -> _Kernel:
    labels = tuple(cell for cell in row.values() if isinstance(cell, str) and says_operator(cell))
    return _Kernel(row["Kernel Name"], time_us, labels, _device(row))


def _device(row: Cells) -> str:
    """ncu numbers devices; their names are a metric that is not always collected."""
    name = row.get("device__attribute_display_name") or row.get("Device Name")
    return name or f"GPU {row.get('Device', '0')} (cc {row.get('CC', '?')})"


def _add(path: Path, kernels: Iterable[_Kernel], tally: Tally) -> None:
    count = 0
    for kernel in kernels:
        count += 1
        if not kernel.labels:
            tally.miss(kernel.name, NO_SHAPES, kernel.time_us)
            continue
        try:
            operator = operator_in(kernel.labels[-1], kernel.name)
        except UnmatchedError as error:
            tally.miss(kernel.name, str(error), kernel.time_us)
        else:
            tally.match(operator, kernel.time_us, kernel.name, kernel.device)
    if count == 0:
        raise SimexploreError(f"{path}: expected the metric {TIMES[0]} or Duration, found neither")
