"""The same work on several machines: ratios, and which differences are larger than what the predictions leave open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simexplore.sim.estimate.op_run import OpRun, energy_interval, time_interval


class Result(Protocol):
    """What a run and an estimate have in common."""

    @property
    def time_s(self) -> float:
        """Of the whole [s]."""

    @property
    def energy_j(self) -> float:
        """Of the whole [J]."""

    @property
    def mean_power_w(self) -> float:
        """Energy over time [W]."""

    @property
    def ops(self) -> tuple[OpRun, ...]:
        """Its operators."""


@dataclass(frozen=True)
class Amount:
    """A predicted figure with its 80 % interval, beside the first machine's."""

    value: float
    low: float
    high: float
    ratio: float
    """Over the first machine's."""
    differs: bool
    """Whether the intervals of both do not meet."""


@dataclass(frozen=True)
class Beside:
    """One machine beside the first."""

    machine: str
    time_s: Amount
    energy_j: Amount
    mean_power_w: float
    kinds_s: Mapping[str, float]
    """Time of its operators by family [s]."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units."""
        time_s, energy_j = self.time_s, self.energy_j
        return {
            "machine": self.machine,
            "time_s": time_s.value,
            "time_low_s": time_s.low,
            "time_high_s": time_s.high,
            "time_ratio": time_s.ratio,
            "time_differs": time_s.differs,
            "energy_j": energy_j.value,
            "energy_low_j": energy_j.low,
            "energy_high_j": energy_j.high,
            "energy_ratio": energy_j.ratio,
            "energy_differs": energy_j.differs,
            "mean_power_w": self.mean_power_w,
            "by_kind_s": dict(self.kinds_s),
        }


def beside(results: Sequence[tuple[str, Result]]) -> list[Beside]:
    """Each machine, by its name and result, beside the first of them."""
    (_, first), *_ = results
    return [
        Beside(
            machine=name,
            time_s=_amount(result.time_s, _time(result), first.time_s, _time(first)),
            energy_j=_amount(result.energy_j, _energy(result), first.energy_j, _energy(first)),
            mean_power_w=result.mean_power_w,
            kinds_s=_kinds(result.ops),
        )
        for name, result in results
    ]


def _time(result: Result) -> tuple[float, float]:
    return time_interval(result.time_s, result.ops)


def _energy(result: Result) -> tuple[float, float]:
    return energy_interval(result.energy_j, result.time_s, result.ops)


def _amount(value: float, ends: tuple[float, float], first: float, its_ends: tuple[float, float]) -> Amount:
    ratio = value / first if first > 0.0 else 1.0
    return Amount(value, *ends, ratio, differs=ends[0] > its_ends[1] or ends[1] < its_ends[0])


def _kinds(ops: Sequence[OpRun]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for op in ops:
        sums[op.op.partition("(")[0]] += op.time_s
    return dict(sums)
