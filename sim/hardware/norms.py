"""The smooth maximum: how times of resources that work side by side add up, `(t_1^p + t_2^p + …)^(1/p)`.

With p = 1 nothing overlaps, with a large p the longest alone counts.
"""

from __future__ import annotations

import numpy as np

from simexplore.sim.demand import FloatArray

SQUARED_TWICE = 4.0
"""The exponent that most libraries have; powers and roots of it are products and square roots, which are fast."""


def norm(terms: tuple[FloatArray, ...], p: float) -> FloatArray:
    """The p-norm of terms that are not negative."""
    return root(power_sum(terms, p), p)


def power_sum(terms: tuple[FloatArray, ...], p: float) -> FloatArray:
    """The sum of the terms' p-th powers."""
    first, *others = (power(term, p) for term in terms)
    for other in others:
        first = first + other
    return first


def power(x: FloatArray, p: float) -> FloatArray:
    """x^p; tile search spends most of its time here."""
    if p == SQUARED_TWICE:
        square = x * x
        return square * square
    return np.power(x, p)


def root(x: FloatArray, p: float) -> FloatArray:
    """x^(1/p)."""
    return np.sqrt(np.sqrt(x)) if p == SQUARED_TWICE else np.power(x, 1.0 / p)
