"""Points by their machines: which differ in numbers only, and which contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from simexplore.archs.fields import Field, with_columns
from simexplore.archs.load import machine_of, overridden
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.explore.spec.machine import made_of
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.table import FloatArray, Index, distinct_rows

_REMEMBERED = 4096


@dataclass
class Group:
    """Points whose machines differ in numbers only."""

    points: Index
    base: Gpu | System
    columns: Mapping[Field, FloatArray]
    """Values of the distinct machines."""
    machine_of: Index
    """For each of the points, the index of its machine."""

    def machines(self, inside: Index) -> Gpu:
        """The machines of some of the points, what they differ in as columns of shape (points,)."""
        columns = {field: values[self.machine_of[inside]] for field, values in self.columns.items()}
        return cast(Gpu, with_columns(self.base, columns))

    def machine(self, index: int) -> Gpu:
        """One of the machines, its columns as numbers."""
        values = {field: _plain(field, column[index]) for field, column in self.columns.items()}
        return cast(Gpu, with_columns(self.base, values))


class Grouping:
    """Makes machines, and remembers them and what was wrong with them."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._layer = problem.layer
        self._bases: dict[tuple[tuple[str, str], ...], Gpu | System | str] = {}
        self._checked: dict[tuple[tuple[str, str], ...], str] = {}

    def groups(self, table: Mapping[str, FloatArray], points: int, errors: dict[int, str]) -> Iterator[Group]:
        """Points by what of their machines is not a number in an array; machines that contradict themselves fail."""
        axes = [axis for axis in self._problem.axes if axis.target.field is not None]
        apart = [axis for axis in axes if axis.target.field is not None and not axis.target.field.columnar]
        numbers = [axis.target.field for axis in axes if axis.target.field is not None and axis.target.field.columnar]
        kinds, kind_of = distinct([table[axis.path] for axis in apart], points)
        for index in range(kinds.shape[1]):
            mine = np.flatnonzero(kind_of == index)
            texts = {axis.path: axis.write(value) for axis, value in zip(apart, kinds[:, index], strict=True)}
            base = self._base(texts)
            if isinstance(base, str):
                errors.update(dict.fromkeys(mine.tolist(), base))
                continue
            values, machine_of = distinct([table[field.path][mine] for field in numbers], len(mine))
            columns = dict(zip(numbers, values, strict=True))
            bad = self._contradictions(texts, columns, values.shape[1]) if columns else {}
            for machine, error in bad.items():
                errors.update(dict.fromkeys(mine[machine_of == machine].tolist(), error))
            fine = ~np.isin(machine_of, list(bad))
            if np.any(fine):
                yield Group(mine[fine], base, columns, machine_of[fine])

    def _base(self, texts: Mapping[str, str]) -> Gpu | System | str:
        key = tuple(texts.items())
        if key not in self._bases:
            try:
                self._bases[key] = made_of(overridden(self._layer, texts), self._problem.lenders)
            except SimexploreError as error:
                self._bases[key] = _without_set(error)
        return self._bases[key]

    def _contradictions(
        self, texts: Mapping[str, str], columns: Mapping[Field, FloatArray], machines: int
    ) -> dict[int, str]:
        """Error by machine. Limits of fields, and of one field by another, are of order: corners stand for the rest."""
        for extents in (self._extents(columns), {field: _ends(values) for field, values in columns.items()}):
            lows, highs = ({field: ends[side] for field, ends in extents.items()} for side in (0, 1))
            corners = [lows, highs]
            corners += [{**lows, field: highs[field]} for field in columns]
            corners += [{**highs, field: lows[field]} for field in columns]
            if not any(self._mistake(texts, corner) for corner in corners):
                return {}
        found = {}
        for machine in range(machines):
            error = self._mistake(texts, {field: values[machine] for field, values in columns.items()})
            if error:
                found[machine] = error
        return found

    def _extents(self, columns: Mapping[Field, FloatArray]) -> dict[Field, tuple[float, float]]:
        """Least and largest value of the whole sweep where they are known: so most chunks have the same corners."""
        known = {axis.path: axis.span or _ends(np.asarray(axis.levels)) for axis in self._problem.free}
        return {field: known.get(field.path) or _ends(values) for field, values in columns.items()}

    def _mistake(self, texts: Mapping[str, str], values: Mapping[Field, float]) -> str:
        """What is wrong with a machine; nothing where it is valid."""
        try:
            overrides = {**texts, **{field.path: field.write(value) for field, value in values.items()}}
        except (ValueError, ArithmeticError):
            return "expected numbers for the machine, found one that is not finite"
        key = tuple(overrides.items())
        if key not in self._checked:
            try:
                machine_of(overridden(self._layer, overrides))
                error = ""
            except SimexploreError as mistake:
                error = _without_set(mistake)
            if len(self._checked) >= _REMEMBERED:
                self._checked.clear()
            self._checked[key] = error
        return self._checked[key]


def distinct(columns: list[FloatArray], length: int) -> tuple[FloatArray, Index]:
    """Distinct rows of some columns, shape (columns, rows), and for each entry the row that it is."""
    if not columns:
        return np.zeros((0, 1)), np.zeros(length, dtype=np.int64)
    table = np.stack(columns, axis=1)
    first, which = distinct_rows(table)
    return table[first].T, which


def _without_set(error: SimexploreError) -> str:
    return str(error).removeprefix("--set ")


def _plain(field: Field, value: float) -> float | int:
    return round(value) if field.kind == "int" else float(value)


def _ends(values: FloatArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
