"""Columns in one unit, and words that are not torn apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.cli.columns import fitted, in_one_unit, wrapped


@pytest.mark.parametrize(
    ("values", "unit", "told"),
    [
        ([13.25e-6, 0.4e-6, 0.0], "µs", ["13.25", "0.40", "0.00"]),
        ([1.5, 2e-6], "s", ["1.500", "<0.001"]),
        ([0.99996e-3, 1e-4], "ms", ["1.000", "0.100"]),
        ([123456.0], "ks", ["123.5"]),
        ([], "s", []),
        ([0.0], "s", ["0.000"]),
        ([2e-12], "ps", ["2.000"]),
    ],
)
def test_the_largest_sets_the_unit_and_the_decimals(values: list[float], unit: str, told: list[str]) -> None:
    assert in_one_unit(values, "s") == (unit, told)


def test_words_go_on_behind_their_seams() -> None:
    assert wrapped("attention_decode(batch=1,heads=32,kv_heads=8)", 18) == [
        "attention_decode(", "batch=1,heads=32,", "kv_heads=8)",
    ]  # fmt: skip
    assert wrapped("layer*.attention_norm", 14) == ["layer*.", "attention_norm"]
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("", 5) == [""]


@given(st.text("ab_.,( /=", max_size=40), st.integers(1, 20))
@settings(max_examples=60)
def test_lines_are_no_longer_than_asked_and_hold_all(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_text_gives_way_and_numbers_do_not() -> None:
    lines = [["x" * 40, "y" * 30, "123.4", "5"], ["x", "y", "1", "2"]]
    assert fitted(lines, 2, 200) == [40, 30, 5, 1]
    widths = fitted(lines, 2, 60)
    assert widths[2:] == [5, 1]
    assert sum(widths) + 6 == 60
    assert fitted(lines, 2, 10)[:2] == [12, 12]  # no narrower than that
    assert fitted(lines, 0, 10) == [40, 30, 5, 1]
