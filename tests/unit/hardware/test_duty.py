"""Work once a period: energies by hand, and the energy budget that pauses fill."""

from __future__ import annotations

from math import exp, inf, nan

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.sim.hardware.duty import Period, steady_charge
from simexplore.sim.hardware.power import Board, Draw, Repeated

BOARD = Board(idle_w=20.0, clocked_share=0.25, clock_exponent=3.0, held_w=100.0, headroom_w=40.0, drain_s=1e-3)
"""A full budget has 40 mJ."""
SHORT = 1e-9


def work(run_s: float, joules: float, wait_s: float = 0.0) -> Repeated:
    """One kernel of this time and dynamic energy at boost, which the clock drives."""
    draw = Draw(*(np.full((1, 1), value) for value in (run_s, 0.0, 2.0, joules, 0.0)))
    return Repeated(draw, np.ones((1, 1)), np.array([wait_s]))


def test_energy_of_a_period_by_hand() -> None:
    # 2 s of work at 100 W in a period of 10 s, 8 s at 20 W
    assert Period(10.0).energy_j(2.0, 200.0, 20.0) == 360.0
    # in a quarter of the periods 10 s at 20 W instead
    assert Period(10.0, 0.25).energy_j(2.0, 200.0, 20.0) == pytest.approx(0.75 * 360.0 + 0.25 * 200.0)
    assert Period(10.0, 0.25).between_s == pytest.approx(40.0 / 3.0)


def test_work_fits_or_is_refused() -> None:
    Period(2.0).check(2.0)
    with pytest.raises(SimexploreError, match=r"fits into its period of 2 s, found 2.5 s of work: make the period"):
        Period(2.0, 0.9).check(2.5)


@pytest.mark.parametrize("period_s", [0.0, -1.0, inf, nan])
def test_a_period_is_a_time(period_s: float) -> None:
    with pytest.raises(SimexploreError, match="a period above zero seconds"):
        Period(period_s)


@pytest.mark.parametrize("skip", [-0.1, 1.0, nan])
def test_a_share_is_skipped_and_never_all(skip: float) -> None:
    with pytest.raises(SimexploreError, match="from 0 to below 1"):
        Period(1.0, skip)


def test_work_within_what_may_be_held_leaves_the_budget_full() -> None:
    assert steady_charge(work(1e-3, 0.079), BOARD, 1e-3) == 1.0


def test_a_long_pause_fills_the_budget() -> None:
    hungry = work(1e-3, 1.0)
    assert steady_charge(hungry, BOARD, 1.0) == 1.0
    # from empty, (100 - 20) W fill 40 mJ in half a millisecond
    assert steady_charge(hungry, BOARD, 1.0e-3 + 0.6e-3) < 1.0


def test_without_a_pause_all_is_spent() -> None:
    assert steady_charge(work(1e-3, 1.0), BOARD, 1e-3) == pytest.approx(0.0, abs=SHORT)
    assert steady_charge(work(1e-3, 1.0), BOARD, 0.5e-3) == pytest.approx(0.0, abs=SHORT)


def test_the_charge_is_what_work_and_pause_leave() -> None:
    """A kernel that is held throughout drains the budget as exp(-t / tau); the pause gives 80 W times its length."""
    hungry, pause_s = work(1e-3, 1.0), 0.1e-3

    def left(charge: float) -> float:
        """Time t of the run by its mean power: 1 J f^2 over t = 1 ms / f, and a quarter of idle follows the clock."""
        low, high = 1e-3, 1e-1
        for _ in range(100):
            t = (low * high) ** 0.5
            f = 1e-3 / t
            mean_w = f**3 * 1e3 + 20.0 * (0.75 + 0.25 * f**3)
            excess_w = 40.0 * charge * 1e-3 / t * (1.0 - exp(-t / 1e-3))
            low, high = (t, high) if mean_w > 100.0 + excess_w else (low, t)
        run_s.append(t)
        return charge * exp(-t / 1e-3)

    run_s: list[float] = []
    charge = 0.5
    for _ in range(50):
        charge = min(left(charge) + 80.0 * pause_s / 0.04, 1.0)
    assert steady_charge(hungry, BOARD, run_s[-1] + pause_s) == pytest.approx(charge, rel=1e-6)
    assert 0.2 < charge < 0.3


def test_a_board_without_a_budget_has_all_of_it() -> None:
    assert steady_charge(work(1e-3, 1.0), BOARD._replace(headroom_w=0.0), 2e-3) == 1.0
