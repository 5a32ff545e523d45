"""Loads that are served on the machines of a sweep: a machine at a time, since each has steps of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.groups import Group, distinct
from simexplore.sim.explore.spec.axes import Axis
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.spec.serving import in_keys
from simexplore.sim.explore.table import FloatArray, Index
from simexplore.sim.serve.question import HIGHEST, Answers, Question

Told = Mapping[str, float] | str
"""Figures, or why there are none."""
_REMEMBERED = 4096


class Server:
    """Serves the load of one problem, and remembers the steps of machines between chunks."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._answers = Answers()
        self._told: dict[tuple[tuple[float, ...], tuple[float, ...]], Told] = {}
        self._of_machine = [axis.path for axis in problem.axes if axis.target.field is not None]
        self._of_load = [axis for axis in problem.axes if axis.target.parameter is not None]

    def add(self, groups: Sequence[Group], table: dict[str, FloatArray], points: int, errors: dict[int, str]) -> None:
        """Put what users see, and what it takes, at each point; where it can't run, points fail."""
        for name in self._problem.figures:
            table[name] = np.full(points, np.nan)
        for group in groups:
            for machine in np.unique(group.machine_of):
                mine = group.points[group.machine_of == machine]
                built = group.base if isinstance(group.base, System) else group.machine(int(machine))
                self._serve(built, mine, table, errors)

    def _serve(
        self, machine: Gpu | System, points: Index, table: Mapping[str, FloatArray], errors: dict[int, str]
    ) -> None:
        """All loads of one machine."""
        key = tuple(float(table[path][points[0]]) for path in self._of_machine)
        settings, setting_of = distinct([table[axis.path][points] for axis in self._of_load], len(points))
        for number in range(settings.shape[1]):
            mine = points[setting_of == number]
            known = (key, tuple(settings[:, number].tolist()))
            if known not in self._told:
                if len(self._told) >= _REMEMBERED:
                    self._told.clear()
                self._told[known] = self._answer(machine, *known)
            told = self._told[known]
            if isinstance(told, str):
                errors.update(dict.fromkeys(mine.tolist(), told))
                continue
            for name in self._problem.figures:
                table[name][mine] = told[name]

    def _answer(self, machine: Gpu | System, key: tuple[float, ...], setting: tuple[float, ...]) -> Told:
        """The figures of one load on one machine, or what is wrong."""
        assert self._problem.question is not None
        try:
            asked = _changed(self._problem.question, self._of_load, setting)
            return self._answers.answer(asked, machine, key, HIGHEST in self._problem.figures)
        except SimexploreError as error:
            return in_keys(str(error))


def _changed(question: Question, axes: Sequence[Axis], setting: Sequence[float]) -> Question:
    """The question with these values of its axes.

    Raises:
        SimexploreError: a value that is no number.
    """
    if not np.all(np.isfinite(setting)):
        raise SimexploreError("expected numbers for the load, found one that is not finite")
    changes = {
        axis.target.parameter.name: _text(axis, value)
        for axis, value in zip(axes, setting, strict=True)
        if axis.target.parameter is not None
    }
    return question.changed(changes)


def _text(axis: Axis, value: float) -> str:
    """A value as the command line has it, to the last digit."""
    if axis.target.kind == "float":
        return repr(value)
    return axis.write(value).lower() if axis.target.kind == "bool" else axis.write(value)
