"""Learning the correction: gradient-boosted trees on the log residual of the physics, group by group.

Everything is chosen inside the training rows: the trees' depth by cross-validation, and from the same left-out
residuals the local scale and the interval. Then kinds of rows are left out whole: that tells how wide the interval is
of rows of a kind that was never seen. Few rows get one shift instead of trees. Fitting needs scikit-learn (extra
`calibrate`), what it gives does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simexplore.archs.schema.residual import Correction, Hull, Trees
from simexplore.errors import SimexploreError
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.correction import (
    LENGTH,
    NORMAL_80,
    UNCALIBRATED_SIGMA_LOG,
    Floats32,
    stacked,
    sum_of_trees,
)
from simexplore.sim.estimate.intervals.kinds import KIND
from simexplore.sim.learn.leaving.few import constant, half_width_of, shift_of
from simexplore.sim.learn.leaving.kinds import KindErrors, LeaveOut, Mask, axes_of, fit_kinds
from simexplore.sim.learn.leaving.quantiles import covering, share_kept
from simexplore.sim.learn.leaving.stacked import on_top

Indices = npt.NDArray[np.intp]
Columns = dict[str, FloatArray]
Progress = Callable[[int, int], None]

FOLDS = 10
"""Of cross-validation: many, so that a left-out row is predicted from nearly as many as a new one."""
CHOOSING_FOLDS = 3
"""Of these, those that the setting is chosen on."""
BAGS = 2
"""Boosters of different seeds whose mean is the correction."""
FEWEST_ROWS = 12
"""Groups with fewer training rows get no correction."""
FEWEST_OF_TREES = 60
"""Groups with fewer get one shift for all rows."""
ENOUGH_ROWS = 300
"""Groups with fewer choose among slower boosters too, whose shorter steps follow chance less, and average more."""
SCALE_FLOOR = 0.1
"""Smallest residual that the local scale tells apart, over the median one."""
LENGTHS = 5
"""Parts of the rows, by how long the physics says they take, that have a width of their own."""
COMMON_ROWS = 50
"""Rows that the width of all rows counts for in that of a part: what chance does to a part of so few is more than parts
differ by."""
FEW_FOLDS = 2
"""Of the second cross-validation, which tells how fast errors fall with rows."""


class Setting(NamedTuple):
    """Hyper-parameters that cross-validation chooses among."""

    depth: int
    trees: int
    learning_rate: float


SETTINGS = (Setting(3, 200, 0.1), Setting(6, 150, 0.07))
SLOW_SETTINGS = (Setting(2, 60, 0.05), Setting(3, 100, 0.05))
BAGS_OF_FEW = 5
SCALE = Setting(2, 40, 0.1)


@dataclass(frozen=True)
class TrainingRows:
    """One group's rows that a correction is learned from."""

    group: str
    columns: Columns
    """Features of each row (`residual.feature_columns`), kinds among them."""
    sizes: tuple[str, ...]
    """Names of the columns that the hull is made of."""
    log_ratio: FloatArray
    """log(measured / physics)."""


@dataclass(frozen=True)
class Before:
    """What was known of a group's rows before any of them."""

    half_width: float = NORMAL_80 * UNCALIBRATED_SIGMA_LOG
    """Half of the 80 % interval of log time, where the machine that the fit began with stood."""
    of_kinds: Mapping[str, float] = field(default_factory=dict)
    """The same of rows of an unseen kind, by axis, where no kind can be left out; absent: `half_width`."""
    optimism: float = 1.0
    """How much less the physics errs on the rows, having been fitted on them, than on others."""
    correction: Correction | None = None
    """Of the machine that the fit began with, where it had one; none of these rows was among its own."""


class Learned(NamedTuple):
    """A correction, and what leaving kinds out told of it."""

    correction: Correction
    kinds: KindErrors | None


def fit_correction(
    rows: TrainingRows, seed: int, progress: Progress | None = None, before: Before | None = None
) -> Learned | None:
    """The correction of one group; None where there are too few rows to learn from.

    Raises SimexploreError where scikit-learn is not installed.
    """
    before = before or Before()
    if len(rows.log_ratio) < FEWEST_ROWS:
        return None
    known = before.correction
    if known is not None:
        told = sum_of_trees(known.shift, stacked(rows.columns, known.features))
        if np.mean(np.abs(rows.log_ratio - told)) < np.mean(np.abs(rows.log_ratio)):
            learned = _fresh(replace(rows, log_ratio=rows.log_ratio - told), seed, progress, before)
            return learned._replace(correction=on_top(known, learned.correction))
    return _fresh(rows, seed, progress, before)


def _fresh(rows: TrainingRows, seed: int, progress: Progress | None, before: Before) -> Learned:
    """What the rows alone teach."""
    if len(rows.log_ratio) < FEWEST_OF_TREES:
        return _of_few(rows, before)
    return _of_trees(rows, seed, progress or (lambda _done, _total: None), before)


