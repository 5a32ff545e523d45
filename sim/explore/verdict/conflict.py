"""Which two objectives a choice is between."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from simexplore.sim.explore.table import FloatArray

FEWEST = 3
"""Points from which an order can be told."""
ALIKE = 0.05
"""Difference of two correlations that tells nothing."""


def conflict(losses: FloatArray) -> tuple[int, int, float]:
    """The pair of objectives that conflict most, and how much: Spearman's rank correlation of their losses.

    It is -1 where the best in one is the worst in the other, and 1 where they agree. Of pairs that conflict as much,
    within `ALIKE`, the first is told: users name first what they care about most.

    Args:
        losses: shape (points, objectives), two or more objectives; less is better.
    """
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in losses.T]).astype(np.float64)
    pairs = [(_correlation(ranks[a], ranks[b]), a, b) for a, b in combinations(range(len(ranks)), 2)]
    least = min(pairs)[0]
    found, first, second = next(pair for pair in pairs if pair[0] <= least + ALIKE)
    return first, second, found


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Of ranks; 1 where one of the objectives is the same for all points, or where there are too few to tell."""
    if len(a) < FEWEST or not np.ptp(a) or not np.ptp(b):
        return 1.0
    return float(np.corrcoef(a, b)[0, 1])
