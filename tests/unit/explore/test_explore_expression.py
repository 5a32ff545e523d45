"""Expressions: their values, their units, and that nothing else is reached through them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.sim.explore.spec.expression import (
    Amount,
    Expression,
    parse,
    parse_condition,
    powers_of,
    quantity_of,
    unit_text,
)

VALUES = {
    "sm.count": Amount(np.array([66.0, 132.0])),
    "l2.capacity": Amount(50.0 * 2**20, powers_of("B")),
    "clock.boost": Amount(2e9, powers_of("Hz")),
    "power_w": Amount(700.0, powers_of("W")),
    "time_s": Amount(2.0, powers_of("s")),
    "tokens_per_s": Amount(1400.0, powers_of("1/s")),
}


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.3 MiB * sm.count", [66 * 0.3 * 2**20, 132 * 0.3 * 2**20], "B"),
        ("815 mm2 * sm.count / 132", [407.5e-6, 815e-6], "m^2"),
        ("l2.capacity / 1 MiB", 50.0, "no unit"),
        ("4 B/clk * clock.boost", 8e9, "B/s"),
        ("power_w * time_s", 1400.0, "J"),
        ("power_w * time_s / 1 J", 1400.0, "no unit"),
        ("tokens_per_s / power_w", 2.0, "1/J"),
        ("-(1 + 2) * 3 - +4", -13.0, "no unit"),
        ("2 ** 3 ** 2", 512.0, "no unit"),
        ("sqrt(l2.capacity * 2 MiB)", 10 * 2**20, "B"),
        ("max(1 GB, 2 GB, l2.capacity)", 2e9, "B"),
        ("min(sm.count, 100)", [66.0, 100.0], "no unit"),
        ("ceil(2.1) + floor(2.9) + round(2.6) + log2(8)", 11.0, "no unit"),
        ("1e3", 1000.0, "no unit"),
        ("2 B/sm.count", [2 / 66, 2 / 132], "B"),
        ("1e1 kB", 10_000.0, "B"),
    ],
)
def test_values_and_units(text: str, value: object, unit: str) -> None:
    found = parse(text, VALUES).evaluate(VALUES)
    np.testing.assert_allclose(found.value, value)
    assert unit_text(found.powers) == unit


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("l2.capacity + 1", "the same unit on both sides, found B and no unit"),
        ("l2.capacity + time_s", "found B and s"),
        ("max(l2.capacity, 3)", "the same unit"),
        ("2 ** time_s", "a plain number as exponent"),
        ("l2.capacity ** sm.count", "a plain number as exponent"),
        ("log2(l2.capacity)", "a plain number in log2()"),
    ],
)
def test_units_that_do_not_go_together(text: str, said: str) -> None:
    with pytest.raises(SimexploreError, match=r"expected .* found ") as caught:
        parse(text, VALUES).evaluate(VALUES)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "1 +", "__import__('os')", "(1).real", "sm.count.__class__()", "[1]", "{}", "'a'", "lambda: 1", "a := 1",
        "f(1)", "max(1)", "sqrt(1, 2)", "min(1, key=2)", "True", "1 if 1 else 2", "1 < 2", "1 // 2", "5 % 2", "1j",
        "...", "1\n2", "x" * 600, "(" * 300 + ")" * 300, "9" * 400, "\x00", "await x", "f'{1}'", "~1", "not 1", "2 @ 3",
    ],
)  # fmt: skip
def test_nothing_but_arithmetic(text: str) -> None:
    with pytest.raises(SimexploreError, match=r"^expected .*, found "):
        parse(text, VALUES)


def test_levels_of_operations_are_bounded() -> None:
    """Each takes stack frames wherever the expression is walked, pickled or copied; 480 minus signs took too many."""
    for text in ("-" * 480 + "1", "-" * 101 + "1", "1" + "+1" * 101, "(" * 101 + "1" + "+1)" * 101):
        with pytest.raises(SimexploreError, match="expected at most 100 levels of operations, found more"):
            parse(text, VALUES)
    for text, value in (("-" * 98 + "1", 1.0), ("1" + "+1" * 98, 99.0)):
        parsed = pickle.loads(pickle.dumps(copy.deepcopy(parse(text, VALUES))))
        assert parsed.evaluate(VALUES).value == value


def test_a_comment_is_no_expression() -> None:
    for text in ("1 # =cmd", "#", "sm.count #"):
        with pytest.raises(SimexploreError, match="does not parse"):
            parse(text, VALUES)


def test_a_constraint_has_a_column() -> None:
    assert parse_condition(" power_w  <=\n 700 W", VALUES).column == "meets power_w <= 700 W"


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(SimexploreError, match=r"found 'sm\.cuont' \(did you mean 'sm\.count'\?\)"):
        parse("2 * sm.cuont", VALUES)


def test_conditions() -> None:
    condition = parse_condition("sm.count * 1 MiB <= 100 MiB", VALUES)
    assert condition.names == {"sm.count"}
    assert list(condition.holds(VALUES)) == [True, False]
    assert parse_condition("power_w > 0.5 kW", VALUES).holds(VALUES)
    for text in ("sm.count", "1 < 2 < 3", "a == b", "sm.count <=", "<= 3"):
        with pytest.raises(SimexploreError, match="expected"):
            parse_condition(text, VALUES)
    with pytest.raises(SimexploreError, match="the same unit"):
        parse_condition("power_w <= 700", VALUES).holds(VALUES)


def test_quantities() -> None:
    assert quantity_of("141 GB")[0] == 141e9
    with pytest.raises(SimexploreError, match="expected a quantity such as '141 GB', found '141'"):
        quantity_of("141")


@settings(max_examples=300)
@given(text=st.text(max_size=40) | st.text(alphabet="0123456789.+-*/()eEsmcountBGi <>,", max_size=30))
def test_any_text_has_a_value_or_is_one_line(text: str) -> None:
    try:
        outcome: object = parse(text, VALUES).evaluate(VALUES)
    except SimexploreError as error:
        outcome = str(error)
    else:
        assert isinstance(pickle.loads(pickle.dumps(parse(text, VALUES))), Expression)
    assert isinstance(outcome, Amount) or (str(outcome).startswith("expected ") and "\n" not in str(outcome))
