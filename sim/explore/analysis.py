"""What a sweep says: which axis decides an objective, and where the bottleneck changes hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simexplore.errors import SimexploreError
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column, FloatArray, Index

BINS = 16
"""Parts that a range is cut into to see how an objective depends on it."""
LEAST_PER_BIN = 8
"""Points that each bin needs for its mean to mean anything."""


def sensitivity(store: Store) -> pd.DataFrame:
    """How much of each objective's variance each axis explains.

    Columns: `objective, axis, first, total, method`. `first` is the share that an axis explains alone, `total` with all
    its interactions (NaN where the sample does not tell). Methods, by the sampler:

    - `sobol`: Saltelli's design with Jansen's estimators (Saltelli et al. 2010, table 2);
    - `anova`: of a whole grid, its exact decomposition;
    - `binned`: of any other even sample, the variance of the objective's mean over bins of the axis;
    - `one-at-a-time`: of a search, or of too few points, the largest change of the objective among the points that
      differ from the best one in this axis alone, over its range in the sweep. No share of a variance.
    """
    table = store.results()
    if table.empty:
        return pd.DataFrame(columns=["objective", "axis", "first", "total", "method"])
    rows = []
    for objective in store.objectives:
        rows += _of_objective(store, table, objective)
    return pd.DataFrame(rows)


def _of_objective(store: Store, table: pd.DataFrame, objective: Column) -> list[dict[str, object]]:
    sampler = store.metadata["sampler"]
    axes = store.axes
    values = table[objective.name].to_numpy(np.float64)
    complete = len(table) == store.planned
    if sampler == "saltelli" and complete:
        method, shares = "sobol", _saltelli(values, len(axes))
    elif sampler == "grid" and complete:
        method, shares = "anova", _anova(table, values, axes)
    elif sampler in ("sobol", "random", "saltelli", "grid") and len(table) >= BINS * LEAST_PER_BIN:
        method, shares = "binned", [(_binned(_codes(table, axis), values), float("nan")) for axis in axes]
    else:
        method, shares = "one-at-a-time", _one_at_a_time(table, values, axes, objective)
    return [
        {"objective": objective.name, "axis": axis.name, "first": first, "total": total, "method": method}
        for axis, (first, total) in zip(axes, shares, strict=True)
    ]


def _codes(table: pd.DataFrame, axis: Column) -> FloatArray:
    """An axis as numbers."""
    column = table[axis.name]
    return np.asarray(column.cat.codes if axis.kind == "text" else column, dtype=np.float64)


def _saltelli(values: FloatArray, axes: int) -> list[tuple[float, float]]:
    """First-order and total Sobol indices from Saltelli's design: rows a, a with coordinate i of b …, b."""
    blocks = values.reshape(-1, axes + 2)
    a, b = blocks[:, 0], blocks[:, -1]
    variance = np.var(np.concatenate([a, b]))
    if variance == 0.0:
        return [(0.0, 0.0)] * axes
    return [
        (
            float(1.0 - 0.5 * np.mean((b - blocks[:, axis + 1]) ** 2) / variance),
            float(0.5 * np.mean((a - blocks[:, axis + 1]) ** 2) / variance),
        )
        for axis in range(axes)
    ]


def _anova(table: pd.DataFrame, values: FloatArray, axes: Sequence[Column]) -> list[tuple[float, float]]:
    """Shares of a grid's variance: of means over an axis's levels; and what is left when all others are fixed."""
    variance = np.var(values)
    levels = [np.unique(_codes(table, axis), return_inverse=True)[1] for axis in axes]
    shape = tuple(int(level.max()) + 1 for level in levels)
    grid = np.empty(shape)
    grid[tuple(levels)] = values
    if variance == 0.0:
        return [(0.0, 0.0)] * len(axes)
    shares = []
    for axis in range(len(axes)):
        others = tuple(other for other in range(len(axes)) if other != axis)
        shares.append(
            (float(np.var(grid.mean(axis=others)) / variance), float(np.mean(np.var(grid, axis=axis)) / variance))
        )
    return shares


def _binned(coordinates: FloatArray, values: FloatArray) -> float:
    """First-order index from any even sample: variance of the means of bins that hold equally many points."""
    variance = np.var(values)
    if variance == 0.0:
        return 0.0
    order = np.argsort(coordinates, kind="stable")
    distinct = np.unique(coordinates)
    if len(distinct) <= BINS:
        parts = [values[coordinates == level] for level in distinct]
    else:
        parts = np.array_split(values[order], BINS)
    weights = np.array([len(part) for part in parts]) / len(values)
    means = np.array([part.mean() for part in parts])
    between = float(np.sum(weights * (means - values.mean()) ** 2))
    # The means of few points vary by themselves; take that away.
    noise = float(np.sum([np.var(part) / len(values) for part in parts]))
    return min(max((between - noise) / float(variance), 0.0), 1.0)


