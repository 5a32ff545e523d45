"""What a workload's result says of each operator, and the interval of the whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, hypot, log
from typing import TYPE_CHECKING, Any

from simexplore.archs import units
from simexplore.archs.units import JOULES, SECONDS, Dimension
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.correction import NORMAL_80, UNCALIBRATED_SIGMA_LOG
from simexplore.sim.hardware.power import COMPONENTS

if TYPE_CHECKING:
    import pandas as pd

UNCALIBRATED_RATIO = exp(NORMAL_80 * UNCALIBRATED_SIGMA_LOG)
"""Upper end of an 80 % interval over the time, where no measurement says more."""

UNCALIBRATED_POWER = 0.35
"""Spread of power where a machine's file says nothing of it."""
SHOWN_IN_TABLES = 20
"""Operators that a notebook shows."""
SHOWN = 3
"""Operators that a result in short names."""


@dataclass(frozen=True)
class OpRun:
    """One node of the graph in a run."""

    name: str
    """The node's name."""
    op: str
    """The operator, as on the command line."""
    start_s: float
    """When its first launch began; of nodes that exchange batches, when the first could be asked for [s]."""
    time_s: float
    """From its first launch to its last store; of nodes that exchange batches, what their own work takes alone [s]."""
    bound: str
    """What bounds it alone: one of `estimate.BOUNDS`."""
    energies_j: Mapping[str, float]
    """Dynamic energy, above idle, by where it goes, names as in `power.COMPONENTS` [J]."""
    kernel: str
    """Its kernels in order, joined by `+`."""
    interval_ratio: float = UNCALIBRATED_RATIO
    """Upper end of the 80 % interval of its time over the time, and the time over the lower end."""
    spread: float = UNCALIBRATED_POWER
    """Standard deviation of the logarithm of measured power about the model's, as of its machine."""
    clock_over_boost: float = 1.0
    """Mean clock of its board meanwhile over the boost clock; less than 1 where the power limit holds it."""

    @property
    def energy_j(self) -> float:
        """Dynamic energy, above idle [J]."""
        return sum(self.energies_j.values())

    @property
    def energy_ratio(self) -> float:
        """Upper end of the 80 % interval of its energy over the energy: power and time err independently."""
        return energy_ratio(self.interval_ratio, self.spread)

    @property
    def time_low_s(self) -> float:
        """Lower end of the 80 % interval of its time [s]."""
        return self.time_s / self.interval_ratio

    @property
    def time_high_s(self) -> float:
        """Upper end of the 80 % interval of its time [s]."""
        return self.time_s * self.interval_ratio

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        told = {key: value for key, value in asdict(self).items() if key not in ("interval_ratio", "spread")}
        low_j, high_j = self.energy_j / self.energy_ratio, self.energy_j * self.energy_ratio
        energy = {"energy_j": self.energy_j, "energy_low_j": low_j, "energy_high_j": high_j}
        return {**told, "time_low_s": self.time_low_s, "time_high_s": self.time_high_s, **energy}


def mean_clock(ops: Iterable[OpRun]) -> float:
    """Mean clock over boost of operators, weighted with their times; 1 where they take none."""
    pairs = [(op.clock_over_boost, op.time_s) for op in ops]
    total_s = sum(time_s for _, time_s in pairs)
    return sum(clock * time_s for clock, time_s in pairs) / total_s if total_s > 0.0 else 1.0


def energy_ratio(time_ratio: float, spread: float) -> float:
    """Upper end of the 80 % interval of an energy over it, by those of a time and of a power that err independently."""
    return exp(hypot(log(time_ratio), NORMAL_80 * spread))


def time_interval(time_s: float, ops: Iterable[OpRun]) -> tuple[float, float]:
    """80 % interval of the time of a whole made of `ops` [s].

    Errors of one family are taken as common to all its operators, so they add up; those of different families as
    independent, so their squares do. Where operators overlap, the whole is as uncertain as their sum.
    """
    below: dict[str, float] = defaultdict(float)
    above: dict[str, float] = defaultdict(float)
    total_s = 0.0
    for op in ops:
        family = op.op.partition("(")[0]
        below[family] += op.time_s - op.time_low_s
        above[family] += op.time_high_s - op.time_s
        total_s += op.time_s
    if total_s <= 0.0:
        return time_s, time_s
    down, up = (hypot(*sums.values()) / total_s for sums in (below, above))
    return time_s * (1.0 - down), time_s * (1.0 + up)


def energy_interval(energy_j: float, time_s: float, ops: Sequence[OpRun]) -> tuple[float, float]:
    """80 % interval of the energy of a whole made of `ops` [J]; the power of all errs alike."""
    _, high_s = time_interval(time_s, ops)
    spread = max((op.spread for op in ops), default=0.0)
    ratio = energy_ratio(high_s / time_s if time_s > 0.0 else 1.0, spread)
    return energy_j / ratio, energy_j * ratio


def spends_of(energies_j: FloatArray) -> dict[str, float]:
    """Energies of shape (len(COMPONENTS),) by name, without what takes none [J]."""
    return {name: float(joules) for name, joules in zip(COMPONENTS, energies_j, strict=True) if joules}


def with_idle(ops: Iterable[OpRun], idle_j: float) -> dict[str, float]:
    """Energy of a whole by where it goes, `idle` for what devices draw beside its operators [J]."""
    sums: dict[str, float] = defaultdict(float)
    for op in ops:
        for name, joules in op.energies_j.items():
            sums[name] += joules
    return {**{name: sums[name] for name in COMPONENTS if name in sums}, "idle": idle_j}


