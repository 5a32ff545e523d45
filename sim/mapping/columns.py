"""Helpers that every mapping shares: candidates as rows, pairs of choices, counts in what hardware works in."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.demand import FloatArray

Values = TypeVar("Values", bound=NDArray[Any])


def row(values: list[float] | tuple[float, ...]) -> FloatArray:
    """Values of the candidates, shape (1, candidates)."""
    return np.asarray(values, dtype=np.float64)[None, :]


def constant(value: float) -> FloatArray:
    """One value for all rows and candidates, shape (1, 1); a column of machines gives one value a row, (rows, 1)."""
    return np.atleast_2d(np.asarray(value, dtype=np.float64))


def ceil_div(amount: FloatArray, unit: FloatArray | float) -> FloatArray:
    """How many units cover the amount."""
    return np.ceil(amount / unit)


class Pairs(NamedTuple):
    """Candidates that are pairs of two choices, the second running faster: arrays (rows, first x second)."""

    first: int
    second: int

    def of_first(self, x: Values) -> Values:
        """What follows from the first choice alone; what is the same for all stays one column."""
        return x if x.shape[1] == 1 else cast(Values, np.repeat(x, self.second, axis=1))

    def of_second(self, y: Values) -> Values:
        """What follows from the second choice alone."""
        return y if y.shape[1] == 1 else cast(Values, np.tile(y, (1, self.first)))