def _of_few(rows: TrainingRows, before: Before) -> Learned:
    """One shift for all rows, as much of it as leaving rows out bears."""
    y = rows.log_ratio
    shift, left_out = shift_of(y)
    share = shift / median if (median := float(np.median(y))) else 0.0
    width = half_width_of(left_out, before.half_width / before.optimism) * before.optimism

    def without(out: Mask) -> FloatArray:
        return np.full(int(out.sum()), share * np.median(y[~out]))

    return _learned(rows, (LENGTH,), constant(shift), constant(0.0), np.zeros(1), np.array([width]), before, without)


def _of_trees(rows: TrainingRows, seed: int, progress: Progress, before: Before) -> Learned:
    y = rows.log_ratio
    names = tuple(
        name for name, column in rows.columns.items() if np.ptp(column) > 0.0 and not name.startswith(KIND)
    ) or (LENGTH,)
    x = stacked(rows.columns, names)
    random = np.random.default_rng(seed)
    folds = random.permutation(len(y)) % FOLDS
    seeds = [int(s) for s in random.integers(2**31, size=2)]
    few = len(y) < ENOUGH_ROWS
    settings, bags = (SLOW_SETTINGS + SETTINGS, BAGS_OF_FEW) if few else (SETTINGS, BAGS)
    steps = CHOOSING_FOLDS * len(settings) + FOLDS * bags + 2
    errors = []
    for i, setting in enumerate(settings):
        guessed = _left_out(x, y, folds, partial(booster, setting, seeds[0]), range(CHOOSING_FOLDS))
        errors.append(float(np.nanmean(np.abs(y - guessed))))
        progress(CHOOSING_FOLDS * (i + 1), steps)
    best = settings[int(np.argmin(errors))]
    makers = [partial(booster, best, seeds[0] + bag) for bag in range(bags)]
    guesses, poorer = [], []
    for bag, make in enumerate(makers):
        guesses.append(_left_out(x, y, folds, make, range(FOLDS)))
        poorer.append(_left_out(x, y, folds % FEW_FOLDS, make, range(FEW_FOLDS)))
        progress(CHOOSING_FOLDS * len(settings) + FOLDS * (bag + 1), steps)
    guess = np.mean(guesses, axis=0)
    share = share_kept(guess, y) if few else 1.0
    shift = scaled(trees_of([make().fit(x, y) for make in makers], x), share)
    left_out = y - share * guess
    spread, knots, widths = _interval(x, left_out, rows.columns[LENGTH], folds, seeds[1])
    widths = widths * _with_all_rows(np.abs(left_out), np.abs(y - share * np.mean(poorer, axis=0))) * before.optimism

    def without(out: Mask) -> FloatArray:
        told: FloatArray = share * makers[0]().fit(x[~out], y[~out]).predict(x[out])
        return told

    least = covering(np.abs(left_out)) * before.optimism
    learned = _learned(rows, names, shift, spread, knots, widths, before, without, least)
    progress(steps, steps)
    return learned


def _learned(
    rows: TrainingRows,
    names: tuple[str, ...],
    shift: Trees,
    spread: Trees,
    knots: FloatArray,
    widths: FloatArray,
    before: Before,
    leave_out: LeaveOut,
    least: float | None = None,
) -> Learned:
    """The record of a correction, with the kinds of its rows; `least` is the half-width of rows of those kinds."""
    least = float(widths.min()) if least is None else least
    assumed = {axis: before.of_kinds.get(axis, before.half_width) for axis in axes_of(rows.columns)}
    kinds, errors = fit_kinds(rows.columns, rows.log_ratio, leave_out, assumed, least)
    correction = Correction(
        group=rows.group,
        features=names,
        shift=shift,
        spread=spread,
        half_width=widths,
        knots=knots,
        coordinates=rows.sizes,
        hull=hull_of(stacked(rows.columns, rows.sizes)),
        kinds=kinds,
    )
    return Learned(correction, errors)


def booster(setting: Setting, seed: int, loss: str = "huber") -> Any:
    """An unfitted scikit-learn regressor: robust loss, each tree on a part of the rows and features."""
    try:
        from sklearn.ensemble import GradientBoostingRegressor
    except ImportError:
        raise SimexploreError(
            "calibrate learns with scikit-learn: pip install 'simexplore[calibrate]', or give --residual-rows 0"
        ) from None
    return GradientBoostingRegressor(
        loss=loss,
        learning_rate=setting.learning_rate,
        n_estimators=setting.trees,
        max_depth=setting.depth,
        alpha=0.7,
        subsample=0.8,
        max_features=0.2,
        min_samples_leaf=3,
        random_state=seed,
    )


def _left_out(x: Floats32, y: FloatArray, folds: Indices, make: Callable[[], Any], which: Iterable[int]) -> FloatArray:
    """What a model fitted on the other folds says of each row of some folds; NaN for the others."""
    predicted = np.full(len(y), np.nan)
    for fold in which:
        out = folds == fold
        predicted[out] = make().fit(x[~out], y[~out]).predict(x[out])
    return predicted


