"""What can be reached within which budgets of energy and delay, by each way of selecting experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from simexplore.sim.demand import BoolArray
from simexplore.sim.edge.baselines import every, greedy, random_fill, single_best
from simexplore.sim.edge.polyblock import select
from simexplore.sim.edge.problem import Problem

SEED = 0
"""Of the random order of experts."""

WAYS: Mapping[str, Callable[[Problem], BoolArray]] = MappingProxyType(
    {
        "polyblock": lambda problem: select(problem).chosen,
        "greedy": greedy,
        "random": lambda problem: random_fill(problem, SEED),
        "single_best": single_best,
        "all": every,
    }
)
"""Ways of selecting, by name. `all` keeps every expert ready, whatever that costs."""


class Reached(NamedTuple):
    """What one way of selecting reaches within one pair of budgets."""

    way: str
    energy_budget_j: float
    delay_budget: float
    """The delay budgets of all categories, as a share of what the slowest experts take."""
    within: bool
    """Whether the budgets hold."""
    experts: int
    cross_entropy: float
    """What answers leave open [nat]."""
    accuracy: float
    """Share of requests with the right answer."""
    energy_j: float
    """For a request on average, of the experts that the gate asks [J]."""
    delay_s: float
    """Of a request on average [s]."""


def trade_off(problem: Problem, energies_j: Sequence[float], delays: Sequence[float]) -> list[Reached]:
    """Each way of selecting under each pair of budgets.

    Args:
        problem: experts and their costs.
        energies_j: budgets of energy for a request [J].
        delays: budgets of delay as shares of what a request takes that asks the slowest experts.
    """
    slowest_s = problem.delays_s(np.ones((1, problem.experts), dtype=bool))[0]
    return [
        _reached(problem.within(energy_j, delay * slowest_s), way, delay)
        for delay in delays
        for energy_j in energies_j
        for way in WAYS
    ]


def _reached(problem: Problem, way: str, delay: float) -> Reached:
    chosen = WAYS[way](problem)
    energy_j, delay_s = problem.expected(chosen)
    one = chosen[None]
    return Reached(
        way,
        problem.energy_j,
        delay,
        bool(problem.feasible(one)[0]),
        int(chosen.sum()),
        float(np.log(problem.gate.choices) - problem.value(one)[0]),
        float(problem.accuracy(one)[0]),
        energy_j,
        float(delay_s @ problem.shares),
    )
