"""What one change of a machine buys: along each axis, and for each square millimetre, watt and dollar that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from simexplore.sim.explore.table import Direction
from simexplore.sim.explore.verdict.apart import Doubt, losses_of
from simexplore.sim.explore.verdict.asides import Aside, Values

PRICES = ("area_mm2", "power_w", "cost")
"""Columns that say what a change takes."""


@dataclass(frozen=True)
class Step:
    """One change along one axis."""

    axis: str
    before: float | str
    after: float | str
    gains: Mapping[str, float]
    """Of each objective, as a share of what it was; less than 0 where it is worse."""
    takes: Mapping[str, float]
    """How much more of each of `PRICES` it takes, of those that are known."""
    per: Mapping[str, Mapping[str, float]]
    """Gain of each objective for each unit taken, where it is a gain and where it takes anything."""
    alike: tuple[str, ...]
    """Objectives whose change is within the intervals."""
    error: str = ""
    """Why the changed machine has no results."""

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        return {**asdict(self), "alike": list(self.alike)}


def steps_of(changes: Sequence[Aside], of: int, objectives: Mapping[str, Direction], doubt: Doubt) -> tuple[Step, ...]:
    """One change along each axis from one machine, which comes first of its own; none where that was not evaluated."""
    mine = [aside for aside in changes if aside.of == of]
    if not mine or mine[0].error:
        return ()
    return tuple(_step(mine[0].values, aside, objectives, doubt) for aside in mine[1:])


def _step(start: Values, aside: Aside, objectives: Mapping[str, Direction], doubt: Doubt) -> Step:
    before, after = start[aside.axis], aside.values[aside.axis]
    if aside.error:
        return Step(aside.axis, before, after, {}, {}, {}, (), aside.error)
    gains = {name: _gain(float(start[name]), float(aside.values[name]), way) for name, way in objectives.items()}
    prices = [name for name in PRICES if name in start]
    takes = {name: float(aside.values[name]) - float(start[name]) for name in prices}
    return Step(aside.axis, before, after, gains, takes, _per(gains, takes), _alike(start, aside, objectives, doubt))


def _gain(before: float, after: float, way: Direction) -> float:
    """As a share of what it was: less time, or more of what is to be much."""
    return (before - after if way == "min" else after - before) / before


def _per(gains: Mapping[str, float], takes: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {
        name: {price: gain / taken for price, taken in takes.items() if price != name and taken > 0.0}
        for name, gain in gains.items()
        if gain > 0.0
    }


def _alike(start: Values, aside: Aside, objectives: Mapping[str, Direction], doubt: Doubt) -> tuple[str, ...]:
    """Objectives whose change is within the intervals, or too small to count."""
    both = losses_of(pd.DataFrame([start, aside.values]), objectives, doubt)
    told = (both.better(0) | both.worse(0))[1]
    return tuple(name for name, apart in zip(objectives, told, strict=True) if not apart)
