"""Columns of operators: each row is what it is alone, whatever its neighbours, its integers' width, or the length."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_machines import any_operators, operators

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.operators import at_boost, physics, predict
from simexplore.workloads.operators.columns import even
from simexplore.workloads.ops import FAMILIES, Gemm, Operator, parse_operator

GPUS = [load_arch(name) for name in ("nvidia/h200-sxm", "nvidia/t4")]
KINDS = st.sampled_from([np.int64, np.int32, np.uint32, np.int16])


def counts_of(op: Operator) -> dict[str, int]:
    return {f.name: value for f in fields(op) if isinstance(value := getattr(op, f.name), int)}  # type: ignore[arg-type]


@settings(max_examples=150)
@given(operators(), st.sampled_from(GPUS), st.integers(1, 4), KINDS, st.data())
def test_a_column_is_its_rows(op: Operator, gpu: Any, rows: int, kind: Any, data: st.DataObject) -> None:
    counts = counts_of(op)
    long = data.draw(st.sets(st.sampled_from(sorted(counts))))
    changed: dict[str, Any] = {}
    for name, value in counts.items():
        if value <= np.iinfo(kind).max:
            form = "long" if name in long else data.draw(st.sampled_from(["number", "one"]))
            changed[name] = value if form == "number" else np.full(rows if form == "long" else 1, value, dtype=kind)
    try:
        alone = predict(op, gpu)
    except SimexploreError:
        return
    found = predict(replace(op, **changed), gpu)  # type: ignore[type-var]
    expected = rows if any(np.size(value) == rows and np.ndim(value) for value in changed.values()) else 1
    assert found.time_s.shape == (expected,)
    np.testing.assert_allclose(found.time_s, alone.time_s[0], rtol=1e-12)
    np.testing.assert_allclose(found.energy_j, alone.energy_j[0], rtol=1e-12)
    np.testing.assert_allclose(found.interval_ratio, alone.interval_ratio[0], rtol=1e-9)


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("text", [family.example for family in FAMILIES.values()])
def test_of_no_rows_there_are_no_predictions(text: str, gpu: Any) -> None:
    op = parse_operator(text)
    for name in counts_of(op):
        empty = replace(op, **{name: np.zeros(0, dtype=np.int64)})  # type: ignore[type-var]
        try:
            predict(op, gpu)
        except SimexploreError:
            continue
        found = predict(empty, gpu)
        assert (
            found.time_s.shape == found.energy_j.shape == found.interval_ratio.shape == found.bound_code.shape == (0,)
        )
        assert found.bound == []
        assert at_boost(empty, gpu, Conditions(), with_traits=True).traits is not None


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"m": np.arange(1, 4), "n": np.arange(1, 3)}, r"n: expected integers of shape \(3,\), found .*\(2,\)"),
        ({"m": np.ones((2, 2), dtype=np.int64)}, r"m: expected integers of shape \(1,\), found .*\(2, 2\)"),
        ({"k": np.ones(3)}, r"k: expected integers of shape \(3,\), found an array of float64"),
        ({"m": np.arange(1, 4), "n": np.zeros(0, dtype=np.int64)}, "n: expected integers"),
    ],
)
def test_columns_that_are_none_are_told_in_one_line(columns: dict[str, Any], said: str) -> None:
    op = replace(Gemm(16, 16, 16), **columns)
    for way in (even, lambda it: predict(it, GPUS[0]), lambda it: physics(it, GPUS[0], Conditions())):
        with pytest.raises(SimexploreError, match=said):
            way(op)


def test_what_is_even_is_not_copied() -> None:
    op = Gemm(np.arange(1, 4), np.arange(1, 4), 5)
    assert even(op) is op
    assert even(Gemm(1, 2, 3)) == Gemm(1, 2, 3)


@settings(max_examples=100)
@given(any_operators(2**53, ("bf16", "fp32")))
def test_a_column_of_the_largest_counts_does_not_overflow(op: Operator) -> None:
    """Its amounts are those of Python's integers, which have no end."""
    counts = counts_of(op)
    column = replace(op, **{name: np.array([value, value]) for name, value in counts.items()})  # type: ignore[type-var]
    for amount in ("flops", "matmul_flops", "special_ops", "min_bytes", "output_bytes"):
        found, expected = getattr(column, amount), getattr(op, amount)
        np.testing.assert_allclose(np.broadcast_to(found, (2,)), float(expected), rtol=1e-9, err_msg=amount)
    for gpu in GPUS:
        try:
            alone = predict(op, gpu)
        except SimexploreError:
            with pytest.raises(SimexploreError):
                predict(column, gpu)
            continue
        np.testing.assert_allclose(predict(column, gpu).time_s, alone.time_s[0], rtol=1e-9)
        assert alone.time_s[0] > 0.0 or "num_gpus" in counts  # one GPU alone moves nothing
