"""What answers tell: against Bayes' rule over all answers, and the properties that selection rests on."""

from __future__ import annotations

from itertools import combinations, product
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.sim.edge.gating import Gate, information, patterns, share_right

CHOICES = 4
ACCURACIES = st.lists(st.floats(0.26, 0.98), min_size=1, max_size=3)


def by_bayes(accuracy: list[float]) -> tuple[float, float]:
    """Information and share of right answers, from all answers to a question whose right choice is any."""
    told, right = 0.0, 0.0
    for answers in product(range(CHOICES), repeat=len(accuracy)):
        joint = np.array(
            [
                np.prod([a if told == truth else (1.0 - a) / 3.0 for a, told in zip(accuracy, answers, strict=True)])
                for truth in range(CHOICES)
            ]
        ) / CHOICES  # fmt: skip
        posterior = joint / joint.sum()
        told += float((joint * np.log(posterior)).sum())
        right += float(joint.max())
    return log(CHOICES) + told, right


@settings(max_examples=25, deadline=None)
@given(ACCURACIES)
def test_answers_tell_what_bayes_rule_says(accuracy: list[float]) -> None:
    told, right = by_bayes(accuracy)
    assert information(np.array(accuracy), CHOICES) == pytest.approx(told, abs=1e-12)
    assert share_right(np.array(accuracy), CHOICES) == pytest.approx(right, abs=1e-12)


def test_one_answer_by_hand() -> None:
    assert information(np.array([0.7]), 4) == pytest.approx(log(4) + 0.7 * log(0.7) + 0.3 * log(0.1))
    assert information(np.array([0.25, 0.25]), 4) == pytest.approx(0.0, abs=1e-15)
    assert share_right(np.array([0.7, 0.6]), 4) == pytest.approx(0.7)  # the better one decides
    assert share_right(np.array([0.7, 0.7, 0.7]), 2) == pytest.approx(0.7**3 + 3 * 0.7**2 * 0.3)  # the majority does


def test_patterns_stand_for_all_answers() -> None:
    assert sum(pattern.alike for pattern in patterns(3, 4)) == 4**3
    assert len(patterns(3, 4)) == 15
    assert {pattern.answers: pattern.alike for pattern in patterns(2, 3)} == {
        (0, 0): 1, (0, 1): 2, (1, 0): 2, (1, 1): 2, (1, 2): 2,
    }  # fmt: skip
    assert all(max(pattern.answers) <= 1 for pattern in patterns(2, 2))


def some_gate(seed: int, asked: int, experts: int = 7) -> Gate:
    return Gate(np.random.default_rng(seed).uniform(0.26, 0.97, (3, experts)), CHOICES, asked)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_gate_trained_once_asks_the_best_of_every_subset(seed: int, asked: int) -> None:
    gate = some_gate(seed, asked)
    subset = np.random.default_rng(seed + 1).random(7) < 0.6
    members = np.flatnonzero(subset)
    asks = gate.asks(subset)
    for category, accuracy in enumerate(gate.accuracy):
        few = min(asked, len(members))
        told = information(gate.best(subset[None])[0, category], CHOICES)
        best = max(float(information(accuracy[list(some)], CHOICES)) for some in combinations(members, few))
        assert told == pytest.approx(best, abs=1e-12)
        assert asks[category].sum() == few
        assert information(accuracy[asks[category]], CHOICES) == pytest.approx(best, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_more_experts_tell_more_but_ever_less_more(seed: int, asked: int) -> None:
    gate, rng = some_gate(seed, asked), np.random.default_rng(seed)
    larger = rng.random(7) < 0.7
    larger[0] = False
    smaller = larger & (rng.random(7) < 0.5)
    added = np.arange(7) == 0
    told = information(gate.best(np.stack([smaller, smaller | added, larger, larger | added])), CHOICES)
    assert np.all(told[2] >= told[0] - 1e-12)
    assert np.all(told[1] - told[0] >= told[3] - told[2] - 1e-12)


def test_training_counts_right_answers() -> None:
    gate = Gate.trained(np.array([[70.0, 0.0]]), np.array([[99.0, 99.0]]), 4, 1)
    assert gate.accuracy == pytest.approx(np.array([[0.7025, 0.25]]))  # 70.25 of 100; never below chance
    assert gate.weights == pytest.approx(np.array([[log(0.7025 * 3 / 0.2975), 0.0]]))


@pytest.mark.parametrize("accuracy", [0.2, 1.0])
def test_impossible_accuracies_are_refused(accuracy: float) -> None:
    with pytest.raises(SimexploreError, match="expected 1/4 to below 1"):
        Gate(np.array([[accuracy]]), 4, 1)
