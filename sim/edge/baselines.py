"""Simpler ways to select experts: all, the single best, by gain, at random; and to try every subset."""

from __future__ import annotations

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.sim.edge.problem import Problem, with_each

MOST_TRIED = 20
"""Experts of which all subsets are tried: a million subsets."""


def fill(problem: Problem, low: BoolArray, high: BoolArray, wish: FloatArray) -> BoolArray:
    """`low` and the experts of `high` that still fit, tried one after the other by falling wish, then by gain."""
    chosen = low.copy()
    free = np.flatnonzero(high & ~low)
    for expert in free[np.lexsort((-problem.gains(low)[free], -wish[free]))]:
        chosen[expert] = True
        chosen[expert] = bool(problem.feasible(chosen[None])[0])
    return chosen


def greedy(problem: Problem) -> BoolArray:
    """One expert after the other: that which fits and adds most for the energy that it takes, until none fits."""
    chosen = np.zeros(problem.experts, dtype=bool)
    while True:
        fits = problem.feasible(with_each(chosen)) & ~chosen
        if not fits.any():
            return chosen
        worth = np.where(fits, problem.gains(chosen) / problem.alone_j, -np.inf)
        chosen = chosen | (np.arange(problem.experts) == np.argmax(worth))


def single_best(problem: Problem) -> BoolArray:
    """The one expert that fits and tells most alone; none where none fits."""
    alone = np.eye(problem.experts, dtype=bool)
    told = np.where(problem.feasible(alone), problem.value(alone), -np.inf)
    best: BoolArray = alone[np.argmax(told)] & np.isfinite(told.max())
    return best


def random_fill(problem: Problem, seed: int) -> BoolArray:
    """Experts in random order, each taken if it still fits."""
    order = np.random.default_rng(seed).permutation(problem.experts)
    wish = np.empty(problem.experts)
    wish[order] = -np.arange(problem.experts, dtype=float)
    none, every = np.zeros(problem.experts, dtype=bool), np.ones(problem.experts, dtype=bool)
    return fill(problem, none, every, wish)


def every(problem: Problem) -> BoolArray:
    """All experts, whatever they cost."""
    return np.ones(problem.experts, dtype=bool)


def exhaustive(problem: Problem) -> BoolArray:
    """The best of all subsets within the budgets.

    Raises:
        SimexploreError: more than `MOST_TRIED` experts.
    """
    if problem.experts > MOST_TRIED:
        raise SimexploreError(f"trying all subsets: expected at most {MOST_TRIED} experts, found {problem.experts}")
    numbers = np.arange(2**problem.experts)
    subsets = (numbers[:, None] >> np.arange(problem.experts) & 1).astype(bool)
    inside = subsets[problem.feasible(subsets)]
    chosen: BoolArray = inside[np.argmax(problem.value(inside))]
    return chosen
