"""Which differences of objectives their intervals can tell, and what follows: dominance that noise does not decide.

Objectives are compared by the logarithm of their loss (less is better), so that differences are shares. Two values are
told apart where their 80 % intervals do not meet, and where they differ by more than `LEAST` at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.explore.pareto import front
from simexplore.sim.explore.table import Direction, FloatArray, Index, interval_name

LEAST = 0.01
"""A smaller difference is none, however well it is known: nobody builds another chip for it."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubt:
    """What predictions leave open beside the intervals of times that a table has."""

    spread: float
    """Standard deviation of the logarithm of measured power about the model's."""
    powered: frozenset[str]
    """Columns that follow from an energy or a power, and err by that too."""


@dataclass(frozen=True)
class Losses:
    """Points to compare, in logarithms."""

    log: FloatArray
    """Shape (points, objectives); less is better."""
    half: FloatArray
    """Half-width of the 80 % interval of each, same shape; 0 where it is exact."""

    def better(self, at: int) -> Mask:
        """Where point `at` is better than each point, beyond both intervals; shape (points, objectives)."""
        return np.asarray(self.log - self.log[at] > self._room(at))

    def worse(self, at: int) -> Mask:
        """Where point `at` is worse than each point, beyond both intervals; shape (points, objectives)."""
        return np.asarray(self.log[at] - self.log > self._room(at))

    def _room(self, at: int) -> FloatArray:
        room: FloatArray = np.maximum(self.half + self.half[at], log1p(LEAST))
        return room

    def covered(self, at: int) -> Mask:
        """Points that are nowhere better than point `at`, as far as the intervals can tell; itself among them."""
        return np.asarray(~self.worse(at).any(axis=1))

    def take(self, rows: Index | Mask) -> Losses:
        """Some of the points."""
        return Losses(self.log[rows], self.half[rows])


def losses_of(table: pd.DataFrame, objectives: Mapping[str, Direction], doubt: Doubt) -> Losses:
    """The objectives of a table's rows, which must be above zero.

    Args:
        table: in SI units, with the ends of the intervals where an objective has any.
        objectives: which way each is better.
        doubt: what energies err by too.
    """
    signs = np.array([1.0 if way == "min" else -1.0 for way in objectives.values()])
    values = np.log(np.stack([table[name].to_numpy(np.float64) for name in objectives], axis=1))
    half = np.stack([_half_width(table, name, doubt) for name in objectives], axis=1)
    return Losses(signs * values, half)


def _half_width(table: pd.DataFrame, name: str, doubt: Doubt) -> FloatArray:
    """Of one objective: its own interval's; of what follows from an energy the time's and the power's.

    Power and time err independently. What a definition makes of an energy is taken to err in proportion to it.
    """
    if name not in doubt.powered:
        return _half_of_ends(table, name)
    prefix = name.rpartition(".")[0]
    timed = f"{prefix}.time_s" if prefix else "time_s"
    own = np.maximum(_half_of_ends(table, name), _half_of_ends(table, timed))
    return np.hypot(own, NORMAL_80 * doubt.spread)


def _half_of_ends(table: pd.DataFrame, name: str) -> FloatArray:
    low, high = (interval_name(name, end) for end in ("low", "high"))
    if low not in table or high not in table:
        return np.zeros(len(table))
    half: FloatArray = 0.5 * np.log(table[high].to_numpy(np.float64) / table[low].to_numpy(np.float64))
    return half


def different(points: Losses) -> list[int]:
    """Rows of a front such that no one covers another: what is left of it when noise is merged.

    Good points, by the sum of their losses, come first and take those with them that they cover.
    """
    kept: list[int] = []
    left = np.ones(len(points.log), dtype=np.bool_)
    for row in np.argsort(points.log.sum(axis=1), kind="stable"):
        if left[row]:
            kept.append(int(row))
            left &= ~points.covered(int(row))
    return kept


def on_front(points: Losses) -> Index:
    """Rows that no other is better than in everything, by their values."""
    return np.asarray(np.flatnonzero(front(points.log)), dtype=np.int64)
