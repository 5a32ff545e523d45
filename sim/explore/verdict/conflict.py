"""Which two objectives a choice is between."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from simexplore.sim.explore.table import FloatArray

FEWEST = 3
"""Points from which an order can be told."""
ALIKE = 0.05
"""Difference of two correlations that tells nothing."""


def conflict(losses: FloatArray) -> tuple[int, int, float]:
    """The pair of objectives that conflict most, and how much: Spearman's rank correlation of their losses.

    It is -1 where the best in one is the worst in the other, and 1 where they agree. Of pairs that conflict as much,
    within `ALIKE`, the first is told: users name first what they care about most. Of an objective that is
    the same for all points, and of too few points to tell, it is taken for 1.

    Args:
        losses: shape (points, objectives), two or more objectives; less is better.
    """
    known = np.ones((losses.shape[1],) * 2)
    if len(losses) >= FEWEST:
        known = pd.DataFrame(losses).corr(method="spearman").fillna(1.0).to_numpy()
    pairs = [(float(known[a, b]), a, b) for a, b in combinations(range(len(known)), 2)]
    least = min(pairs)[0]
    found, first, second = next(pair for pair in pairs if pair[0] <= least + ALIKE)
    return first, second, found
