"""Leaving out one kind after another: how far off a correction is on rows of a kind that it has never seen.

Rows left out at random have neighbours of their own kind and flatter; a head dimension, a window or a corner of the
sizes that is left out whole does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simexplore.archs.schema.residual import Kinds
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.intervals.kinds import KIND
from simexplore.sim.learn.leaving.quantiles import covering_groups, share_kept

Mask = npt.NDArray[np.bool_]
LeaveOut = Callable[[Mask], FloatArray]
"""What a model of all other rows says of the rows of a mask."""

MOST_FOLDS = 6
"""Of one axis: kinds are left out together where it has more."""
FEWEST_OUT = 3
FEWEST_LEFT = 30
"""Rows that a left-out kind has at least, and that are left to learn from."""


@dataclass(frozen=True)
class KindErrors:
    """Errors of a correction on rows of kinds that it left out."""

    mape: float
    coverage: float | None
    """Share of them within the interval that the other kinds of their axis tell; None where no axis has two."""


@dataclass(frozen=True)
class _Out:
    """What was said of one left-out fold of kinds, and what was true."""

    guess: FloatArray
    truth: FloatArray


def axes_of(columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The columns of kinds by axis."""
    return {name.removeprefix(KIND): column for name, column in columns.items() if name.startswith(KIND)}


def folds_of(column: FloatArray) -> Iterator[Mask]:
    """The rows to leave out together, kind by kind; nothing where all rows are of one kind or too few are left."""
    values = np.unique(column)
    for first in range(min(len(values), MOST_FOLDS)):
        out = np.isin(column, values[first::MOST_FOLDS])
        if out.sum() >= FEWEST_OUT and (~out).sum() >= FEWEST_LEFT:
            yield out


def fit_kinds(
    columns: Mapping[str, FloatArray], y: FloatArray, leave_out: LeaveOut, assumed: Mapping[str, float], least: float
) -> tuple[Kinds, KindErrors | None]:
    """The kinds of training rows, what is known of others, and the errors that tell it.

    Args:
        columns: of the rows, those of kinds among them.
        y: log(measured / physics).
        leave_out: predicts y of rows from all others.
        assumed: half-width of log time by axis where the rows are all of one kind, so that none can be left out.
        least: half-width of rows of kinds that were seen; no axis is narrower.
    """
    axes = axes_of(columns)
    outs = {name: [_Out(leave_out(out), y[out]) for out in folds_of(column)] for name, column in axes.items()}
    keeps = {name: _kept(folds) for name, folds in outs.items() if folds}
    widths = {name: _width(folds, keeps[name]) for name, folds in outs.items() if folds}
    seen = {name: np.unique(column).astype(np.int64) for name, column in axes.items()}
    kinds = Kinds(
        names=tuple(axes),
        axis=np.repeat(np.arange(len(axes)), [len(values) for values in seen.values()]).astype(np.int32),
        value=np.concatenate([np.zeros(0, dtype=np.int64), *seen.values()]),
        half_width=np.array([max(widths.get(name, assumed[name]), least) for name in axes]),
        keep=np.array([keeps.get(name, min(keeps.values(), default=0.0)) for name in axes]),
    )
    return kinds, _errors(outs, keeps)


def _kept(folds: list[_Out]) -> float:
    return share_kept(np.concatenate([fold.guess for fold in folds]), np.concatenate([fold.truth for fold in folds]))


def _width(folds: list[_Out], keep: float) -> float:
    return covering_groups([np.abs(fold.truth - keep * fold.guess) for fold in folds])


def _errors(outs: Mapping[str, list[_Out]], keeps: Mapping[str, float]) -> KindErrors | None:
    """Errors of all left-out rows; a row counts once for each axis. Widths are those of the axis' other folds."""
    off = [fold.truth - keeps[name] * fold.guess for name, folds in outs.items() for fold in folds]
    if not off:
        return None
    inside: list[Mask] = []
    for name, folds in outs.items():
        for i, fold in enumerate(folds):
            if others := folds[:i] + folds[i + 1 :]:
                width = _width(others, keeps[name])
                inside.append(np.abs(fold.truth - keeps[name] * fold.guess) <= width)
    coverage = float(np.mean(np.concatenate(inside))) if inside else None
    return KindErrors(float(np.mean(np.abs(np.expm1(-np.concatenate(off))))), coverage)
