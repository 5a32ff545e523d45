"""Machines that a verdict needs and a sweep has not: today's, and those one change away from it or from a design.

They are evaluated as the sweep's points are, by the same problem with other values of its axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.spec.axes import Axis
from simexplore.sim.explore.spec.made import offered
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.table import Column

TODAY = -1
"""Stands for today's machine where a point's number is asked for."""
PARTS_OF_RANGE = 10
"""A range that is not cut into levels is gone through in so many changes."""
SAME = 1e-9
"""Relative difference of two values of an axis that rounding makes."""
MOST_WORDS = 4
"""Other words of one axis that are tried."""

Setting = Mapping[str, float]
"""Values of axes by path, as the sweep's table stores them; of text the positions in the axis's words."""
Values = Mapping[str, float | str]
"""Of all columns, SI units."""


@dataclass(frozen=True)
class Aside:
    """A machine beside the sweep's points."""

    of: int
    """The point that it is one change away from, or `TODAY`."""
    axis: str
    """The axis that is changed; nothing of today's machine itself."""
    values: Values
    """Its columns, with area and cost where the machine's silicon is known; its axes alone where it has no results."""
    error: str = ""
    """Why it has no results."""

    def to_json(self) -> dict[str, Any]:
        """Plain data from which `from_json` makes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Aside:
        """What `to_json` has made."""
        return cls(data["of"], data["axis"], data["values"], data["error"])


class Beside:
    """Evaluates machines beside a sweep's points, all at one work."""

    def __init__(self, problem: Problem, work: Setting) -> None:
        defined = [definition.name for definition in problem.definitions]
        made = tuple(dict.fromkeys((*problem.made, *offered(problem.machine, defined))))
        # Today's machine may hold what the sweep's constraints and its memory do not allow.
        self._problem = replace(problem, made=made, allow_overflow=True)
        self._work = work

    def today(self) -> Aside:
        """Today's machine, every axis of the machine at its own value, also those that follow others in the sweep."""
        missing = [axis.path for axis in self._of_machine if _own_value(axis, self._problem) is None]
        if missing:
            return Aside(TODAY, "", {}, f"the machine has no {', '.join(missing)} of its own")
        axes = [_fixed(axis, self._problem) if axis.target.field else axis for axis in self._problem.axes]
        ordered = sorted(axes, key=lambda axis: axis.expression is not None)
        found = self._evaluated(replace(self._problem, axes=tuple(ordered)), [self._own])
        return Aside(TODAY, "", *found[0])

    @property
    def _of_machine(self) -> list[Axis]:
        return [axis for axis in self._problem.axes if axis.target.field]

    @property
    def _own(self) -> Setting:
        """Today's values of the machine's axes, with the work."""
        own = {axis.path: _stored(axis, _own_value(axis, self._problem)) for axis in self._of_machine}
        return {**own, **self._work}

    def changes(self, settings: Mapping[int, Setting]) -> list[Aside]:
        """One change along each axis of the machine, up and down, for today's machine and for points.

        Of each machine the first aside is itself as the sweep's axes make it, with `axis` nothing.

        Args:
            settings: by number of the point the values of the axes that the sampler chose.
        """
        wanted: list[tuple[int, str, Setting]] = []
        for of, begin in {TODAY: self._own, **settings}.items():
            wanted.append((of, "", begin))
            for axis in self._problem.free:
                if axis.target.field:
                    values = _next_to(axis, begin[axis.path])
                    wanted += [(of, axis.path, {**begin, axis.path: value}) for value in values]
        found = self._evaluated(self._problem, [setting for *_, setting in wanted])
        return [Aside(of, path, *result) for (of, path, _), result in zip(wanted, found, strict=True)]

    def _evaluated(self, problem: Problem, settings: Sequence[Setting]) -> list[tuple[Values, str]]:
        """Columns of each setting, and what went wrong."""
        axes, coordinates = [], []
        for axis in problem.axes:
            if axis.expression is None:
                levels = tuple(dict.fromkeys(setting[axis.path] for setting in settings))
                axes.append(replace(axis, levels=levels, span=None, words=_words(axis, problem)))
                coordinates.append([(levels.index(setting[axis.path]) + 0.5) / len(levels) for setting in settings])
            else:
                axes.append(axis)
        asked = replace(problem, axes=tuple(axes))
        chunk = Evaluator(asked).evaluate(0, np.array(coordinates).T)
        found = enumerate(chunk.values.T)
        return [(_decoded(asked.columns, values), chunk.failures.get(index, "")) for index, values in found]


