"""The smooth maximum: how times of resources that work side by side add up, `(t_1^p + t_2^p + …)^(1/p)`.

With p = 1 nothing overlaps, with a large p the longest alone counts. Powers of large and small numbers leave the range
of a double, so terms are then divided by the largest of them first. That costs time, and tile search spends most of
its time here; so it is done only where the sum of the powers shows that it must be.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simexplore.sim.demand import FloatArray

SQUARED_TWICE = 4.0
"""The exponent that most libraries have; powers and roots of it are products and square roots, which are fast."""
LEAST, MOST = 1e-290, 1e290
"""Between these a sum of powers has all its digits: no power that matters to it has left the range of a double."""


def norm(terms: tuple[FloatArray, ...], p: float) -> FloatArray:
    """The p-norm of terms that are not negative, of any size; infinite where one of them is.

    Args:
        terms: arrays that broadcast to one shape, in one unit.
        p: 1 or more; infinite: the longest alone counts.
    """
    if p == np.inf:
        return _largest(terms)
    with np.errstate(over="ignore", under="ignore"):
        total = _power_sum(terms, p)
    return _root(total, p) if _has_all_digits(total) else _by_largest(terms, p)


def norm_of_counts(
    counted: tuple[FloatArray, ...], single: tuple[FloatArray, ...], p: float
) -> Callable[[FloatArray], FloatArray]:
    """The norm of terms of which some come several times one after another, as a function of how often.

        n -> ((n c_1)^p + (n c_2)^p + … + s_1^p + …)^(1/p)

    The sums of the terms' powers are found once for all counts.
    """
    if p == np.inf:
        return lambda count: np.maximum(count * _largest(counted), _largest(single))
    with np.errstate(over="ignore", under="ignore"):
        each, once = _power_sum(counted, p), _power_sum(single, p)
    each_is_exact = bool(each.size and each.min() > LEAST)

    def of(count: FloatArray) -> FloatArray:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # no CTA of infinite work is not a number
            total = _power(count, p) * each + once if each_is_exact else each
        if each_is_exact and _has_all_digits(total):
            return _root(total, p)
        return norm((count * norm(counted, p), *single), p)

    return of


def _has_all_digits(total: FloatArray) -> bool:
    return bool(total.size and total.min() > LEAST and total.max() < MOST)


def _by_largest(terms: tuple[FloatArray, ...], p: float) -> FloatArray:
    """The norm of terms divided by the largest of them, times that; each of their powers is at most 1."""
    largest = _largest(terms)
    unit = np.where((largest > 0.0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(under="ignore"):
        return unit * _root(_power_sum(tuple(term / unit for term in terms), p), p)


def _largest(terms: tuple[FloatArray, ...]) -> FloatArray:
    largest = terms[0]
    for term in terms[1:]:
        largest = np.maximum(largest, term)
    return largest


def _power_sum(terms: tuple[FloatArray, ...], p: float) -> FloatArray:
    first, *others = (_power(term, p) for term in terms)
    for other in others:
        first = first + other
    return first


def _power(x: FloatArray, p: float) -> FloatArray:
    if p == SQUARED_TWICE:
        square = x * x
        return square * square
    return np.power(x, p)


def _root(x: FloatArray, p: float) -> FloatArray:
    return np.sqrt(np.sqrt(x)) if p == SQUARED_TWICE else np.power(x, 1.0 / p)
