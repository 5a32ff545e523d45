"""In which unit people read a column: 50 MiB rather than 5.24288e7 B."""

from __future__ import annotations

import re

import numpy as np

from simexplore.archs.units import DIMENSIONS
from simexplore.sim.explore.table import Column, FloatArray

SHARES = "utilization."
"""Columns whose last name follows this are shares, read in per cent."""


def display_unit(column: Column, values: FloatArray) -> tuple[float, str]:
    """What to divide a column's SI values by, and the unit that they are in then; `(1.0, "")` for plain numbers."""
    if column.kind != "text" and column.name.rpartition(SHARES)[1]:
        return 0.01, "%"
    dimension = next((known for known in DIMENSIONS if known.si == column.unit.replace("^", "")), None)
    known = np.abs(values[np.isfinite(values) & (values != 0)])
    if dimension is None or not len(known):
        return 1.0, "" if column.unit in ("1", "text") else _pretty(column.unit)
    factors = {unit: float(dimension.units[unit]) for unit in dimension.shown}
    if column.unit == "B":
        binary = known.min() % 1024 == 0 and known.max() % 1024 == 0
        factors = {unit: factor for unit, factor in factors.items() if unit == "B" or ("i" in unit) == binary}
    typical = float(np.median(known))
    fitting = [unit for unit, factor in factors.items() if factor <= typical * (1 + 1e-9)]
    unit = fitting[-1] if fitting else next(iter(factors))
    return factors[unit], _pretty(unit)


def _pretty(unit: str) -> str:
    """`mm2` and `us` as they are printed."""
    return re.sub(r"\^?2$", "²", re.sub(r"^u(?=[sJ])", "µ", unit))


def display_name(column: Column) -> str:
    """A column's name without the SI unit that it ends in: `decode.time_s` is `decode.time` in ms."""
    for ending, unit in (("_s", "s"), ("_j", "J"), ("_w", "W"), ("_bytes", "B"), (f"_{column.unit}", column.unit)):
        if column.unit == unit and column.name.endswith(ending):
            return column.name.removesuffix(ending)
    return column.name
