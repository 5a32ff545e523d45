"""Widths from errors of rows that were left out: quantiles that allow for how few there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class Table(NamedTuple):
    """Log errors of rows that all stand at one distance from what was measured."""

    log_errors: FloatArray
    """log(measured / predicted), shape (rows,)."""
    known: float
    """Spread of the log error that the machine tells of such rows, were they nearer."""


def spread_of(tables: Sequence[Table]) -> float:
    """What distance adds to the spread, as squares add: with it 80 % of the tables' rows lie within their intervals.

    This is what `calibration.spread` stores. Tables count alike, and no distance adds less than `SIGMA_FLOOR`.
    """
    low, high = SIGMA_FLOOR, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        scores = [np.abs(table.log_errors) / np.hypot(table.known, middle) for table in tables]
        low, high = (low, middle) if covering_groups(scores) <= NORMAL_80 else (middle, high)
    return high


def rising(steps: Sequence[Sequence[Table]]) -> list[float]:
    """`spread_of` each step, from near to far, none below a nearer one.

    Neighbours that would fall are taken together until none does (pool adjacent violators: Ayer et al., Annals of
    Mathematical Statistics 26, 1955), for to err less farther away is chance of the few tables that there are.
    """
    blocks: list[tuple[list[Table], int]] = []
    for step in steps:
        blocks.append((list(step), 1))
        while len(blocks) > 1 and spread_of(blocks[-1][0]) < spread_of(blocks[-2][0]):
            (last, more), (tables, count) = blocks.pop(), blocks.pop()
            blocks.append((tables + last, count + more))
    return [spread_of(tables) for tables, count in blocks for _ in range(count)]


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