def whole_to_json(time_s: float, energies_j: Mapping[str, float], ops: Sequence[OpRun]) -> dict[str, Any]:
    """Time and energy of a whole with their intervals, as plain data."""
    energy_j = sum(energies_j.values())
    (low_s, high_s), (low_j, high_j) = time_interval(time_s, ops), energy_interval(energy_j, time_s, ops)
    return {
        "time_s": time_s,
        "time_low_s": low_s,
        "time_high_s": high_s,
        "energy_j": energy_j,
        "energy_low_j": low_j,
        "energy_high_j": high_j,
        "energies_j": dict(energies_j),
        "mean_power_w": energy_j / time_s if time_s > 0.0 else 0.0,
        "clock_over_boost": mean_clock(ops),
    }


class Whole:
    """What every result of a workload tells beside its own figures; its operators and its energies are the result's."""

    time_s: float
    energies_j: Mapping[str, float]
    ops: tuple[OpRun, ...]

    @property
    def energy_j(self) -> float:
        """All energy [J]."""
        return sum(self.energies_j.values())

    @property
    def mean_power_w(self) -> float:
        """Energy over time [W]; 0 for empty work."""
        return self.energy_j / self.time_s if self.time_s > 0.0 else 0.0

    @property
    def time_low_s(self) -> float:
        """Lower end of the 80 % interval of the time [s]."""
        return time_interval(self.time_s, self.ops)[0]

    @property
    def time_high_s(self) -> float:
        """Upper end of the 80 % interval of the time [s]."""
        return time_interval(self.time_s, self.ops)[1]

    @property
    def energy_low_j(self) -> float:
        """Lower end of the 80 % interval of the energy [J]."""
        return energy_interval(self.energy_j, self.time_s, self.ops)[0]

    @property
    def energy_high_j(self) -> float:
        """Upper end of the 80 % interval of the energy [J]."""
        return energy_interval(self.energy_j, self.time_s, self.ops)[1]

    @property
    def bounds(self) -> Mapping[str, float]:
        """Share of the operators' time that each resource bounds, the largest first."""
        sums: dict[str, float] = defaultdict(float)
        for op in self.ops:
            sums[op.bound] += op.time_s
        total_s = sum(sums.values()) or 1.0
        return {name: sums[name] / total_s for name in sorted(sums, key=lambda name: -sums[name])}

    @property
    def bound(self) -> str:
        """What bounds most of the operators' time; nothing for empty work."""
        return next(iter(self.bounds), "")

    def to_frame(self) -> pd.DataFrame:
        """A row an operator: the keys of `ops` in `to_json`, an energy a column."""
        import pandas as pd

        rows = []
        for op in self.ops:
            told = op.to_json()
            rows.append({**told, **{f"{name}_j": joules for name, joules in told.pop("energies_j").items()}})
        return pd.DataFrame(rows).drop(columns="energies_j", errors="ignore")

    def _repr_html_(self) -> str:
        """For notebooks: what `repr` has, as a table."""
        whole = [
            ("time", _with_interval(self.time_s, self.time_low_s, self.time_high_s, SECONDS)),
            ("energy", _with_interval(self.energy_j, self.energy_low_j, self.energy_high_j, JOULES)),
        ]
        longest = sorted(self.ops, key=lambda op: -op.time_s)[:SHOWN_IN_TABLES]
        lines = [(op.name, op.op, op.bound, _rounded(op.time_s, SECONDS)) for op in longest]
        left = len(self.ops) - len(longest)
        lines += [(f"and {left} more", "", "", "")] if left else []
        kind = type(self).__name__
        return html_table(kind, ("", ""), whole) + html_table("", ("name", "operator", "bound", "time"), lines)


def html_table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table for notebooks; whatever names hold, they are text."""
    from html import escape  # its table of entities is for notebooks alone

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    head = line(headers, "th") if any(headers) else ""
    return f"<table><caption>{escape(caption)}</caption>{head}{body}</table>"


def _with_interval(value: float, low: float, high: float, dimension: Dimension) -> str:
    low_end, high_end = (_rounded(end, dimension) for end in (low, high))
    return f"{_rounded(value, dimension)} (80 %: {low_end} to {high_end})"


def in_short(kind: str, time_s: float, energy_j: float, ops: Sequence[OpRun], *more: str) -> str:
    """A result in a few lines, whatever the number of its operators: the whole, and those that take longest."""
    low_s, high_s = (_rounded(end, SECONDS) for end in time_interval(time_s, ops))
    whole = [f"{_rounded(time_s, SECONDS)} (80 %: {low_s} to {high_s})", _rounded(energy_j, JOULES), *more]
    lines = [f"<{kind} {', '.join(whole)}; {len(ops)} operators"]
    longest = sorted(ops, key=lambda op: -op.time_s)[:SHOWN]
    lines += [f"  {_rounded(op.time_s, SECONDS)} {op.name}: {op.op}, {op.bound}" for op in longest]
    return "\n".join(lines) + (f"\n  and {len(ops) - SHOWN} more>" if len(ops) > SHOWN else ">")


def _rounded(value: float, dimension: Dimension) -> str:
    """A quantity to four digits."""
    return units.format(float(f"{value:.4g}"), dimension)