def _own_value(axis: Axis, problem: Problem) -> Any:
    """What today's machine has where the axis changes it; None where it has nothing."""
    assert axis.target.field is not None
    return axis.target.field.read(problem.machine)


def _fixed(axis: Axis, problem: Problem) -> Axis:
    """An axis that follows others, as one that the machine's own value is chosen for."""
    if axis.expression is None:
        return axis
    return replace(axis, expression=None, levels=(float(_own_value(axis, problem)),))


def _words(axis: Axis, problem: Problem) -> tuple[str, ...]:
    """The words of an axis, with the machine's own."""
    if axis.target.kind not in ("text", "bool") or axis.target.field is None:
        return axis.words
    return tuple(dict.fromkeys((*axis.words, str(_own_value(axis, problem)))))


def _stored(axis: Axis, value: Any) -> float:
    """A machine's own value as the table stores it."""
    if axis.target.kind in ("text", "bool"):
        words = tuple(dict.fromkeys((*axis.words, str(value))))
        return float(words.index(str(value)))
    return float(value)


def _next_to(axis: Axis, value: float) -> Iterator[float]:
    """The values of an axis next to one: the nearest below and above; of words the others."""
    if axis.target.kind in ("text", "bool"):
        yield from [float(index) for index in range(len(axis.words)) if index != value][:MOST_WORDS]
        return
    if axis.levels is not None:
        room = SAME * abs(value)
        below = [level for level in axis.levels if level < value - room]
        above = [level for level in axis.levels if level > value + room]
        yield from ([max(below)] if below else []) + ([min(above)] if above else [])
        return
    assert axis.span is not None
    low, high = axis.span
    for way in (-1, 1):
        part = way / PARTS_OF_RANGE
        moved = value * (high / low) ** part if axis.log else value + (high - low) * part
        moved = min(max(moved, low), high)
        moved = float(round(moved)) if axis.target.kind == "int" else moved
        if (moved - value) * way > 0.0:
            yield moved


def _decoded(columns: Sequence[Column], values: np.ndarray[Any, Any]) -> Values:
    """Stored floats by name, without those that are no numbers; text as words."""
    return {
        column.name: column.words[int(value)] if column.words else float(value)
        for column, value in zip(columns, values, strict=True)
        if np.isfinite(value)
    }


def usual_work(problem: Problem, table: pd.DataFrame) -> Setting | None:
    """The values of the axes that change the work, at those that most feasible points have; None: there is no point."""
    axes = [axis for axis in problem.free if axis.target.field is None]
    feasible = table[table["feasible"]]
    if feasible.empty:
        return None
    if not axes:
        return {}
    codes = pd.DataFrame({axis.path: _codes(feasible[axis.path]) for axis in axes})
    most = codes.groupby([axis.path for axis in axes], sort=False).size().idxmax()
    values = most if isinstance(most, tuple) else (most,)
    return {axis.path: float(value) for axis, value in zip(axes, values, strict=True)}


def _codes(column: pd.Series[Any]) -> Any:
    return column.cat.codes if column.dtype == "category" else column


def at_work(table: pd.DataFrame, work: Setting) -> pd.DataFrame:
    """The feasible points that do one work."""
    kept = table["feasible"].to_numpy()
    for path, value in work.items():
        kept = kept & (np.asarray(_codes(table[path]), dtype=np.float64) == value)
    return table[kept].reset_index(drop=True)


def setting_of(problem: Problem, row: pd.Series[Any]) -> Setting:
    """The values of the axes that the sampler chose for a row of the table."""
    return {
        axis.path: float(axis.words.index(str(row[axis.path]))) if axis.words else float(row[axis.path])
        for axis in problem.free
    }