def _interval(
    x: Floats32, residual: FloatArray, length: FloatArray, folds: Indices, seed: int
) -> tuple[Trees, FloatArray, FloatArray]:
    """Trees for the log of the local scale of left-out residuals, and the half-widths over it that cover 80 % of them.

    Half-widths are those of knots in `length`. They are taken from scales that were themselves learned on other folds.
    """
    size = np.abs(residual)
    log_size = np.log(np.maximum(size, SCALE_FLOOR * np.median(size) + 1e-9))
    scale = np.exp(_left_out(x, log_size, folds, partial(booster, SCALE, seed, "squared_error"), range(FOLDS)))
    trees = trees_of([booster(SCALE, seed, "squared_error").fit(x, log_size)], x)
    return trees, *_by_length(size / scale, length)


def _by_length(scores: FloatArray, length: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Knots, and at each the score that covers 80 % of the rows about as long, drawn towards that of all rows.

    Conformal prediction by categories (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, 4.5),
    so that no size is covered at another's cost; a knot is the middle of its category.
    """
    parts = np.array_split(np.argsort(length, kind="stable"), LENGTHS)
    knots = np.array([np.median(length[part]) for part in parts])
    common = covering(scores)
    if np.any(np.diff(knots) <= 0.0):
        return np.zeros(1), np.array([common])
    own = np.array([covering(scores[part]) for part in parts])
    weight = np.array([len(part) / (len(part) + COMMON_ROWS) for part in parts])
    return knots, np.asarray(common * (own / common) ** weight)


def _with_all_rows(left_out: FloatArray, poorer: FloatArray) -> float:
    """Errors of a model of all rows over left-out errors, which are those of models of fewer rows.

    Errors fall as a power of the rows (learning curves: Hestness et al., arXiv 1712.00409), which those of models of
    half of the rows, `poorer`, tell.
    """
    share, half = 1.0 - 1.0 / FOLDS, 1.0 - 1.0 / FEW_FOLDS
    ratio = max(float(np.mean(poorer)), 1e-12) / max(float(np.mean(left_out)), 1e-12)
    exponent = np.log(ratio) / np.log(share / half)
    return float(share ** np.clip(exponent, 0.0, 1.0))


def hull_of(coordinates: Floats32) -> Hull:
    """Ranges of the coordinates and of their sums and differences in pairs; `coordinates` has shape (rows, sizes)."""
    count = coordinates.shape[1]
    units = np.eye(count, dtype=np.float32)
    pairs = [(units[i] + sign * units[j]) / np.sqrt(2.0) for i, j in combinations(range(count), 2) for sign in (1, -1)]
    directions = np.array([*units, *pairs], dtype=np.float32).reshape(-1, count)
    along = coordinates @ directions.T
    slack = 1e-5 * (1.0 + np.abs(along).max(axis=0))  # what rounding makes of the same row in another batch
    return Hull(
        directions, (along.min(axis=0) - slack).astype(np.float32), (along.max(axis=0) + slack).astype(np.float32)
    )


def trees_of(models: Sequence[Any], x: Floats32) -> Trees:
    """The mean of fitted boosters as arrays. `x` are any of their training rows."""
    start = float(np.mean([np.ravel(model.init_.predict(x[:1]))[0] for model in models]))
    parts, root, first = [], [], 0
    for model in models:
        for estimator in model.estimators_[:, 0]:
            feature, value, left = _nodes(estimator.tree_, model.learning_rate / len(models))
            root.append(first)
            parts.append((feature, value, left + first))
            first += len(feature)
    feature, value, left = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Trees(
        root=np.array(root, dtype=np.int32),
        feature=feature.astype(np.int16),
        value=value.astype(np.float32),
        left=left.astype(np.int32),
        start=np.array([start]),
    )


def scaled(trees: Trees, share: float) -> Trees:
    """Trees that say a share of what they said."""
    leaf = trees.feature < 0
    value = np.where(leaf, np.float32(share) * trees.value, trees.value).astype(np.float32)
    return replace(trees, value=value, start=share * trees.start)


def _nodes(tree: Any, weight: float) -> tuple[Indices, FloatArray, Indices]:
    """One tree's nodes, breadth first, so that right children follow left ones: feature, value, left child.

    `weight` is on its leaves.
    """
    order: list[int] = [0]
    left: list[int] = []
    for node in order:
        below: Sequence[int] = (int(tree.children_left[node]), int(tree.children_right[node]))
        left.append(len(order) if below[0] >= 0 else len(left))
        order += below if below[0] >= 0 else ()
    at = np.array(order, dtype=np.intp)
    inner = tree.children_left[at] >= 0
    threshold = tree.threshold[at]
    narrow = threshold.astype(np.float32)
    narrow = np.where(narrow > threshold, np.nextafter(narrow, np.float32(-np.inf)), narrow)  # x <= t stays as it is
    value = np.where(inner, narrow, weight * tree.value[at, 0, 0])
    feature = np.where(inner, tree.feature[at], -1).astype(np.intp)
    return feature, value, np.array(left, dtype=np.intp)
