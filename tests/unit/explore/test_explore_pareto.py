"""Fronts, volumes and intervals, against definitions written out."""

from __future__ import annotations

import signal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from simexplore.sim.explore.pareto import (
    FRONT,
    PROBABLY,
    SURELY,
    dominance,
    front,
    hypervolume,
    interval_name,
    pareto_table,
    reference_point,
)
from simexplore.sim.explore.table import distinct_rows

POINTS = st.integers(1, 4).flatmap(
    lambda objectives: arrays(
        np.float64, st.tuples(st.integers(1, 30), st.just(objectives)), elements=st.integers(0, 6)
    )
)


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(a <= b) and np.any(a < b))


@given(values=POINTS)
def test_the_front_is_what_nothing_dominates(values: np.ndarray) -> None:
    expected = [not any(dominates(other, value) for other in values) for value in values]
    assert list(front(values)) == expected


@settings(max_examples=60)
@given(values=POINTS)
def test_the_volume_is_the_count_of_dominated_cells(values: np.ndarray) -> None:
    cells = np.stack(np.meshgrid(*[np.arange(7)] * values.shape[1], indexing="ij"), axis=-1).reshape(
        -1, values.shape[1]
    )
    covered = sum(any(np.all(value <= cell) for value in values) for cell in cells)
    assert hypervolume(values, [7.0] * values.shape[1]) == pytest.approx(covered)


def test_points_that_failed_are_on_no_front() -> None:
    values = np.array([[1.0, np.nan], [2.0, 2.0], [np.inf, 0.0]])
    assert list(front(values)) == [False, True, False]
    assert hypervolume(np.zeros((0, 2)), [1.0, 1.0]) == 0.0
    assert hypervolume(np.array([[2.0, 2.0]]), [1.0, 1.0]) == 0.0


@given(values=POINTS, data=st.data())
def test_sure_domination_needs_intervals_apart(values: np.ndarray, data: st.DataObject) -> None:
    width = data.draw(arrays(np.float64, values.shape, elements=st.integers(0, 3)))
    low, high = values - width, values + width
    status = dominance(low, values, high)
    for index, word in enumerate(status):
        surely = any(dominates(high[other], low[index]) for other in range(len(values)))
        by_value = any(dominates(values[other], values[index]) for other in range(len(values)))
        assert word == (FRONT if not by_value else SURELY if surely else PROBABLY)


def test_exact_values_leave_no_doubt() -> None:
    values = np.random.default_rng(0).random((200, 3))
    assert set(dominance(values, values, values)) == {FRONT, SURELY}


def test_the_table_has_feasible_points_in_order_and_knows_which_way_is_better() -> None:
    table = pd.DataFrame(
        {
            "point": range(5),
            "time_s": [3.0, 1.0, 2.0, 0.5, 2.5],
            "time_low_s": [2.9, 0.9, 1.4, 0.4, 2.4],
            "time_high_s": [3.1, 1.1, 2.6, 0.6, 2.6],
            "tokens_per_s": [9.0, 5.0, 5.0, 99.0, 4.0],
            "feasible": [True, True, True, False, True],
        }
    )
    found = pareto_table(table, {"time_s": "min", "tokens_per_s": "max"})
    assert list(found["point"]) == [1, 0, 2, 4]
    assert list(found["status"]) == [FRONT, FRONT, SURELY, SURELY]
    wide = pareto_table(table.assign(time_low_s=0.1), {"time_s": "min", "tokens_per_s": "max"})
    assert list(wide["status"]) == [FRONT, FRONT, PROBABLY, PROBABLY]
    assert pareto_table(table.assign(feasible=False), {"time_s": "min"}).empty


def test_names_and_corner() -> None:
    assert interval_name("time_s", "low") == "time_low_s"
    assert interval_name("decode.time_s", "high") == "decode.time_high_s"
    assert interval_name("tokens_per_s", "low") == "tokens_per_s_low"
    assert interval_name("lifetime_s", "low") == "lifetime_s_low"
    corner = reference_point(np.array([[0.0, 5.0], [10.0, 5.0]]))
    assert corner[0] == pytest.approx(10.1)
    assert corner[1] > 5.0


@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (60, 2), (200, 3), (0, 2)])
def test_rows_are_those_that_numpy_tells_apart(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(5).choice([-1.0, -0.0, 0.0, 2.5, np.inf], size=shape)
    first, which = distinct_rows(values)
    rows, wanted_first, wanted = np.unique(values, axis=0, return_index=True, return_inverse=True)
    assert first.tolist() == wanted_first.tolist()
    assert which.tolist() == wanted.reshape(-1).tolist()
    assert np.array_equal(values[first], rows)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a system with timers")
def test_a_ctrl_c_stays_one() -> None:
    """Of `np.unique(values, axis=0)` one in ten came out as a TypeError."""
    values = np.random.default_rng(5).integers(0, 3, (64, 2))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(300):
            with pytest.raises(KeyboardInterrupt):
                _until_alarmed(values, 2e-4 + 1e-6 * number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _until_alarmed(values: NDArray[np.int64], after_s: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, after_s)
    while True:
        distinct_rows(values)
