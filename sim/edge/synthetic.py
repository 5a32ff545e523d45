"""A stated model of how often experts are right, and random selections for tests.

No benchmark of language models stands behind it. It says what any fleet has: larger models are right more often, models
differ in what they are good at, and some categories are harder. All of its numbers are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simexplore.sim.demand import FloatArray
from simexplore.sim.edge.gating import Gate
from simexplore.sim.edge.problem import Costs, Problem


@dataclass(frozen=True)
class Skills:
    """How accuracy is drawn: logit of knowing = by_size ln(parameters / middle) + talent - difficulty."""

    choices: int = 4
    """A question's choices; an expert that does not know guesses."""
    middle: float = 7e9
    """Parameters of the model that knows the right answer half the time, all else equal."""
    by_size: float = 0.5
    """What e times the parameters add to the logit."""
    talent: float = 0.7
    """Standard deviation of an expert's talent for a category."""
    difficulty: float = 0.5
    """Standard deviation of the difficulty of categories."""


def accuracies(parameters: FloatArray, categories: int, skills: Skills, seed: int) -> FloatArray:
    """How often each expert is right, (categories, experts).

    a = 1/M + (1 - 1/M) / (1 + exp(-logit)).

    Args:
        parameters: of each expert's model, (experts,).
        categories: how many there are.
        skills: the model.
        seed: of talents and difficulties.
    """
    rng = np.random.default_rng(seed)
    talent = rng.normal(0.0, skills.talent, (categories, len(parameters)))
    difficulty = rng.normal(0.0, skills.difficulty, (categories, 1))
    logit = skills.by_size * np.log(np.asarray(parameters) / skills.middle) + talent - difficulty
    chance = 1.0 / skills.choices
    known: FloatArray = chance + (1.0 - chance) / (1.0 + np.exp(-logit))
    return known


def random_problem(experts: int, seed: int, categories: int = 6, asked: int = 2) -> Problem:
    """A random selection: costs are log-normal and rise with size; the budgets let about a quarter of the experts in.

    Args:
        experts: how many there are to select from.
        seed: of all that is drawn.
        categories: how many there are.
        asked: experts that one request asks at most.
    """
    rng = np.random.default_rng(seed)
    parameters = 7e9 * np.exp(rng.normal(0.0, 1.0, experts))
    skills = Skills()
    gate = Gate(accuracies(parameters, categories, skills, seed), skills.choices, asked)
    size = parameters / parameters.mean()
    scatter = np.exp(rng.normal(0.0, 0.4, (4, categories, experts)))
    costs = Costs(
        standing_j=100.0 * size**0.5 * scatter[0, 0],
        request_j=100.0 * size * scatter[1],
        service_s=2.0 * size * scatter[2],
        transfer_s=0.05 * scatter[3],
    )
    problem = Problem(gate, rng.dirichlet(np.full(categories, 2.0)), costs, 1.0, np.ones(categories))
    all_of_them = np.ones((1, experts), dtype=bool)
    energy_j = rng.uniform(0.15, 0.4) * float(problem.energies_j(all_of_them)[0])
    return problem.within(energy_j, rng.uniform(0.8, 1.2) * problem.delays_s(all_of_them)[0])
