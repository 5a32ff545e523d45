"""The smooth maximum: right at every exponent that the schema allows, for terms of any size."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.sim.hardware.norms import norm, norm_of_counts

EXPONENTS = st.one_of(st.sampled_from([1.0, 2.0, 4.0, 64.0]), st.floats(1.0, 64.0))
SIZES = st.one_of(st.just(0.0), st.floats(-300.0, 300.0).map(lambda power: 10.0**power), st.floats(1e-9, 1e9))
COUNTS = st.integers(0, 2**20).map(float)


def exact(terms: list[float], p: float) -> float:
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 40, 10**9, -(10**9)
        total = sum((Decimal(term) ** Decimal(p) for term in terms if term > 0.0), start=Decimal(0))
        return float(total ** (1 / Decimal(p))) if total else 0.0


def column(values: list[float]) -> tuple[np.ndarray, ...]:
    return tuple(np.array([[value]]) for value in values)


@given(st.lists(SIZES, min_size=1, max_size=5), EXPONENTS)
def test_a_norm_is_right_for_terms_of_any_size(terms: list[float], p: float) -> None:
    assert norm(column(terms), p).item() == pytest.approx(exact(terms, p), rel=1e-12, abs=0.0)


@given(st.lists(st.lists(SIZES, min_size=3, max_size=3), min_size=2, max_size=4), EXPONENTS)
def test_rows_of_a_column_do_not_change_each_other(rows: list[list[float]], p: float) -> None:
    together = norm(tuple(np.array(rows).T), p)
    assert together == pytest.approx([exact(row, p) for row in rows], rel=1e-12, abs=0.0)


@given(st.lists(SIZES, min_size=1, max_size=4), st.lists(SIZES, min_size=1, max_size=2), COUNTS, EXPONENTS)
def test_terms_that_come_several_times(counted: list[float], single: list[float], count: float, p: float) -> None:
    of_count = norm_of_counts(column(counted), column(single), p)
    wanted = exact([*(count * term for term in counted), *single], p)
    assert of_count(np.array([[count]])).item() == pytest.approx(wanted, rel=1e-12, abs=0.0)


def test_a_power_that_lost_digits_is_not_counted() -> None:
    """The square of 1.23e-160 is a number of four digits; the sum of 1e200 of them would hide that."""
    term = 1.23456789e-160
    assert norm_of_counts(column([term]), column([0.0]), 2.0)(np.array([[1e100]])).item() == pytest.approx(
        term * 1e100, rel=1e-12, abs=0.0
    )


@pytest.mark.parametrize("p", [1.0, 4.0, 64.0])
@pytest.mark.parametrize("way", [norm, lambda terms, p: norm_of_counts(terms[:1], terms[1:], p)(np.ones((1, 1)))])
def test_an_infinite_term_makes_an_infinite_norm(way: Callable[..., np.ndarray], p: float) -> None:
    assert np.isinf(way(column([np.inf, 1e-3]), p)).all()
    assert np.isnan(way(column([np.nan, 1.0]), p)).all()


def test_of_nothing_there_is_nothing() -> None:
    empty = np.zeros((0, 1))
    assert norm((empty, empty), 4.0).shape == (0, 1)
