"""The best subset of experts within budgets, by discrete monotonic optimisation.

Value and costs only grow with the subset. So a box of subsets tells no more than its largest one, and where that is
over budget some prefix of any order of its experts is too: no subset within the budgets holds all of that prefix. The
box then falls into smaller ones, each of which lacks one expert of the prefix and holds those before it. These boxes
are the polyblock whose corners close in on the best subset from above (Tuy, Minoux and Hoai-Phuong, 2006, Discrete
monotonic optimization, SIAM J. Optim. 17(1), 78-97); the box with the highest bound is always split first.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from math import inf, log

import numpy as np

from simexplore.sim.demand import BoolArray
from simexplore.sim.edge.baselines import fill
from simexplore.sim.edge.problem import Problem, with_each
from simexplore.sim.edge.relaxation import Bounded, Box, ByMonotony, ByPlanes


@dataclass(frozen=True, eq=False)
class Selection:
    """A subset and what is proven of it."""

    chosen: BoolArray
    """(experts,)."""
    value: float
    """What its answers tell [nat]."""
    bound: float
    """No subset within the budgets tells more [nat]."""
    open_nat: float
    """What answers leave open that tell nothing, log M [nat]."""
    boxes: int
    """Boxes that were bounded."""

    @property
    def cross_entropy(self) -> float:
        """What the answers leave open [nat]: the loss that the selection minimises."""
        return self.open_nat - self.value

    @property
    def gap(self) -> float:
        """By which share the cross-entropy may be above the least there is."""
        least = self.open_nat - self.bound
        return 0.0 if self.bound <= self.value else (self.bound - self.value) / least


def select(
    problem: Problem, gap: float = 0.0, most_boxes: float = inf, bounds: ByMonotony | ByPlanes | None = None
) -> Selection:
    """The best subset of experts.

    Args:
        problem: experts, costs and budgets.
        gap: ends as soon as the cross-entropy is proven to be within this share of the least.
        most_boxes: ends after so many boxes, proven or not.
        bounds: how boxes are bounded; by default by linear programs, which need SciPy.
    """
    return _Search(problem, gap, bounds or ByPlanes(problem)).run(most_boxes)


class _Search:
    """The state of one search."""

    def __init__(self, problem: Problem, gap: float, bounds: ByMonotony | ByPlanes) -> None:
        self._problem, self._gap, self._bounds = problem, gap, bounds
        self._chosen = np.zeros(problem.experts, dtype=bool)
        self._value = float(problem.value(self._chosen[None])[0])
        self._open_nat = log(problem.gate.choices)
        self._open: list[tuple[float, int, Box, Bounded]] = []
        self._numbers = count()
        self._boxes = 0

    def run(self, most_boxes: float) -> Selection:
        experts = self._problem.experts
        self._add(Box(np.zeros(experts, dtype=bool), np.ones(experts, dtype=bool)), inf)
        while self._open and self._boxes < most_boxes:
            if self._is_close(-self._open[0][0]):
                break
            negative, _, box, bounded = heapq.heappop(self._open)
            for smaller in self._split(box, bounded):
                self._add(smaller, -negative)
        bound = max(self._value, -self._open[0][0] if self._open else -inf)
        return Selection(self._chosen, self._value, bound, self._open_nat, self._boxes)

    def _is_close(self, bound: float) -> bool:
        return bound - self._value <= max(self._gap, EXACT) * (self._open_nat - bound)

    def _add(self, box: Box, above: float) -> None:
        """Keep a box that may hold a better subset; its bound is no higher than `above`, that of the box around it."""
        box = self._reduced(box)
        if float(self._problem.value(box.high[None])[0]) <= self._value:
            return
        self._boxes += 1
        if self._problem.feasible(box.high[None])[0]:
            self._found(box.high)
            return
        bounded = self._bounds.of(box)
        if min(above, bounded.told) > self._value:
            self._found(fill(self._problem, box.low, box.high, bounded.shares))
            heapq.heappush(self._open, (-min(above, bounded.told), next(self._numbers), box, bounded))

    def _reduced(self, box: Box) -> Box:
        """The box without the experts that its low corner leaves no room for."""
        fits = self._problem.feasible(with_each(box.low))
        return Box(box.low, box.low | (box.high & fits))

    def _found(self, chosen: BoolArray) -> None:
        value = float(self._problem.value(chosen[None])[0])
        if value > self._value:
            self._chosen, self._value = chosen, value

    def _split(self, box: Box, bounded: Bounded) -> list[Box]:
        """The boxes that are left of one without its corner: expert after expert, until together they cost too much."""
        free = np.flatnonzero(box.high & ~box.low)
        dear = (bounded.shares + TIE * self._problem.gains(box.low)) * self._problem.alone_j
        order = free[np.argsort(-dear[free], kind="stable")]
        low, boxes = box.low.copy(), []
        for expert in order:
            high = box.high.copy()
            high[expert] = False
            boxes.append(Box(low.copy(), high))
            low[expert] = True
            if not self._problem.feasible(low[None])[0]:
                break
        return boxes


EXACT = 1e-12
"""A gap below which values are the same but for rounding."""
TIE = 1e-3
"""What an expert's gain [1/nat] counts beside its share in the bound where boxes are split: it settles equal shares."""
