"""Operators: the equations, as integers and as arrays, and the fields' table."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.workloads import dtypes
from simexplore.workloads.operators.parameters import MAX_COUNT, ParameterError
from simexplore.workloads.ops import (
    FAMILIES,
    Add,
    AllGather,
    AllReduce,
    AllToAll,
    AttentionDecode,
    AttentionPrefill,
    Collective,
    Copy,
    Embedding,
    Gelu,
    Gemm,
    LayerNorm,
    Operator,
    Pointwise,
    Quantize,
    ReduceScatter,
    RmsNorm,
    SiluMul,
    Softmax,
    causal_pairs,
    parse_operator,
)

EVERY_FAMILY = sorted(FAMILIES)
AMOUNTS = ("flops", "min_bytes", "output_bytes", "matmul_flops", "special_ops")


def test_bytes_of_every_dtype() -> None:
    wide = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_block": 1, "int8": 1}
    scaled = {"mxfp8": 1 + 1 / 32, "mxfp4": 0.5 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
    expected = {**wide, "int4": 0.5, "fp4": 0.5, **scaled}
    assert {name: dtypes.bytes_of(name) for name in dtypes.DTYPES} == expected


def test_an_unknown_dtype_names_the_nearest() -> None:
    with pytest.raises(SimexploreError, match="unknown dtype 'bf17'; did you mean 'bf16'"):
        dtypes.bytes_of("bf17")


def test_gemm_counts_each_matrix_once() -> None:
    gemm = Gemm(m=2, n=3, k=5, batch=7)
    assert gemm.flops == gemm.matmul_flops == 2 * 7 * 2 * 3 * 5
    assert gemm.min_bytes == 2 * 7 * (2 * 5 + 5 * 3 + 2 * 3)


@pytest.mark.parametrize(
    ("gemm", "expected_bytes"),
    [
        (Gemm(2, 3, 5, dtype="fp32"), 4 * (10 + 15 + 6)),
        (Gemm(2, 3, 5, dtype="fp8"), 10 + 15 + 2 * 6),
        (Gemm(2, 3, 5, dtype="fp8", activation_dtype="fp16"), 2 * 10 + 15 + 2 * 6),
        (Gemm(2, 3, 5, dtype="bf16", weight_dtype="int4"), 2 * 10 + 0.5 * 15 + 2 * 6),
    ],
)
def test_gemm_bytes_follow_the_types_of_its_operands(gemm: Gemm, expected_bytes: float) -> None:
    assert gemm.min_bytes == expected_bytes


def brute_force_pairs(seq_q: int, seq_kv: int, window: int) -> int:
    pairs = 0
    for query in range(seq_kv - seq_q, seq_kv):
        for key in range(seq_kv):
            visible = key <= query and (window == 0 or query - key < window)
            pairs += visible
    return pairs


prefill_shapes = st.integers(1, 40).flatmap(
    lambda seq_kv: st.tuples(st.integers(1, seq_kv), st.just(seq_kv), st.integers(0, 50))
)


@given(prefill_shapes)
def test_causal_pairs_agree_with_counting_them(shape: tuple[int, int, int]) -> None:
    assert causal_pairs(*shape) == brute_force_pairs(*shape)


@given(st.lists(prefill_shapes, min_size=1, max_size=5))
def test_causal_pairs_of_a_column_agree_with_counting_them(shapes: list[tuple[int, int, int]]) -> None:
    seq_q, seq_kv, window = np.array(shapes).T
    assert list(np.atleast_1d(causal_pairs(seq_q, seq_kv, window))) == [brute_force_pairs(*shape) for shape in shapes]


def test_causal_pairs_stay_exact_and_positive_for_long_sequences() -> None:
    tokens = 10_000_000
    assert causal_pairs(tokens, tokens, 0) == tokens * (tokens + 1) // 2
    assert causal_pairs(1, MAX_COUNT, 0) > 0


@given(prefill_shapes)
def test_prefill_reads_the_keys_that_some_query_sees(shape: tuple[int, int, int]) -> None:
    seq_q, seq_kv, window = shape
    attention = AttentionPrefill(2, 8, 4, 64, seq_q, seq_kv, window)
    seen = {
        key
        for query in range(seq_kv - seq_q, seq_kv)
        for key in range(query + 1)
        if window == 0 or query - key < window
    }
    assert attention.kv_bytes == 2 * 2 * 2 * 4 * 64 * len(seen)
    assert attention.min_bytes == attention.kv_bytes + 2 * (2 * 2 * 8 * seq_q * 64)


def test_prefill_flops_are_four_head_dims_a_pair() -> None:
    attention = AttentionPrefill(batch=2, heads=8, kv_heads=2, head_dim=64, seq_q=16, seq_kv=16)
    assert attention.flops == attention.matmul_flops == 4 * 64 * 2 * 8 * (16 * 17 / 2)
    assert attention.special_ops == 2 * 8 * (16 * 17 / 2)


@pytest.mark.parametrize(("window", "seen"), [(0, 100), (30, 30), (200, 100)])
def test_decode_reads_no_further_than_its_window(window: int, seen: int) -> None:
    attention = AttentionDecode(batch=3, heads=8, kv_heads=2, head_dim=64, seq_kv=100, window=window)
    assert attention.kv_bytes == 2 * 2 * 3 * 2 * 64 * seen
    assert attention.flops == 4 * 64 * 3 * 8 * seen
    assert attention.min_bytes == attention.kv_bytes + 2 * (2 * 3 * 8 * 64)


def test_decode_is_prefill_of_the_last_token() -> None:
    decode = AttentionDecode(3, 8, 2, 64, seq_kv=100, window=30)
    prefill = AttentionPrefill(3, 8, 2, 64, seq_q=1, seq_kv=100, window=30)
    assert [getattr(decode, amount) for amount in AMOUNTS] == [getattr(prefill, amount) for amount in AMOUNTS]


def test_a_narrow_kv_cache_is_read_at_its_own_width() -> None:
    wide, narrow = (AttentionDecode(1, 8, 8, 64, 100, kv_dtype=kv_dtype) for kv_dtype in (None, "fp8"))
    assert narrow.kv_bytes == wide.kv_bytes / 2


@pytest.mark.parametrize(
    ("op", "flops", "min_bytes"),
    [
        (Pointwise(10, inputs=3, outputs=2, flops_per_element=4), 40, 2 * 10 * 5),
        (Add(10), 10, 2 * 10 * 3),
        (Gelu(10, "fp32"), 80, 4 * 10 * 2),
        (SiluMul(10), 50, 2 * 10 * 3),
        (Copy(10), 0, 2 * 10 * 2),
        (Softmax(3, 5), 75, 2 * 2 * 15),
        (LayerNorm(3, 5), 7 * 15, 2 * (2 * 15 + 2 * 5)),
        (RmsNorm(3, 5), 4 * 15, 2 * (2 * 15 + 5)),
        (RmsNorm(3, 5, residual=1), 5 * 15, 2 * (4 * 15 + 5)),
        (Quantize(3, 5), 30, 15 * (2 + 1)),
        (Embedding(3, 5, 100), 0, 3 * 4 + 2 * 15 + 2 * 15),
        (Embedding(3, 5, 2), 0, 3 * 4 + 2 * 10 + 2 * 15),
    ],
)
def test_memory_bound_families(op: Operator, flops: float, min_bytes: float) -> None:
    assert (op.flops, op.min_bytes, op.matmul_flops) == (flops, min_bytes, 0)


@pytest.mark.parametrize(
    ("family", "factor"), [(AllReduce, 2 * 7 / 8), (AllGather, 7 / 8), (ReduceScatter, 7 / 8), (AllToAll, 7 / 8)]
)
def test_link_bytes_of_a_ring(family: type[Collective], factor: float) -> None:
    assert family(1000, 8, "fp32").link_bytes == pytest.approx(factor * 4000)
    assert family(1000, 1).link_bytes == 0


def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather() -> None:
    parts = ReduceScatter(1000, 8), AllGather(1000, 8)
    assert AllReduce(1000, 8).link_bytes == pytest.approx(sum(part.link_bytes for part in parts))
    assert AllReduce(1000, 8).flops == pytest.approx(sum(part.flops for part in parts))


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_a_column_of_operators_is_the_operators_one_by_one(family: str) -> None:
    record = FAMILIES[family]
    scalar = parse_operator(record.example)
    counts = {f.name: getattr(scalar, f.name) for f in fields(record) if f.metadata["parameter"].kind == "count"}  # type: ignore[arg-type]
    words = {f.name: getattr(scalar, f.name) for f in fields(record) if f.name not in counts}  # type: ignore[arg-type]
    fixed = ("residual", "window", "dims", "gated", "dilation", "layers", "carried", "normalized")
    scale = {name: 1 if name in fixed else 2 for name in counts}
    rows: list[Any] = [record(**counts, **words), record(**{k: v * scale[k] for k, v in counts.items()}, **words)]
    column: Any = record(**{k: np.array([v, v * scale[k]]) for k, v in counts.items()}, **words)
    column.validate()
    for amount in AMOUNTS:
        expected = [float(getattr(row, amount)) for row in rows]
        np.testing.assert_array_equal(np.broadcast_to(getattr(column, amount), 2), expected)


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_every_family_is_frozen_hashable_and_described(family: str) -> None:
    record: Any = FAMILIES[family]
    op: Any = parse_operator(record.example)
    assert record.op == family
    assert record.__doc__
    assert all(f.metadata["parameter"].description for f in fields(record))
    assert {op: 1}[pickle.loads(pickle.dumps(op))] == 1
    with pytest.raises(AttributeError):
        op.dtype = "fp32"
    assert all(isinstance(getattr(op, amount), float) for amount in AMOUNTS)
    assert 0 < op.output_bytes < op.min_bytes
    assert op.matmul_flops <= op.flops


def test_amounts_of_columns_do_not_overflow() -> None:
    huge = np.array([2**31])
    assert Gemm(huge, huge, huge).flops == pytest.approx(2.0 * 2.0**93)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Gemm(0, 1, 1), "gemm: m: expected a positive integer, found 0"),
        (Gemm(np.array([1, -2]), np.array([1, 1]), np.array([1, 1])), "gemm: m: .*found -2 in an array"),
        (Gemm(np.array([1.5]), np.array([1]), np.array([1])), "gemm: m: .*found an array of float64"),
        (Gemm(1, 1, 1, dtype="bf17"), "gemm: dtype: .*did you mean 'bf16'"),
        (Gemm(1, 1, 1, weight_dtype="int5"), "gemm: weight_dtype: "),
        (AttentionDecode(1, 8, 3, 64, 10), "kv_heads: expected a divisor of heads = 8, found 3"),
        (AttentionPrefill(1, 8, 3, 64, 10, 10), "kv_heads: expected a divisor of heads = 8, found 3"),
        (AttentionPrefill(1, 8, 8, 64, 11, 10), "seq_q: expected at most seq_kv = 10, found 11"),
        (AttentionPrefill(1, 8, 8, 64, 1, 10, window=-1), "window: expected an integer from 0, found -1"),
        (RmsNorm(1, 1, residual=2), "residual: expected 0 or 1, found 2"),
        (Pointwise(1, function="a b"), "function: expected a word"),
        (Add(MAX_COUNT + 1), "elements: expected at most 2"),
        (Add(True), "elements: expected a positive integer, found True"),
    ],
)
def test_validate_names_parameter_expectation_and_finding(op: Operator, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        op.validate()
