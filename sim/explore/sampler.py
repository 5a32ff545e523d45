"""Samplers: which points of the unit cube to try. One interface for those that list points and those that search.

A sampler is asked for batches of coordinates, shape (points, axes), until it gives None; each batch's results are told
to it before the next is asked for. The same seed and the same results give the same points, so a search that was
interrupted is taken up by telling it again what it was told.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simexplore.errors import SimexploreError
from simexplore.sim.explore.table import FloatArray

KINDS = ("grid", "random", "sobol", "saltelli", "tpe", "nsga2")
SEARCHES = ("tpe", "nsga2")
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "sobol": ("scipy",), "saltelli": ("scipy",), "tpe": ("optuna",), "nsga2": ("optuna",)
}  # fmt: skip
"""What each sampler needs; which points it gives depends on their versions."""
BATCH = 1 << 20
"""Points of a batch of a sampler that does not search."""
TPE_BATCH = 10
MAX_POPULATION = 50
STALE_BATCHES = 20
"""A search ends when so many batches have brought no new point."""


@dataclass(frozen=True)
class Results:
    """What became of a batch; arrays of shape (points, objectives) and (points,)."""

    losses: FloatArray
    """Objectives, less is better; NaN where a point failed."""
    feasible: NDArray[np.bool_]


class Sampler(Protocol):
    """Gives batches of points."""

    def ask(self) -> FloatArray | None:
        """The next batch of coordinates, shape (points, axes); None at the end."""

    def tell(self, results: Results) -> None:
        """What became of the batch that was asked for last."""


def make_sampler(kind: str, levels: Sequence[int | None], points: int, seed: int, objectives: int = 1) -> Sampler:
    """A sampler.

    Args:
        kind: one of `KINDS`.
        levels: for each axis its number of values, None for a range without steps.
        points: how many points; of a search at most.
        seed: of everything random.
        objectives: how many objectives a search is told of.

    Raises:
        SimexploreError: a grid over a range without steps, or a library that is not installed.
    """
    if kind == "grid":
        return Listed(_Grid(levels))
    if kind in SEARCHES:
        return Search(kind, levels, points, seed, objectives)
    if kind == "random":
        return Listed(_Table(np.random.default_rng(seed).random((points, len(levels)))))
    if kind == "sobol":
        return Listed(_Table(_sobol(len(levels), points, seed)))
    return Listed(_Table(_saltelli(len(levels), points, seed)))


def check_budget(kind: str, budget: int, axes: int) -> int:
    """How many points a sampler makes of a budget.

    Raises:
        SimexploreError: too few for its design.
    """
    if kind != "saltelli":
        return budget
    if budget < 2 * (axes + 2):
        raise SimexploreError(f"expected at least {2 * (axes + 2)} points for saltelli's design, found {budget}")
    return budget // (axes + 2) * (axes + 2)


class _Source(Protocol):
    @property
    def points(self) -> int: ...

    def rows(self, first: int, stop: int) -> FloatArray: ...


@dataclass(frozen=True)
class _Table:
    coordinates: FloatArray

    @property
    def points(self) -> int:
        return len(self.coordinates)

    def rows(self, first: int, stop: int) -> FloatArray:
        return self.coordinates[first:stop]


class _Grid:
    """All combinations, the last axis fastest; computed where they are asked for."""

    def __init__(self, levels: Sequence[int | None]) -> None:
        if None in levels:
            raise SimexploreError("a grid needs a number of values on each axis, and one has a range without steps")
        self._levels = tuple(level for level in levels if level is not None)
        self.points = int(np.prod(self._levels, dtype=object))

    def rows(self, first: int, stop: int) -> FloatArray:
        indices = np.unravel_index(np.arange(first, min(stop, self.points)), self._levels)
        return np.stack([(index + 0.5) / count for index, count in zip(indices, self._levels, strict=True)], axis=1)


class Listed:
    """A sampler whose points do not depend on results."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._next = 0

    def ask(self) -> FloatArray | None:
        if self._next >= self._source.points:
            return None
        rows = self._source.rows(self._next, self._next + BATCH)
        self._next += len(rows)
        return rows

    def tell(self, results: Results) -> None:
        """A sampler that lists points learns nothing from their results."""


