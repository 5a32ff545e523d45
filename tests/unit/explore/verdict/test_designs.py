"""Designs that a verdict names: told apart by their intervals, the knee by hand, the ends, and what beats today."""

from __future__ import annotations

from math import log, log1p

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.explore.verdict.apart import LEAST, Doubt, Losses, different, losses_of, on_front
from simexplore.sim.explore.verdict.conflict import conflict
from simexplore.sim.explore.verdict.designs import BEST, BETWEEN, EVERYTHING, FEWEST, KNEE, MOST, NEARLY, chosen, knee


def exact(*points: tuple[float, ...]) -> Losses:
    """Points without intervals, told apart by `LEAST` alone."""
    values = np.log(np.array(points))
    return Losses(values, np.zeros_like(values))


def test_losses_are_logarithms_with_the_half_width_of_their_interval() -> None:
    table = pd.DataFrame(
        {
            "time_s": [2.0, 4.0], "time_low_s": [1.0, 4.0], "time_high_s": [4.0, 4.0],
            "tokens_per_s": [8.0, 2.0], "energy_j": [1.0, 3.0], "area_mm2": [5.0, 5.0],
        }
    )  # fmt: skip
    doubt = Doubt(0.25, frozenset({"energy_j", "images_per_j"}))
    asked = {"time_s": "min", "tokens_per_s": "max", "energy_j": "min", "area_mm2": "min"}
    found = losses_of(table, asked, doubt)
    assert found.log[:, 1] == pytest.approx([-log(8.0), -log(2.0)])
    assert found.half[0] == pytest.approx([log(2.0), 0.0, np.hypot(log(2.0), 0.25 * NORMAL_80), 0.0])
    assert found.half[1] == pytest.approx([0.0, 0.0, 0.25 * NORMAL_80, 0.0])


def test_points_are_told_apart_where_intervals_do_not_meet() -> None:
    points = Losses(np.array([[0.0], [0.29], [0.31]]), np.array([[0.1], [0.2], [0.2]]))
    assert points.better(0)[:, 0].tolist() == [False, False, True]
    assert points.worse(2)[:, 0].tolist() == [True, False, False]
    assert points.covered(0).tolist() == [True, True, True], "nothing is better than the best"
    assert points.covered(2).tolist() == [False, True, True]


def test_a_hundredth_is_no_difference_however_well_it_is_known() -> None:
    points = Losses(np.array([[0.0], [0.99 * log1p(LEAST)], [1.01 * log1p(LEAST)]]), np.zeros((3, 1)))
    assert points.better(0)[:, 0].tolist() == [False, False, True]


