"""What an import has found so far: times by operator, and what could not be matched by name and reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from simexplore.kernels.measurement import TIME
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import parameters_of


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


class Tally:
    """Collects calls; readers add to it."""

    def __init__(self, source: str, device: str | None = None) -> None:
        self.source = source
        self.device = device
        """Name that the user gave; readers' own names count only where there is none."""
        self._times: dict[tuple[str, Operator], list[float]] = defaultdict(list)
        self._kernels: dict[tuple[str, Operator], str] = {}
        self._unmatched: dict[tuple[str, str], list[float]] = defaultdict(list)

    def match(self, operator: Operator, time_us: float, kernel: str, device: str) -> None:
        """One call of an operator that took so long on a device."""
        key = (self.device or device, operator)
        self._times[key].append(time_us)
        self._kernels.setdefault(key, kernel)

    def miss(self, name: str, reason: str, time_us: float) -> None:
        """A kernel, or an operator, that becomes no row."""
        self._unmatched[(name, reason)].append(time_us)

    def imported(self) -> Imported:
        """Everything that was added."""
        rows = [self._row(*key, times) for key, times in self._times.items()]
        unmatched = [
            Unmatched(name, reason, len(times), sum(times)) for (name, reason), times in self._unmatched.items()
        ]
        frame = pd.DataFrame(rows).astype(_whole(self._times))  # whole beside empty cells
        return Imported(frame, tuple(sorted(unmatched, key=lambda one: -one.time_us)))

    def _row(self, device: str, operator: Operator, times: list[float]) -> Mapping[str, Any]:
        given = {name: getattr(operator, name) for name in parameters_of(operator)}
        return {
            "source": self.source,
            "device": device,
            "op": operator.op,
            "dtype": given.pop("dtype"),
            **{name: value for name, value in given.items() if value is not None},
            TIME: median(times),
            "mean_us": sum(times) / len(times),
            "calls": len(times),
            "kernel": self._kernels[(device, operator)],
        }


def _whole(operators: Iterable[tuple[str, Operator]]) -> dict[str, str]:
    """Columns of counts, as pandas' integers that may be missing."""
    known = (parameters_of(operator) for _, operator in operators)
    return {name: "Int64" for family in known for name, (_, parameter) in family.items() if parameter.kind == "count"}
