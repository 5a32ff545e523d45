"""What the answers of several experts tell together, and which of them to ask.

A question has M choices, one of them right. An expert is right with a probability a, and otherwise gives one of the
wrong choices, all alike; experts err independently of each other. Then the best a gate can do is to weigh each answer
by log(a (M - 1) / (1 - a)) and to trust the choice with the largest sum (Nitzan and Paroush, 1982, for M = 2), and a
weight depends on its own expert alone. So weights that are best for all experts are best for every subset of them, and
the best few of a subset are those with the largest weights: a gate is trained once, and experts are selected later.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log
from typing import NamedTuple

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.sim.demand import BoolArray, FloatArray


class Pattern(NamedTuple):
    """Answers that differ only in the names of the wrong choices: 0 is the right one, others count upwards."""

    answers: tuple[int, ...]
    alike: int
    """How many there are of it."""


@cache
def patterns(asked: int, choices: int) -> tuple[Pattern, ...]:
    """All patterns of the answers of `asked` experts to a question with so many choices."""
    found = [Pattern((), 1)]
    for _ in range(asked):
        longer = []
        for pattern in found:
            named = max((0, *pattern.answers))
            longer += [Pattern((*pattern.answers, answer), pattern.alike) for answer in range(named + 1)]
            longer.append(Pattern((*pattern.answers, named + 1), pattern.alike * (choices - 1 - named)))
        found = [pattern for pattern in longer if pattern.alike]
    return tuple(found)


def information(accuracy: FloatArray, choices: int) -> FloatArray:
    """What the experts' answers tell about the right choice: log M minus the cross-entropy of the best gate [nat].

    I = log M + sum over answers x of P(x | right is 0) log P(right is 0 | x).

    Args:
        accuracy: probability that each is right, (..., experts), within 1 / choices to below 1.
        choices: M.
    """
    told = np.full(accuracy.shape[:-1], log(choices))
    for probability, weights in _outcomes(accuracy, choices):
        told += probability * np.log(weights[0] / sum(weights))
    return told


def share_right(accuracy: FloatArray, choices: int) -> FloatArray:
    """How often the choice with the largest weight is the right one; shapes as in `information`."""
    right = np.zeros(accuracy.shape[:-1])
    for probability, weights in _outcomes(accuracy, choices):
        top = np.maximum.reduce(weights)
        level = sum(np.isclose(weight, top).astype(float) for weight in weights)
        right += probability * np.isclose(weights[0], top) / level
    return right


def _outcomes(accuracy: FloatArray, choices: int) -> list[tuple[FloatArray, list[FloatArray]]]:
    """For each pattern the probability of its answers, and the odds of each choice; those that none gave last."""
    wrong = (1.0 - accuracy) / (choices - 1)
    ratio = accuracy / wrong
    outcomes = []
    for answers, alike in patterns(accuracy.shape[-1], choices):
        probability = np.full(accuracy.shape[:-1], float(alike))
        weights = [np.ones(accuracy.shape[:-1]) for _ in range(choices)]
        for expert, answer in enumerate(answers):
            probability = probability * (accuracy if answer == 0 else wrong)[..., expert]
            weights[answer] = weights[answer] * ratio[..., expert]
        outcomes.append((probability, weights))
    return outcomes


@dataclass(frozen=True, eq=False)
class Gate:
    """Trained on all experts: how often each is right on the requests of each category."""

    accuracy: FloatArray
    """(categories, experts), within 1 / choices to below 1."""
    choices: int
    asked: int
    """Experts that one request asks at most."""

    def __post_init__(self) -> None:
        """Raises: SimexploreError: a probability below chance, or of certainty."""
        if not (np.all(self.accuracy >= 1.0 / self.choices) and np.all(self.accuracy < 1.0)):
            raise SimexploreError(f"accuracy of experts: expected 1/{self.choices} to below 1, found others")

    @classmethod
    def trained(cls, right: FloatArray, answered: FloatArray, choices: int, asked: int) -> Gate:
        """The gate of largest likelihood given how often experts were right, with one answer by chance added.

        Args:
            right: answers that were right, (categories, experts).
            answered: answers in all, broadcast against `right`.
            choices: M.
            asked: experts that one request asks at most.
        """
        chance = 1.0 / choices
        return cls(np.maximum((right + chance) / (answered + 1.0), chance), choices, asked)

    @property
    def weights(self) -> FloatArray:
        """What an answer counts: log(a (M - 1) / (1 - a)), (categories, experts)."""
        weights: FloatArray = np.log(self.accuracy * (self.choices - 1) / (1.0 - self.accuracy))
        return weights

    def best(self, chosen: BoolArray) -> FloatArray:
        """Accuracies of the experts that are asked, the best first; where there are too few, one by chance.

        Args:
            chosen: which experts are ready, (subsets, experts).

        Returns:
            (subsets, categories, asked).
        """
        chance = 1.0 / self.choices
        ready = np.where(chosen[:, None, :], self.accuracy[None], chance)
        short = self.asked - ready.shape[-1]
        if short > 0:
            ready = np.concatenate([ready, np.full((*ready.shape[:-1], short), chance)], axis=-1)
        top: FloatArray = -np.sort(-np.partition(ready, -self.asked, axis=-1)[..., -self.asked :], axis=-1)
        return top

    def asks(self, chosen: BoolArray) -> BoolArray:
        """Which experts of one subset are asked by each category, (categories, experts): those of largest weight."""
        ready = np.where(chosen, self.weights, -np.inf)
        rank = np.argsort(np.argsort(-ready, axis=-1, kind="stable"), axis=-1, kind="stable")
        asks: BoolArray = (rank < self.asked) & np.isfinite(ready)
        return asks