def test_the_pair_that_conflicts_most_is_told_with_its_correlation() -> None:
    losses = np.array([[1.0, 1.0, 4.0], [2.0, 3.0, 3.0], [3.0, 2.0, 2.0], [4.0, 4.0, 1.0]])
    assert conflict(losses) == pytest.approx((0, 2, -1.0))
    assert conflict(losses[:, [0, 1]]) == pytest.approx((0, 1, 0.8))  # 1 - 6 (0 + 1 + 1 + 0) / (4 x 15)
    # The second and third conflict as much as the first and third, within what tells nothing: the first goes first.
    assert conflict(np.array([[1.0, 1.0, 3.0], [2.0, 2.0, 2.0], [3.0, 3.0, 1.0]]))[:2] == (0, 2)
    assert conflict(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))[2] == 1.0, "what is always the same has no order"
    # Equal values share a rank: 1.5, 1.5, 3, 4 against 4, 3, 2, 1.
    ties = np.array([[1.0, 4.0], [1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert conflict(ties)[2] == pytest.approx(-4.5 / (4.5 * 5.0) ** 0.5)


def test_the_knee_is_where_the_curve_is_farthest_below_its_chord() -> None:
    # Scaled to [0, 1] the sums are 1, 0.5 + 0.25, 0.25 + 0.4 and 1: the third bends most.
    front = np.array([[0.0, 4.0], [2.0, 1.0], [1.0, 1.6], [4.0, 0.0]])
    assert knee(front) == 2
    # A third objective that goes along with the first changes nothing.
    assert knee(np.column_stack([front, 10.0 * front[:, 0]])) == 2
    assert knee(np.array([[3.0], [1.0]])) == 1


def test_designs_are_ends_knee_and_what_beats_today() -> None:
    points = exact((1.0, 8.0), (2.0, 2.0), (8.0, 1.0), (4.0, 1.6), (3.0, 3.0))
    found = chosen(points, today=4)
    # The knee beats today in everything, and is not named twice; three are enough, so nothing is filled in.
    assert [(name.row, name.why, name.objective) for name in found] == [(0, BEST, 0), (1, KNEE, None), (2, BEST, 1)]


def test_what_lies_between_is_filled_in_up_to_three() -> None:
    points = exact((1.0, 8.0), (2.0, 3.9), (4.0, 1.9), (8.0, 1.0))
    two = [name for name in chosen(points) if name.why != BETWEEN]
    assert len(chosen(points)) == len(two) == 3
    near = Losses(points.log, np.array([[0.3, 0.0], [0.3, 0.0], [0.0, 0.0], [0.3, 0.3]]))
    assert len({name.row for name in chosen(near)}) >= 2


def test_what_beats_today_in_everything_is_named_beside_the_knee() -> None:
    points = exact((1.0, 9.0), (2.5, 2.5), (9.0, 1.0), (5.0, 2.0), (6.0, 2.2))
    found = {(name.why, name.objective): name.row for name in chosen(points, today=4)}
    assert found == {(BEST, 0): 0, (KNEE, None): 1, (EVERYTHING, None): 3, (BEST, 1): 2}


def test_what_is_best_but_for_a_point_that_today_covers_is_nearly_best() -> None:
    # The first is better than today by two in a hundred, which intervals of a tenth can't tell.
    log_values = np.log(np.array([[1.0, 3.0], [1.02, 1.0], [1.05, 0.9], [1.5, 0.3], [4.0, 0.25]]))
    points = Losses(log_values, np.array([[0.05, 0.0]] * 5))
    found = {(name.why, name.objective): name.row for name in chosen(points, today=1)}
    assert found == {(NEARLY, 0): 2, (KNEE, None): 3, (BEST, 1): 4}


def test_nothing_is_named_that_today_covers() -> None:
    noisy = Losses(np.log(np.array([[1.0, 1.0], [1.05, 0.95], [0.9, 1.1]])), np.full((3, 2), 0.1))
    assert chosen(noisy, today=0) == []
    one = exact((1.0, 1.0), (0.5, 2.0))
    assert [name.row for name in chosen(one, today=0)] == [1]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), objectives=st.integers(1, 3))
def test_any_two_designs_are_told_apart_and_lie_on_the_front(data: st.DataObject, objectives: int) -> None:
    shape = (data.draw(st.integers(2, 25)), objectives)
    log_values = data.draw(arrays(np.float64, shape, elements=st.integers(0, 12))) / 8.0
    half = data.draw(arrays(np.float64, shape, elements=st.integers(0, 3))) / 16.0
    points = Losses(log_values, half)
    found = chosen(points, today=0)
    assert len(found) <= MOST
    assert len({name.row for name in found}) == len(found)
    front = set(on_front(points).tolist())
    for one in found:
        assert one.row in front - {0}
        assert points.worse(0)[one.row].any(), "it is better than today in something"
        for other in found:
            if other.row != one.row:
                apart = points.log[other.row] - points.log[one.row] > np.maximum(
                    points.half[one.row] + points.half[other.row], log1p(LEAST)
                )
                assert apart.any()
    if len(found) < FEWEST and found:
        left = front - {0} - {name.row for name in found}
        assert not any(
            points.worse(0)[row].any()
            and all(points.better(row)[name.row].any() and points.worse(row)[name.row].any() for name in found)
            for row in left
        ), "no point was left that could be named"


def test_noise_is_merged_from_the_best_on() -> None:
    line = Losses(np.array([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0], [3.0, 0.0]]) / 8.0, np.full((4, 2), 0.07))
    # As good in all: the first takes the second with it, which is within 0.14 of it, and the third the fourth.
    assert different(line) == [0, 2]
    assert len(different(exact((1.0, 4.0), (2.0, 2.0), (4.0, 1.0)))) == 3
