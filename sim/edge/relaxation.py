"""An upper bound on what any subset in a box of subsets tells: a linear program.

What a category's answers tell grows ever more slowly with more experts (answers are independent given the right one,
and experts are degraded versions of each other), so for any k experts A, made-up ones too, and any subset S

    told(S) <= told(A) + sum over i in S of (told of the best k of A + i - told(A)).

Each such plane holds for shares of experts as well (Nemhauser and Wolsey, 1981); the program maximises under them.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.errors import SimexploreError
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.sim.edge.gating import Gate, information
from simexplore.sim.edge.problem import Problem


class Box(NamedTuple):
    """All subsets that hold `low` and lie in `high`, each (experts,)."""

    low: BoolArray
    high: BoolArray


class Bounded(NamedTuple):
    """What is known of a box."""

    told: float
    """No subset of it within the budgets tells more [nat]."""
    shares: FloatArray
    """How much of each expert the bound takes, (experts,): a hint where good subsets are."""


class ByMonotony:
    """The bound of plain monotonic optimisation: a box tells no more than its largest subset."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def of(self, box: Box) -> Bounded:
        """The bound of one box."""
        return Bounded(float(self._problem.value(box.high[None])[0]), box.high.astype(float))


class ByPlanes:
    """The bound of the linear program, never above that by monotony.

    Raises:
        SimexploreError: SciPy is not installed.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._monotone = ByMonotony(problem)
        try:
            self._linprog = import_module("scipy.optimize").linprog
        except ImportError:
            raise SimexploreError("bounds by linear programs need SciPy: pip install 'simexplore[edge]'") from None

    def of(self, box: Box) -> Bounded:
        """The bound of one box; its largest subset is not within the budgets."""
        problem, most = self._problem, self._monotone.of(box)
        here = np.flatnonzero(box.high)
        planes, heights = self._planes(here)
        rows, limits = self._energy(here)
        lowest = np.concatenate([box.low[here], np.full(len(problem.shares), -np.inf), np.zeros(len(here) + 1)])
        highest = np.concatenate([np.ones(len(here)), np.full(len(lowest) - len(here), np.inf)])
        worth = np.concatenate([np.zeros(len(here)), problem.shares, np.zeros(len(here) + 1)])
        solved = self._linprog(
            -worth,
            A_ub=np.vstack([planes, rows]),
            b_ub=np.concatenate([heights, limits]),
            bounds=np.column_stack([lowest, highest]),
            method="highs",
        )
        if solved.status == INFEASIBLE:
            return Bounded(-np.inf, box.low.astype(float))
        if solved.status != 0:
            return most
        shares = np.zeros(problem.experts)
        shares[here] = solved.x[: len(here)]
        return Bounded(min(most.told, -float(solved.fun)), shares)

    def _planes(self, here: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Rows `told of a category - slopes x shares <= height`, and heights; columns as in `of`."""
        gate = self._problem.gate
        rows, heights = [], []
        for category, accuracy in enumerate(gate.accuracy[:, here]):
            corners = _corners(accuracy, gate)
            told = information(corners, gate.choices)
            row = np.zeros((len(corners), 2 * len(here) + len(gate.accuracy) + 1))
            row[:, : len(here)] = told[:, None] - information(_joined(corners, accuracy), gate.choices)
            row[:, len(here) + category] = 1.0
            rows.append(row)
            heights.append(told)
        return np.concatenate(rows), np.concatenate(heights)

    def _energy(self, here: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Rows and right sides of what the budget of energy asks of shares x of experts.

        Standing energy adds up. The k largest of e x add up to the least of k l + sum of u with u >= e x - l, u >= 0;
        columns of l and u come last. With e averaged over categories they are no more than what requests really take.
        """
        problem, experts, categories = self._problem, len(here), len(self._problem.shares)
        request = (problem.shares @ problem.costs.request_j)[here]
        asked = min(problem.gate.asked, experts)
        rows = np.zeros((experts + 1, 2 * experts + categories + 1))
        rows[0, :experts] = problem.costs.standing_j[here]
        rows[0, experts + categories :] = [float(asked), *np.ones(experts)]
        rows[1:, :experts] = np.diag(request)
        rows[1:, experts + categories] = -1.0
        rows[1:, experts + categories + 1 :] = -np.eye(experts)
        return rows, np.concatenate([[problem.energy_j], np.zeros(experts)])


INFEASIBLE = 2
"""How SciPy says that a linear program has no solution."""


def _corners(accuracy: FloatArray, gate: Gate) -> FloatArray:
    """Where planes touch: one expert, or as many as are asked and all alike, by each level of accuracy."""
    levels = np.unique(np.append(accuracy, 1.0 / gate.choices))
    alike = np.repeat(levels[:, None], gate.asked, axis=1)
    lone = np.full_like(alike, 1.0 / gate.choices)
    lone[:, 0] = levels
    return np.unique(np.concatenate([alike, lone]), axis=0)


def _joined(corners: FloatArray, accuracy: FloatArray) -> FloatArray:
    """The best of each corner's experts and one more: (corners, experts, asked)."""
    shape = (len(corners), len(accuracy))
    both = np.concatenate(
        [
            np.broadcast_to(corners[:, None, :], (*shape, corners.shape[1])),
            np.broadcast_to(accuracy[None, :, None], (*shape, 1)),
        ],
        axis=-1,
    )
    best: FloatArray = -np.sort(-both, axis=-1)[..., :-1]
    return best
