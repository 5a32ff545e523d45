"""Widths from errors of rows that were left out: quantiles that allow for how few there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.correction import NORMAL_80

COVERAGE = 0.8
LEAST = 1e-9
SIGMA_FLOOR = 0.01
"""Least spread that is told of rows elsewhere: repeated measurements of one kernel differ by as much."""
PRIOR_ROWS = 10.0
"""Rows that what was known before counts for beside those at hand."""


def covering(scores: FloatArray) -> float:
    """The score that 80 % of new ones do not exceed, with the (n + 1) / n of conformal prediction."""
    level = min(COVERAGE * (1.0 + 1.0 / len(scores)), 1.0)
    return max(float(np.quantile(scores, level, method="higher")), LEAST)


def covering_groups(groups: Sequence[FloatArray]) -> float:
    """The score that 80 % of new ones of a new group do not exceed, each known group counting as much as any other.

    Rows of one group err alike, so that many rows of one are no more than one witness.
    """
    groups = [group for group in groups if len(group)]
    scores = np.concatenate(groups)
    weight = np.concatenate([np.full(len(group), 1.0 / len(group)) for group in groups])
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    level = min(COVERAGE * (1.0 + 1.0 / len(scores)), 1.0)
    at = min(int(np.searchsorted(share, level - 1e-12)), len(scores) - 1)
    return max(float(scores[order][at]), LEAST)


def sigma_of(log_errors: Sequence[FloatArray]) -> float:
    """The spread that `calibration.spread` stores: of the log errors of tables, all predicted from where they stand.

    Args:
        log_errors: log(measured / predicted) of each table's rows, arrays of shape (rows,).
    """
    return max(covering_groups([np.abs(errors) for errors in log_errors]) / NORMAL_80, SIGMA_FLOOR)


def drawn_to(width: float, before: float, rows: int) -> float:
    """A width that rows tell, drawn towards what was known before: their geometric mean, weighted with the rows."""
    weight = rows / (rows + PRIOR_ROWS)
    return float(np.exp(weight * np.log(max(width, LEAST)) + (1.0 - weight) * np.log(max(before, LEAST))))


def share_kept(shift: FloatArray, truth: FloatArray) -> float:
    """The share of a predicted shift, 0 to 1 in twentieths, that brings it nearest to the truth: least absolute error.

    Ties keep the least.
    """
    shares = np.linspace(0.0, 1.0, 21)
    errors = np.abs(truth - shares[:, None] * shift).mean(axis=1) if len(truth) else np.zeros(len(shares))
    return float(shares[int(np.argmin(np.round(errors, 12)))])
