"""MoE² (Jin et al., arXiv:2501.09410): what its abstract claims, on fleets of our own.

No figure of the paper beyond its abstract is at hand. So what stands as published is a claim as the share of cases in
which it holds, 1; what stands as simulated is that share here. Costs of a request are our estimates; how often experts
are right is drawn from the model that `sim/edge/synthetic.py` states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.board import Link
from simexplore.sim.edge.baselines import exhaustive
from simexplore.sim.edge.fleet import Category, Expert, Server, User, costs_of, shares_of
from simexplore.sim.edge.gating import Gate, information
from simexplore.sim.edge.polyblock import select
from simexplore.sim.edge.problem import Problem
from simexplore.sim.edge.synthetic import Skills, accuracies, random_problem
from simexplore.sim.edge.tradeoff import Reached, trade_off
from simexplore.sim.studies import record_of

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "systems" / "moe2.yaml"
SUBSETS = 50
"""Random subsets of the testbed for which the gate is checked."""
SAME = 1e-9
"""Values [nat] that differ by less are the same but for rounding."""
SMALLEST, SIZES = 8, 5
"""Random fleets have 8 to 12 experts."""


def study() -> list[dict[str, Any]]:
    """A record for each claim."""
    told = table()
    problem = testbed(told["testbed"])
    reached = curves(problem, told["testbed"])
    return [
        record_of(told, figure, CLAIMS[figure["claim"]](told["testbed"], problem, reached), unit="share")
        for figure in told["figures"]
    ]


def table() -> dict[str, Any]:
    """The published table."""
    told: dict[str, Any] = read_document(PUBLISHED).data
    return told


def every_expert_j(problem: Problem) -> float:
    """Energy for a request with all experts ready, the dearest asked [J]."""
    return float(problem.energies_j(np.ones((1, problem.experts), dtype=bool))[0])


def testbed(given: Mapping[str, Any]) -> Problem:
    """The fleet of the table, each model on its own server, with budgets that everything holds."""
    experts = [
        Expert(Server(f"{kind}-{number}", load_arch(server["arch"]), Link(**server["link"])), model)
        for kind, server in given["servers"].items()
        for number, model in enumerate(server["models"])
    ]
    categories = [Category(**category) for category in given["categories"]]
    user = User(Link(**given["user"]["uplink"]), given["user"]["requests_per_s"], given["user"]["bytes_per_token"])
    parameters = np.array([float(expert.shape.parameters) for expert in experts])
    skills = Skills()
    gate = Gate(accuracies(parameters, len(categories), skills, given["skills_seed"]), skills.choices, given["asked"])
    free = np.full(len(categories), np.inf)
    return Problem(gate, shares_of(categories), costs_of(experts, categories, user), np.inf, free)


def curves(problem: Problem, given: Mapping[str, Any]) -> list[Reached]:
    """What each way of selecting reaches within the budgets of the table, shares of what all experts take."""
    most_j = every_expert_j(problem)
    return trade_off(problem, [share * most_j for share in given["energy_shares"]], given["delay_shares"])


def _optimal(given: Mapping[str, Any], _problem: Problem, _reached: Sequence[Reached]) -> float:
    """Share of random fleets in which the search finds the best of all subsets."""
    right = 0
    for seed in range(given["fleets"]):
        fleet = random_problem(SMALLEST + seed % SIZES, seed)
        best = float(fleet.value(exhaustive(fleet)[None])[0])
        right += abs(select(fleet).value - best) <= SAME
    return right / int(given["fleets"])


def _gating(_given: Mapping[str, Any], problem: Problem, _reached: Sequence[Reached]) -> float:
    """Share of random subsets and categories in which no other experts of the subset tell more."""
    gate = problem.gate
    subsets = np.random.default_rng(0).random((SUBSETS, problem.experts)) < 0.5
    told = information(gate.best(subsets), gate.choices)
    right = [
        told[row, category] >= _most_told(gate, accuracy[subset]) - SAME
        for row, subset in enumerate(subsets)
        for category, accuracy in enumerate(gate.accuracy)
    ]
    return sum(map(bool, right)) / len(right)


def _most_told(gate: Gate, accuracy: np.ndarray[Any, Any]) -> float:
    """What the best few of some experts tell, found by trying all [nat]."""
    tried = combinations(accuracy, min(gate.asked, len(accuracy)))
    return max((float(information(np.array([few]), gate.choices)[0]) for few in tried if few), default=0.0)


def _baselines(_given: Mapping[str, Any], _problem: Problem, reached: Sequence[Reached]) -> float:
    """Share of budgets within which no other way leaves less open."""
    best = {_budget(one): one.cross_entropy for one in reached if one.way == "polyblock"}
    least = {
        budget: min(one.cross_entropy for one in reached if one.within and _budget(one) == budget) for budget in best
    }
    return sum(best[budget] <= least[budget] + SAME for budget in best) / len(best)


def _budget(reached: Reached) -> tuple[float, float]:
    return reached.energy_budget_j, reached.delay_budget


def _never_more(axis: int) -> Callable[[Mapping[str, Any], Problem, Sequence[Reached]], float]:
    """Share of steps to the next larger budget of one kind, the other alike, after which no more is left open."""

    def share(_given: Mapping[str, Any], _problem: Problem, reached: Sequence[Reached]) -> float:
        ours = sorted((_budget(one), one.cross_entropy) for one in reached if one.way == "polyblock")
        others = dict.fromkeys(budget[1 - axis] for budget, _ in ours)
        lines = [[open_nat for budget, open_nat in ours if budget[1 - axis] == other] for other in others]
        steps = [second <= first + SAME for line in lines for first, second in pairwise(line)]
        return sum(steps) / len(steps)

    return share


CLAIMS: Mapping[str, Callable[[Mapping[str, Any], Problem, Sequence[Reached]], float]] = MappingProxyType(
    {
        "optimal": _optimal,
        "gating": _gating,
        "baselines": _baselines,
        "energy": _never_more(0),
        "delay": _never_more(1),
    }
)
"""How often each claim holds."""
