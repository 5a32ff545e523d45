"""The Pareto front of a sweep: points that no other point is better than in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simexplore.archs.units import nearest, show
from simexplore.errors import SimexploreError
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column, Direction, FloatArray, Index, distinct_rows, interval_name

Mask = NDArray[np.bool_]

FRONT, PROBABLY, SURELY = "front", "probably dominated", "surely dominated"
"""What a point is: on the front; dominated by values, with intervals that overlap; dominated whatever is true."""


def losses(table: pd.DataFrame, objectives: Mapping[str, Direction]) -> FloatArray:
    """Objectives of shape (points, objectives) with their sign such that less is better."""
    columns = [table[name].to_numpy(np.float64) * (1.0 if way == "min" else -1.0) for name, way in objectives.items()]
    return np.stack(columns, axis=1)


def front(values: FloatArray) -> Mask:
    """Which points (rows; less is better) are dominated by none; equal points are all on the front, NaN never is."""
    mask = np.zeros(len(values), dtype=np.bool_)
    left = np.flatnonzero(np.all(np.isfinite(values), axis=1))
    # Good points first, by the sum of their ranks: none is dominated by a later one, and each throws out many.
    left = left[np.argsort(_ranks(values[left]), kind="stable")]
    while len(left):
        best = values[left[0]]
        rest = values[left]
        mask[left[np.all(rest == best, axis=1)]] = True
        left = left[np.any(rest < best, axis=1)]
    return mask


def dominance(low: FloatArray, value: FloatArray, high: FloatArray) -> NDArray[np.object_]:
    """What each point is, from the ends of its objectives' intervals (rows; less is better; equal where exact)."""
    on_front = front(value)
    status = np.where(on_front, FRONT, PROBABLY).astype(np.object_)
    # If any point surely dominates another, one on the front of the upper ends does.
    status[_beaten(low, high[front(high)]) & ~on_front] = SURELY
    return status


def _beaten(values: FloatArray, rivals: FloatArray) -> Mask:
    """Which points (rows) one of the rivals is nowhere worse and somewhere better than."""
    beaten = np.zeros(len(values), dtype=np.bool_)
    left, rest = np.arange(len(values)), values
    different = rivals[distinct_rows(rivals)[0]]
    for rival in different[np.argsort(_ranks(different), kind="stable")]:  # the best throw out most
        found = np.all(rival <= rest, axis=1) & np.any(rival < rest, axis=1)
        if np.any(found):
            beaten[left[found]] = True
            left, rest = left[~found], rest[~found]
    return beaten


def _ranks(values: FloatArray) -> Index:
    """Sum of each point's ranks in all objectives: good points have low ones."""
    ranks = np.zeros(len(values), dtype=np.int64)
    for column in values.T:
        ranks += np.unique(column, return_inverse=True)[1]
    return ranks


def hypervolume(values: FloatArray, reference: Sequence[float]) -> float:
    """Volume dominated by points (rows; less is better) and bounded by a reference point.

    By slicing along the last objective (L. While et al., IEEE Trans. Evol. Comput. 10, 2006); exact.
    """
    corner = np.asarray(reference, dtype=np.float64)
    inside = values[np.all(values < corner, axis=1)]
    if not len(inside):
        return 0.0
    best = inside[front(inside)]
    return _sliced(best[distinct_rows(best)[0]], corner)


def _sliced(points: FloatArray, corner: FloatArray) -> float:
    if points.shape[1] == 1:
        return float(corner[0] - points.min())
    if points.shape[1] == 2:
        ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
        depth = np.minimum.accumulate(ordered[:, 1])
        widths = np.diff(np.append(ordered[:, 0], corner[0]))
        return float(np.sum(widths * (corner[1] - depth)))
    ordered = points[np.argsort(points[:, -1], kind="stable")]
    heights = np.diff(np.append(ordered[:, -1], corner[-1]))
    volume = 0.0
    for count, height in enumerate(heights, start=1):
        if height > 0.0:
            below = ordered[:count, :-1]
            volume += height * _sliced(below[front(below)], corner[:-1])
    return volume


def reference_point(values: FloatArray) -> FloatArray:
    """A corner for the hypervolume: the worst of each objective among all points, and a hundredth of its range more."""
    low, high = values.min(axis=0), values.max(axis=0)
    margin: FloatArray = 0.01 * np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    return np.asarray(high + margin)


def choose_objectives(store: Store, names: Sequence[str] = ()) -> dict[str, Direction]:
    """Objectives by name, by default those of the sweep; any column of numbers can be one.

    Raises:
        SimexploreError: there is no such column.
    """
    if not names:
        return {column.name: column.direction or "min" for column in store.objectives}
    known = {column.name: column for column in store.columns if column.kind in ("float", "int")}
    chosen: dict[str, Direction] = {}
    for name in names:
        if name not in known:
            listed = ", ".join(known)
            raise SimexploreError(f"expected one of the columns {listed}; found {show(name)}{nearest(name, [*known])}")
        chosen[name] = known[name].direction or _usual(known[name])
    return chosen


def _usual(column: Column) -> Direction:
    return "max" if "utilization." in column.name or column.name.endswith("_per_s") else "min"


def pareto_table(table: pd.DataFrame, objectives: Mapping[str, Direction]) -> pd.DataFrame:
    """The feasible points with what each is (`status`), the front first and ordered by the first objective."""
    feasible = table[table["feasible"]].reset_index(drop=True)
    if feasible.empty:
        return feasible.assign(status=pd.Series(dtype=object))
    low, high = (losses(_ends(feasible, objectives, end), objectives) for end in ("low", "high"))
    # Where more is better, the upper end is the better one.
    status = dominance(np.minimum(low, high), losses(feasible, objectives), np.maximum(low, high))
    first = losses(feasible, objectives)[:, 0]
    ranked = {FRONT: 0, PROBABLY: 1, SURELY: 2}
    order = np.lexsort((feasible["point"].to_numpy(), first, np.array([ranked[word] for word in status])))
    return feasible.assign(status=status).iloc[order].reset_index(drop=True)


def _ends(table: pd.DataFrame, objectives: Mapping[str, Direction], end: str) -> pd.DataFrame:
    """Objectives at one end of their intervals; at their value where they have none."""
    return pd.DataFrame(
        {
            name: table[interval] if (interval := interval_name(name, end)) in table else table[name]
            for name in objectives
        }
    )
