"""Columns of operators: whatever integers they are of and however long, they mean what the operators one by one do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.operators.columns import even
from simexplore.workloads.operators.parameters import ParameterError, parameters_of
from simexplore.workloads.ops import FAMILIES, Conv2d, Gemm, Operator, parse_operator

H200 = load_arch("nvidia/h200-sxm")
AMOUNTS = ("flops", "min_bytes", "output_bytes", "matmul_flops", "special_ops")
SIZES = st.sampled_from([1, 2, 3, 64, 100, 4096, 70_000, 2**20, 2**30])


def counts(op: Operator) -> list[str]:
    return [name for name, (_, parameter) in parameters_of(op).items() if parameter.kind == "count"]


def first(amount: Any) -> float:
    return float(np.ravel(amount)[0])


@settings(max_examples=300)
@given(st.sampled_from(sorted(FAMILIES)), st.data())
def test_amounts_of_a_column_are_those_of_its_numbers(family: str, data: st.DataObject) -> None:
    op = parse_operator(FAMILIES[family].example)
    sizes = {name: data.draw(SIZES) for name in counts(op)}
    alone = replace(op, **sizes)  # type: ignore[type-var]
    try:
        alone.validate()
    except ParameterError:
        return
    column = even(replace(op, **{name: np.array([size], np.int32) for name, size in sizes.items()}))  # type: ignore[type-var]
    for amount in AMOUNTS:
        assert first(getattr(column, amount)) == pytest.approx(first(getattr(alone, amount)), rel=1e-9)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([8, 100, 4096, 16_384, 60_000]), min_size=1, max_size=9),
    st.sampled_from([np.int16, np.int32, np.int64, np.uint32, np.uint64]),
)
def test_short_columns_go_for_all_rows_and_narrow_integers_do_not_overflow(sizes: list[int], kind: type) -> None:
    sizes = [min(size, np.iinfo(kind).max) for size in sizes]
    mixed = Gemm(m=np.array(sizes, kind), n=np.array([16_384], kind), k=np.array(16_384, kind))  # type: ignore[arg-type]
    told = predict(mixed, H200).time_s
    expected = [float(predict(Gemm(m=size, n=16_384, k=16_384), H200).time_s[0]) for size in sizes]
    np.testing.assert_allclose(told, expected, rtol=1e-9)


def test_a_long_column_beside_a_short_one_is_worked_on_in_parts() -> None:
    m = np.full(5000, 4096)
    assert np.ptp(predict(Gemm(m=m, n=np.array([4096]), k=4096), H200).time_s) == 0.0


def test_an_image_of_a_hundred_thousand_pixels_a_side() -> None:
    sizes = {"batch": 1, "cin": 3, "cout": 8, "ksize": 3, "hw": 100_000, "pad": 1}
    column = Conv2d(**{name: np.array([size], dtype=np.int32) for name, size in sizes.items()})  # type: ignore[arg-type]
    assert first(predict(column, H200).time_s) == first(predict(Conv2d(**sizes), H200).time_s)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (
            {"m": np.ones(3, int), "n": np.ones(2, int)},
            r"gemm: .: expected integers of shape \(3,\), found an array of int64 of shape \(2,\)",
        ),
        ({"m": np.ones((2, 2), int)}, r"gemm: m: .* found an array of int64 of shape \(2, 2\)"),
        ({"k": np.array(["a", "b"])}, r"gemm: k: .* found an array of <U1 of shape \(2,\)"),
        ({"k": np.array([None])}, r"gemm: k: .* found an array of object of shape \(1,\)"),
    ],
    ids=["lengths", "table", "text", "objects"],
)
def test_what_is_no_column_is_one_line(columns: dict[str, Any], found: str) -> None:
    with pytest.raises(SimexploreError, match=found):
        predict(replace(Gemm(m=8, n=8, k=8), **columns), H200)


def test_of_no_rows_there_are_no_predictions() -> None:
    assert predict(Gemm(m=np.zeros(0, int), n=8, k=8), H200).time_s.shape == (0,)


def test_a_record_of_numbers_is_left_as_it_is() -> None:
    op = Gemm(m=8, n=8, k=8)
    assert even(op) is op
    column = Gemm(m=np.arange(1, 4), n=8, k=8)
    assert even(column) is column
