"""The answer of a sweep: what to build beside today's machine, what it gains, and what one more change buys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from simexplore.sim.explore.pareto import losses
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column, Direction, FloatArray
from simexplore.sim.explore.verdict.apart import Losses, different, on_front
from simexplore.sim.explore.verdict.asides import TODAY, at_work
from simexplore.sim.explore.verdict.basis import KEY, Basis, Compared, compared
from simexplore.sim.explore.verdict.conflict import conflict
from simexplore.sim.explore.verdict.designs import Named
from simexplore.sim.explore.verdict.steps import Step, steps_of

Value = float | str


@dataclass(frozen=True)
class Design:
    """A point that stands for others, or today's machine."""

    point: int
    """Its number; `TODAY` of today's machine."""
    why: str
    """What it is named for."""
    axes: Mapping[str, Value]
    """Values of the machine's axes, SI."""
    values: Mapping[str, float]
    """Its objectives, SI."""
    ratios: Mapping[str, float]
    """Its objectives over today's."""
    alike: tuple[str, ...]
    """Objectives that the intervals can't tell from today's."""
    steps: tuple[Step, ...]
    """One change along each axis."""


@dataclass(frozen=True)
class Verdict:
    """What a sweep answers. `silent` says why where it does not."""

    machine: str
    work: Mapping[str, Value]
    """Values of the axes that change the work, all that follows is at."""
    objectives: Mapping[str, Direction]
    today: Design | None
    designs: tuple[Design, ...]
    pairs: tuple[tuple[int, int, tuple[str, ...]], ...]
    """Two designs, and the objectives in which the intervals can't tell them apart."""
    front: int
    """Points on the front."""
    distinct: int
    """Those of them that are left when points are merged that the intervals can't tell apart."""
    chart: tuple[str, str, float] | None
    """The two objectives that conflict most, and the rank correlation of their losses."""
    silent: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys; figures in SI units."""
        return {
            "machine": self.machine,
            "work": dict(self.work),
            "objectives": dict(self.objectives),
            "today": None if self.today is None else _plain(self.today),
            "designs": [_plain(design) for design in self.designs],
            "not_told_apart": [{"points": [a, b], "objectives": list(names)} for a, b, names in self.pairs],
            "front": self.front,
            "distinct": self.distinct,
            "conflict": self.chart and {"objectives": list(self.chart[:2]), "rank_correlation": self.chart[2]},
            "silent": self.silent,
        }


def _plain(design: Design) -> dict[str, Any]:
    told = {"point": design.point, "why": design.why, "axes": dict(design.axes), "values": dict(design.values)}
    if design.point == TODAY:
        told["point"] = None
    relative = {"ratios": dict(design.ratios), "like_today": list(design.alike)}
    return {**told, **relative, "steps": [step.to_json() for step in design.steps]}


def verdict_of(store: Store) -> Verdict:
    """The verdict on a sweep that has ended; where there is none, why."""
    machine = str(store.metadata["arch"]["name"])
    objectives = {column.name: column.direction or "min" for column in store.objectives}
    chart = _chart(store, objectives)

    def without(reason: str) -> Verdict:
        return Verdict(machine, {}, objectives, None, (), (), 0, 0, chart, reason)

    kept = store.kept(KEY)
    if kept is None:
        return without("the sweep has no end yet, was made for its table alone, or changes no machine")
    basis = Basis.from_json(kept)
    if basis.today.error:
        return without(f"{machine} as it is can't be compared: {basis.today.error}")
    points = at_work(store.results(), basis.work)
    found = compared(points, objectives, basis.doubt, basis.today)
    if not found.objectives:
        return without("no objective is above zero everywhere, so there are no shares to compare")
    axes = [column for column in store.columns if column.role in ("axis", "derived") and column.name not in basis.work]
    front = on_front(found.points.take(np.arange(len(points))))
    designs = tuple(
        _design(found, named, int(points["point"][named.row]), points.iloc[named.row].to_dict(), axes, basis)
        for named in found.designs
    )
    today = _design(found, Named(len(points), "today"), TODAY, basis.today.values, axes, basis)
    return Verdict(
        machine=machine,
        work=_words(basis.work, store.columns),
        objectives=found.objectives,
        today=today,
        designs=designs,
        pairs=tuple(_alike(found, designs)),
        front=len(front),
        distinct=len(different(found.points.take(front))),
        chart=chart,
    )


def _design(
    found: Compared, named: Named, point: int, values: Mapping[Any, Any], axes: Sequence[Column], basis: Basis
) -> Design:
    names, last = list(found.objectives), len(found.points.log) - 1
    told = found.points.better(named.row)[last] | found.points.worse(named.row)[last]
    today = basis.today.values
    why = named.why if named.objective is None else f"{named.why} {names[named.objective]}"
    return Design(
        point=point,
        why=why,
        axes={column.name: _value(values[column.name]) for column in axes},
        values={name: float(values[name]) for name in names},
        ratios={name: float(values[name]) / float(today[name]) for name in names},
        alike=tuple(name for name, apart in zip(names, told, strict=True) if not apart and point != TODAY),
        steps=steps_of(basis.changes, point, found.objectives, basis.doubt),
    )


def _value(value: Any) -> Value:
    return str(value) if isinstance(value, str) else float(value)


def _words(work: Mapping[str, float], columns: Sequence[Column]) -> dict[str, Value]:
    known = {column.name: column for column in columns}
    return {path: known[path].words[int(value)] if known[path].words else value for path, value in work.items()}


def _alike(found: Compared, designs: Sequence[Design]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Pairs of designs with the objectives that do not tell them apart."""
    names = list(found.objectives)
    for (named, design), (other, another) in combinations(zip(found.designs, designs, strict=True), 2):
        told = found.points.better(named.row)[other.row] | found.points.worse(named.row)[other.row]
        alike = tuple(name for name, apart in zip(names, told, strict=True) if not apart)
        if alike:
            yield design.point, another.point, alike


def _chart(store: Store, objectives: Mapping[str, Direction]) -> tuple[str, str, float] | None:
    """The pair of objectives that conflict most on the front; None where there is one only."""
    if len(objectives) < 2:
        return None
    table = store.results()
    values = losses(table[table["feasible"]], objectives)
    if not len(values):
        return None
    names = list(objectives)
    a, b, how_much = conflict(_of_front(values))
    return names[a], names[b], how_much


def _of_front(values: FloatArray) -> FloatArray:
    return values[on_front(Losses(values, np.zeros_like(values)))]