def _one_at_a_time(
    table: pd.DataFrame, values: FloatArray, axes: Sequence[Column], objective: Column
) -> list[tuple[float, float]]:
    best = int(np.argmin(values if objective.direction != "max" else -values))
    span = float(np.ptp(values)) or 1.0
    codes = np.stack([_codes(table, axis) for axis in axes], axis=1)
    same = codes == codes[best]
    shares = []
    for axis in range(len(axes)):
        others = np.delete(same, axis, axis=1).all(axis=1)
        shares.append((float(np.max(np.abs(values[others] - values[best]))) / span, float("nan")))
    return shares


def bottlenecks(store: Store) -> pd.DataFrame:
    """How many points each resource bounds, along each axis.

    Columns: `axis`, `value` (of numbers with many values, the middle of a bin), `bound`, `points`, and their `share` of
    the points with that value. There is no row where results name no bound, as those of loads that are served.
    """
    table = store.results()
    rows = []
    for axis in store.axes if "bound" in table else ():
        for value, inside in _parts(table, axis):
            bounds = table["bound"][inside].value_counts()
            total = int(bounds.sum())
            rows += [
                {"axis": axis.name, "value": value, "bound": bound, "points": int(count), "share": count / total}
                for bound, count in bounds.items()
                if count
            ]
    return pd.DataFrame(rows, columns=["axis", "value", "bound", "points", "share"])


def _parts(table: pd.DataFrame, axis: Column) -> list[tuple[object, NDArray[np.bool_]]]:
    codes = _codes(table, axis)
    distinct = np.unique(codes)
    if len(distinct) <= 2 * BINS:
        return [(axis.words[int(code)] if axis.words else code, codes == code) for code in distinct]
    edges = np.unique(np.quantile(codes, np.linspace(0.0, 1.0, BINS + 1)))
    which = np.clip(np.searchsorted(edges, codes, side="right") - 1, 0, len(edges) - 2)
    return [(float(np.median(codes[which == part])), which == part) for part in np.unique(which)]


def bottleneck_changes(store: Store) -> pd.DataFrame:
    """Where the bottleneck changes hands in a grid: neighbours along one axis that different resources bound.

    Columns: `axis, before, after` (bounds, towards larger values), `changes`, and `low`, `median`, `high` of the values
    half-way at which it happens. There is no row where results name no bound.

    Raises:
        SimexploreError: the sweep is no grid, so its points have no neighbours.
    """
    if store.metadata["sampler"] != "grid":
        raise SimexploreError(
            "expected a grid, whose points have neighbours, found the sampler " + store.metadata["sampler"]
        )
    table = store.results()
    axes = store.axes
    found: dict[tuple[str, str, str], list[float]] = {}
    named = "bound" in table
    bounds = table["bound"].cat.codes.to_numpy() if named else np.zeros(len(table))
    words = list(table["bound"].cat.categories) if named else []
    codes = {axis.name: _codes(table, axis) for axis in axes}
    for axis in axes:
        if axis.kind == "text":
            continue
        lines = _lines(codes, axis.name)
        same_line = np.all(
            [codes[name][lines[1:]] == codes[name][lines[:-1]] for name in codes if name != axis.name], axis=0
        )
        for here in np.flatnonzero(same_line & (bounds[lines[1:]] != bounds[lines[:-1]])):
            first, second = lines[here], lines[here + 1]
            key = (axis.name, words[bounds[first]], words[bounds[second]])
            found.setdefault(key, []).append(0.5 * float(codes[axis.name][first] + codes[axis.name][second]))
    rows = [
        {
            "axis": axis,
            "before": before,
            "after": after,
            "changes": len(at),
            "low": min(at),
            "median": float(np.median(at)),
            "high": max(at),
        }
        for (axis, before, after), at in sorted(found.items())
    ]
    return pd.DataFrame(rows, columns=["axis", "before", "after", "changes", "low", "median", "high"])


def _lines(codes: Mapping[str, FloatArray], axis: str) -> Index:
    """Points in an order in which neighbours along an axis follow each other."""
    return np.lexsort([codes[axis], *(values for name, values in codes.items() if name != axis)])