def _sobol(axes: int, points: int, seed: int) -> FloatArray:
    """The first points of a scrambled Sobol sequence."""
    try:
        from scipy.stats import qmc
    except ImportError:
        raise SimexploreError("sobol and saltelli need scipy: pip install 'simexplore[sweep]'") from None
    power = max(points - 1, 1).bit_length()
    rows: FloatArray = qmc.Sobol(axes, scramble=True, rng=np.random.default_rng(seed)).random_base2(power)[:points]
    return rows


def _saltelli(axes: int, points: int, seed: int) -> FloatArray:
    """Saltelli's design: for each pair of rows a, b the row a, the rows a with one coordinate from b, and b.

    A. Saltelli et al., Variance based sensitivity analysis of model output, Computer Physics Communications 181 (2010).
    """
    both = _sobol(2 * axes, points // (axes + 2), seed)
    first, second = both[:, :axes], both[:, axes:]
    blocks = np.repeat(first[:, None, :], axes + 2, axis=1)
    for axis in range(axes):
        blocks[:, axis + 1, axis] = second[:, axis]
    blocks[:, axes + 1] = second
    return blocks.reshape(-1, axes)


class Search:
    """Optuna's TPE or NSGA-II, asked for whole batches. Points that it tries again are not given again."""

    def __init__(self, kind: str, levels: Sequence[int | None], points: int, seed: int, objectives: int) -> None:
        self._optuna = _import_optuna()
        self._levels = levels
        self._points = points
        self._batch = TPE_BATCH if kind == "tpe" else population(points)
        sampler = self._sampler(kind, seed)
        self._study = self._optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
        self._known: dict[tuple[float, ...], tuple[FloatArray, bool]] = {}
        self._trials: list[tuple[Any, tuple[float, ...]]] = []
        self._asked: list[tuple[float, ...]] = []
        self._given = 0

    def _sampler(self, kind: str, seed: int) -> Any:
        known = self._optuna.samplers
        with warnings.catch_warnings():
            # Constraints as a function are what both Optuna 4 and 5 know.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            if kind == "nsga2":
                return known.NSGAIISampler(seed=seed, population_size=self._batch, constraints_func=_violation)
            return known.TPESampler(
                seed=seed,
                n_startup_trials=2 * TPE_BATCH,
                multivariate=True,
                constant_liar=True,
                constraints_func=_violation,
            )

    def ask(self) -> FloatArray | None:
        for _ in range(STALE_BATCHES):
            room = self._points - self._given
            if room <= 0:
                return None
            self._trials = [self._trial() for _ in range(self._batch)]
            fresh = [point for _, point in self._trials if point not in self._known]
            self._asked = list(dict.fromkeys(fresh))[:room]
            if self._asked:
                self._given += len(self._asked)
                return np.array(self._asked)
            self._settle()
        return None

    def tell(self, results: Results) -> None:
        for point, losses, feasible in zip(self._asked, results.losses, results.feasible, strict=True):
            self._known[point] = (losses, bool(feasible))
        self._settle()

    def _trial(self) -> tuple[Any, tuple[float, ...]]:
        distributions = self._optuna.distributions
        space = {
            f"x{axis:03d}": distributions.FloatDistribution(0.0, 1.0)
            if count is None
            else distributions.IntDistribution(0, count - 1)
            for axis, count in enumerate(self._levels)
        }
        trial = self._study.ask(space)
        values = [trial.params[name] for name in space]
        point = tuple(
            min(value, 1.0 - 1e-12) if count is None else (value + 0.5) / count
            for value, count in zip(values, self._levels, strict=True)
        )
        return trial, point

    def _settle(self) -> None:
        """Tell Optuna what is known of its trials; those beyond the budget are given up."""
        for trial, point in self._trials:
            losses, feasible = self._known.get(point, (None, False))
            if losses is None or not np.all(np.isfinite(losses)):
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
                continue
            trial.set_user_attr("violation", 0.0 if feasible else 1.0)
            self._study.tell(trial, [float(loss) for loss in losses])
        self._trials = []


def population(points: int) -> int:
    """NSGA-II's population for a budget: some ten generations or more."""
    return int(min(max(points // 12, 4), MAX_POPULATION))


def _violation(trial: Any) -> tuple[float]:
    return (trial.user_attrs.get("violation", 0.0),)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise SimexploreError("tpe and nsga2 need optuna: pip install 'simexplore[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
