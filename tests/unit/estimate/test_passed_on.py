"""What fades of a correction between machines, and that fading never turns a slower machine into a faster one."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.correction import NORMAL_80, feature_columns, half_width
from simexplore.sim.estimate.intervals.standing import Standing, standing_of
from simexplore.sim.estimate.learned.passed_on import (
    ANOTHER_BOARD,
    NOTHING,
    SIGMA,
    STEEPEST,
    Lesson,
    kept_share,
    lent_to,
)
from simexplore.sim.estimate.operators import at_boost, learned_cost, lesson_of, predict
from simexplore.workloads.ops import parse_operator

SHIFTS = st.floats(-3.0, 3.0)
APART = st.floats(-4.0, 4.0)
GEMM = parse_operator("gemm(m=512,n=1024,k=4096)")
H200 = "nvidia/h200-sxm"


def lesson(shift: float, spread: float = 0.1) -> Lesson:
    return Lesson(np.ones(1), np.array([shift]), np.array([spread]))


def log_time(apart: float, shift: float) -> float:
    """On a machine that is slower than the lender by a factor of exp(apart) in the physics."""
    return apart + float(lesson(shift).passed_on(np.array([exp(apart)]), 0.5)[0][0])


@given(SHIFTS, APART, st.floats(1e-3, 2.0))
def test_slower_by_the_physics_is_slower(shift: float, apart: float, more: float) -> None:
    """At least by half: the rest is what a power limit may give back as clock."""
    gained = log_time(apart + more, shift) - log_time(apart, shift)
    assert gained >= STEEPEST * more
    assert gained <= (2.0 - STEEPEST) * more + 1e-9


def test_the_least_slope_is_used() -> None:
    """The fading is as fast as the bound allows, 5 % apart: a correction is not kept longer than it must be."""
    shift = 2.0
    apart = np.linspace(0.0, 6.0, 6001)
    shifts, _ = lesson(shift).passed_on(np.exp(apart), 0.5)
    assert np.diff(apart + shifts).min() / np.diff(apart).min() == pytest.approx(1.0 - STEEPEST / 1.05, abs=1e-3)


@given(SHIFTS)
def test_the_lender_keeps_all_of_it(shift: float) -> None:
    kept, half = lesson(shift).passed_on(np.ones(1), 0.5)
    assert kept[0] == shift
    assert half[0] == 0.1


@pytest.mark.parametrize("apart", [SIGMA, -SIGMA])
def test_twice_as_fast_or_slow_keeps_three_fifths(apart: float) -> None:
    assert kept_share(np.array([exp(apart)]), lesson(0.1))[0] == pytest.approx(exp(-0.5))
    assert log(2.0) == SIGMA


@given(SHIFTS, APART, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_an_interval_widens_to_that_of_the_physics_and_never_narrows(
    shift: float, apart: float, spread: float, far: float
) -> None:
    near, there, beyond = (
        float(lesson(shift, spread).passed_on(np.array([exp(r)]), far)[1][0]) for r in (0.0, apart, 2.0 * apart)
    )
    assert spread == near <= there + 1e-12
    assert there <= beyond + 1e-12
    assert beyond <= max(spread, far) + 1e-12


@pytest.mark.parametrize("time", [np.nan, np.inf, 0.0])
def test_of_what_has_no_time_nothing_is_passed_on(time: float) -> None:
    with np.errstate(divide="ignore"):
        shift, half = lesson(0.7).passed_on(np.array([time]), 0.5)
    assert (shift[0], half[0]) == (0.0, 0.5)
    shift, half = NOTHING.passed_on(np.ones(3), 0.5)
    assert shift.tolist() == [0.0] * 3
    assert half.tolist() == [0.5] * 3


def test_rows_are_taken() -> None:
    three = Lesson(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6]))
    assert [column.tolist() for column in three.take(np.array([2, 0]))] == [[3.0, 1.0], [0.3, 0.1], [0.6, 0.4]]


def test_another_board_differs_as_two_measurements_of_one_do() -> None:
    """3.8 % in the mean between two, so 3.8 % sqrt(pi / 2) / sqrt(2) is the sigma of one."""
    assert pytest.approx(NORMAL_80 * 0.0476, rel=2e-3) == ANOTHER_BOARD


def test_a_variant_has_the_lenders_features_and_its_own_time() -> None:
    variant, base = load_arch(H200, {"sm.count": "66"}), load_arch(H200)
    lent, own = lent_to(GEMM, variant, Conditions()), lent_to(GEMM, base, Conditions())
    assert lent is not None
    assert own is not None
    assert (own.lender is base, own.to_kin, lent.to_kin) == (True, False, False)
    assert lent.lender.sm.count == 132
    here, there = (at_boost(GEMM, gpu, Conditions(), with_traits=True) for gpu in (variant, base))
    told = lesson_of(lent, GEMM, Conditions())
    assert told is not None
    assert told.time_s[0] == there.time_s[0] < here.time_s[0]
    assert there.traits is not None
    columns = feature_columns(GEMM, base, there.traits)
    assert columns["waves of 128x128"][0] == pytest.approx(np.log2(32 / 132))
    _, factor, _ = learned_cost(GEMM, variant, Conditions())
    _, whole, _ = learned_cost(GEMM, base, Conditions())
    kept = kept_share(here.time_s, told)[0]
    assert 0.5 < kept < 1.0
    assert log(factor[0]) == pytest.approx(kept * log(whole[0]))
    sizes = "batch=4,heads=32,kv_heads=8,head_dim=128,seq_q=2048,seq_kv=2048,dtype=bf16"
    prefill, given = parse_operator(f"attention_prefill({sizes})"), Conditions(attention_module=True)
    far = half_width(prefill, base, given)
    least, half = (learned_cost(prefill, gpu, given)[2][0] for gpu in (base, variant))
    assert least < half < far


def test_kin_lends_what_a_machine_lacks_with_a_wider_interval() -> None:
    h100, h200 = load_arch("nvidia/h100-sxm@family"), load_arch(H200)
    lent = lent_to(GEMM, h100, Conditions())
    assert lent is not None
    assert (lent.lender.name, lent.to_kin) == (h200.name, True)
    told, own = lesson_of(lent, GEMM, Conditions()), lesson_of(replace(lent, to_kin=False), GEMM, Conditions())
    assert told is not None
    assert own is not None
    assert told.shift[0] == own.shift[0]
    assert told.spread[0] == pytest.approx(sqrt(own.spread[0] ** 2 + ANOTHER_BOARD**2))
    assert predict(GEMM, h100).correction[0] != 1.0
    assert predict(GEMM, h100.physics_only()).correction[0] == 1.0


def test_a_machine_that_extends_the_fits_of_another_stands_on_another_board(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: nvidia/b200\nname: Mine\npower: {tdp: 1200 W}\nsources: {power.tdp: mine}\n")
    other, b200 = load_arch(mine), load_arch("nvidia/b200")
    assert (other.stands_on_another, b200.stands_on_another) == (True, False)
    lent, own = lent_to(GEMM, other, Conditions()), lent_to(GEMM, b200, Conditions())
    assert lent is not None
    assert own is not None
    assert (lent.lender.name, lent.to_kin, own.to_kin) == (b200.name, True, False)
    assert standing_of("gemm bf16 graph", other) is Standing.OTHER_BOARD
    assert standing_of("gemm int8 graph", other) is Standing.OTHER_BOARD
    assert standing_of("gemm bf16 graph", b200) is Standing.NEIGHBOUR
    assert standing_of("gemm int8 graph", b200) is Standing.OTHER_KIND
    assert predict(GEMM, other).interval_ratio[0] > predict(GEMM, b200).interval_ratio[0]
    more_power = load_arch("nvidia/b200", {"power.tdp": "1100 W"})
    assert not more_power.stands_on_another


def test_ones_own_correction_comes_before_that_of_kin() -> None:
    both = load_arch(H200).lent_by(None, load_arch("nvidia/a100-sxm-80gb"))
    lent = lent_to(GEMM, both, Conditions())
    assert lent is not None
    assert lent.lender is both
    only_kin = parse_operator("gemm(m=512,n=1024,k=4096,weight_dtype=int4)"), Conditions(launch="stream")
    lent = lent_to(only_kin[0], both, only_kin[1])
    assert lent is not None
    assert lent.to_kin
    assert lent_to(only_kin[0], both.physics_only(), only_kin[1]) is None
    assert lent_to(GEMM, both.physics_only(), Conditions()) is None


def test_what_the_lender_cannot_run_has_no_lesson() -> None:
    lent = lent_to(GEMM, load_arch(H200), Conditions())
    assert lent is not None
    without = load_arch(H200, {"sm.tensor.fp8": "null"}).physics_only()
    fp8 = parse_operator("gemm(m=512,n=1024,k=4096,dtype=fp8)")
    assert lesson_of(replace(lent, lender=without), fp8, Conditions()) is None
