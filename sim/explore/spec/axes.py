"""The axes of a sweep: which values a machine's or a workload's parameter takes, and where they are put.

Samplers know axes as the unit interval: a coordinate u in [0, 1) picks one of the levels, or a value of a range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simexplore.archs import units
from simexplore.archs.fields import Field
from simexplore.archs.merge import KeyPath
from simexplore.archs.units import Dimension, show
from simexplore.errors import SimexploreError
from simexplore.sim.explore.spec.expression import Expression
from simexplore.sim.explore.spec.reader import Reader
from simexplore.sim.explore.table import Column, FloatArray, Kind

MAX_LEVELS = 1_000_000


@dataclass(frozen=True)
class Parameter:
    """A parameter of one or several of the sweep's workloads."""

    name: str
    workloads: tuple[str, ...]
    kind: Kind
    minimum: int = 1


@dataclass(frozen=True)
class Target:
    """What an axis changes: a field of the machine, or a parameter of workloads."""

    field: Field | None = None
    parameter: Parameter | None = None

    @property
    def kind(self) -> Kind:
        """The type that the axis's values have."""
        if self.field is not None:
            return self.field.kind
        return self.parameter.kind if self.parameter is not None else "float"

    @property
    def dimension(self) -> Dimension | None:
        """Unit of its values in the file, if they have one."""
        return None if self.field is None else self.field.dimension

    @property
    def unit(self) -> str:
        """The SI unit that the axis's values are in."""
        if self.field is not None:
            return self.field.unit
        return "text" if self.kind == "text" else "1"


@dataclass(frozen=True)
class Axis:
    """One parameter and its values; exactly one of `levels`, `span` and `expression` is there."""

    path: str
    target: Target
    levels: tuple[float, ...] | None = None
    """All values, in the order in which they are written; of text, positions in `words`."""
    words: tuple[str, ...] = ()
    span: tuple[float, float] | None = None
    """Ends of a range that is not cut into levels."""
    log: bool = False
    expression: Expression | None = None

    @property
    def column(self) -> Column:
        """The column that the axis has in the table."""
        role = "axis" if self.expression is None else "derived"
        return Column(self.path, role, self.target.unit, self.target.kind, self.words)  # type: ignore[arg-type]

    def place(self, u: FloatArray) -> FloatArray:
        """Values at coordinates of the unit interval."""
        if self.levels is not None:
            index = np.minimum((u * len(self.levels)).astype(np.int64), len(self.levels) - 1)
            return np.asarray(self.levels, dtype=np.float64)[index]
        assert self.span is not None
        low, high = self.span
        values = low * (high / low) ** u if self.log else low + (high - low) * u
        return np.clip(np.rint(values) if self.target.kind == "int" else values, low, high)

    def write(self, value: float) -> str:
        """A value as people write it."""
        if self.words:
            return self.words[int(value)]
        if self.target.field is not None:
            return self.target.field.write(value)
        return f"{value:g}" if self.target.kind == "float" else str(int(value))


def read_axis(reader: Reader, path: KeyPath, name: str, target: Target, value: Any) -> Axis:
    """The axis of a list or of a range; expressions are read by the spec, which knows all names."""
    if isinstance(value, list):
        return _read_list(reader, path, name, target, value)
    return _read_range(reader, path, name, target, value)


def _read_list(reader: Reader, path: KeyPath, name: str, target: Target, values: list[Any]) -> Axis:
    if not values:
        reader.fail(path, "a list of values", "an empty list")
    read = [_read_value(reader, (*path, index), target, value) for index, value in enumerate(values)]
    if target.kind in ("text", "bool"):
        words = tuple(str(value) for value in read)
        _distinct(reader, path, words, values)
        return Axis(name, target, levels=tuple(float(index) for index in range(len(words))), words=words)
    _distinct(reader, path, read, values)
    return Axis(name, target, levels=tuple(float(value) for value in read))


def _distinct(reader: Reader, path: KeyPath, read: Sequence[Any], written: list[Any]) -> None:
    for index, value in enumerate(read):
        if value in read[:index]:
            reader.fail((*path, index), "each value once", f"{show(written[index])} again")


def _read_range(reader: Reader, path: KeyPath, name: str, target: Target, value: dict[str, Any]) -> Axis:
    reader.known_keys(path, value, ("from", "to", "steps", "step", "scale"))
    if target.kind in ("text", "bool"):
        reader.fail(path, "a list of words", "a range")
    for end in ("from", "to"):
        if end not in value:
            reader.fail((*path, end), "an end of the range", "nothing")
    low = float(_read_value(reader, (*path, "from"), target, value["from"]))
    high = float(_read_value(reader, (*path, "to"), target, value["to"]))
    if not low < high:
        reader.fail((*path, "to"), f"more than {value['from']}", show(value["to"]))
    log = "scale" in value and reader.word((*path, "scale"), value["scale"], ("linear", "log")) == "log"
    if log and low <= 0.0:
        reader.fail((*path, "from"), "a value above zero on a log scale", show(value["from"]))
    if "step" in value:
        if "steps" in value or log:
            reader.fail((*path, "step"), "one of step and steps, step on a linear scale only", "both or a log scale")
        step = float(_read_value(reader, (*path, "step"), target, value["step"]))
        return Axis(name, target, levels=_stepped(reader, (*path, "step"), low, high, step))
    if "steps" in value:
        count = reader.integer((*path, "steps"), value["steps"], 2, MAX_LEVELS)
        return Axis(name, target, levels=_spaced(low, high, count, log, target.kind), log=log)
    return Axis(name, target, span=(low, high), log=log)


def _stepped(reader: Reader, path: KeyPath, low: float, high: float, step: float) -> tuple[float, ...]:
    if step <= 0.0 or (high - low) / step > MAX_LEVELS:
        reader.fail(path, f"a step above zero that makes at most {MAX_LEVELS} values", f"{step:g}")
    # A range that the step divides keeps its last value in spite of rounding.
    count = math.floor((high - low) / step + 1e-9) + 1
    return tuple(min(low + index * step, high) for index in range(count))


def _spaced(low: float, high: float, count: int, log: bool, kind: Kind) -> tuple[float, ...]:
    values = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    # Ends are met exactly; whole numbers that fall together count once.
    values[0], values[-1] = low, high
    return tuple(float(value) for value in (np.unique(np.rint(values)) if kind == "int" else values))


def _read_value(reader: Reader, path: KeyPath, target: Target, value: Any) -> Any:
    """One value in SI as its target wants it."""
    if target.dimension is not None:
        try:
            return units.parse(value, target.dimension)
        except units.UnitError as error:
            reader.fail(path, error.expected, error.found)
    if target.kind == "int":
        return reader.integer(path, value, target.parameter.minimum if target.parameter else 1)
    if target.kind == "float":
        if isinstance(value, bool) or not isinstance(value, int | float):
            reader.fail(path, "a number", show(value))
        return float(value)
    if target.kind == "bool":
        return reader.truth(path, value)
    if value is None and target.parameter is not None:
        return "none"
    if not isinstance(value, str):
        reader.fail(path, "a word", show(value))
    return value


def check_levels(axis: Axis) -> int:
    """How many values an axis of a grid has.

    Raises:
        SimexploreError: it is a range without steps.
    """
    if axis.levels is None:
        raise SimexploreError("expected steps, since a grid needs a number of values, found a range without")
    return len(axis.levels)
