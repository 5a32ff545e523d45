"""What an import has found so far: times by operator, and what could not be matched by name and reason."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import TIME
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import parameters_of

NO_TIME = "its time is no number above 0"
OTHERS = "other kernels"
"""Stands for names beyond `MOST_NAMES`."""
MOST_NAMES = 10_000
"""Unmatched names and reasons that are kept apart: a profile may rename each launch."""
MOST_OPERATORS = 200_000
"""Distinct operators of one profile; more would not fit the memory of a small machine."""
_LONGEST_NAME = 300


@dataclass(frozen=True)
class Unmatched:
    """Kernels of one name that became no row."""

    name: str
    reason: str
    calls: int
    time_us: float
    """Of all of them together."""


@dataclass(frozen=True)
class Imported:
    """A profile as measurements."""

    frame: pd.DataFrame
    """One row for each distinct operator: columns of measurements, `time_us` the median, and `calls`."""
    unmatched: tuple[Unmatched, ...]
    """Longest time first."""

    @property
    def matched_us(self) -> float:
        """Time of everything that became a row."""
        return float((self.frame["mean_us"] * self.frame["calls"]).sum()) if len(self.frame) else 0.0

    @property
    def unmatched_us(self) -> float:
        """Time of everything that did not."""
        return sum(one.time_us for one in self.unmatched)

    @property
    def matched_share(self) -> float:
        """Share of the profile's time that became rows."""
        total = self.matched_us + self.unmatched_us
        return self.matched_us / total if total else 0.0


class Tally:
    """Collects calls; readers add to it."""

    def __init__(self, source: str, device: str | None = None) -> None:
        self.source = source
        self.device = device
        """Name that the user gave; readers' own names count only where there is none."""
        self.taken: Mapping[str, str] = {}
        """How the profiler ran kernels: the columns `launch`, `clocks` and `caches` of all rows."""
        self._times: dict[tuple[str, Operator], array[float]] = {}
        self._kernels: dict[tuple[str, Operator], str] = {}
        self._unmatched: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])

    def match(self, operator: Operator, time_us: float, kernel: str, device: str) -> None:
        """One call of an operator that took so long on a device.

        Raises SimexploreError where there are more distinct operators than `MOST_OPERATORS`.
        """
        if not (isfinite(time_us) and time_us > 0.0):
            self.miss(kernel, NO_TIME, 0.0)
            return
        key = (self.device or plain(device), operator)
        times = self._times.get(key)
        if times is None:
            if len(self._times) >= MOST_OPERATORS:
                raise SimexploreError(
                    f"expected at most {MOST_OPERATORS} distinct operators in one profile, found more"
                )
            times = self._times[key] = array("d")
            self._kernels[key] = plain(kernel)
        times.append(time_us)

    def miss(self, name: str, reason: str, time_us: float, calls: int = 1) -> None:
        """A kernel, or an operator, that becomes no row."""
        key = (plain(name), plain(reason))
        if len(self._unmatched) >= MOST_NAMES and key not in self._unmatched:
            key = (OTHERS, f"more than {MOST_NAMES} names")
        count = self._unmatched[key]
        count[0] += calls
        count[1] += time_us if isfinite(time_us) and time_us > 0.0 else 0.0

    def imported(self) -> Imported:
        """Everything that was added."""
        rows = [self._row(*key, times) for key, times in self._times.items()]
        unmatched = [
            Unmatched(name, reason, int(calls), time_us) for (name, reason), (calls, time_us) in self._unmatched.items()
        ]
        frame = pd.DataFrame(rows).astype(_whole(self._times))  # whole beside empty cells
        return Imported(frame, tuple(sorted(unmatched, key=lambda one: -one.time_us)))

    def _row(self, device: str, operator: Operator, times: array[float]) -> Mapping[str, Any]:
        given = {name: getattr(operator, name) for name in parameters_of(operator)}
        return {
            "source": self.source,
            "device": device,
            "op": operator.op,
            "dtype": given.pop("dtype"),
            **{name: value for name, value in given.items() if value is not None},
            TIME: float(np.median(times)),
            "mean_us": sum(times) / len(times),
            "calls": len(times),
            **self.taken,
            "kernel": self._kernels[(device, operator)],
        }


def plain(text: str) -> str:
    """A profile's text as a cell may hold it: one short line, nothing that a terminal or a spreadsheet obeys."""
    shown = text[:_LONGEST_NAME]
    if not shown.isprintable():
        shown = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def _whole(operators: Iterable[tuple[str, Operator]]) -> dict[str, str]:
    """Columns of counts, as pandas' integers that may be missing."""
    known = (parameters_of(operator) for _, operator in operators)
    return {name: "Int64" for family in known for name, (_, parameter) in family.items() if parameter.kind == "count"}
