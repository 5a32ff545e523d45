"""The record of a layer of experts: work and bytes by hand, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import Moe, parse_operator

SMALL: dict[str, Any] = {"num_tokens": 6, "hidden_size": 10, "inter_size": 12, "topk": 2, "num_experts": 8}


def test_work_and_bytes_by_hand() -> None:
    """Twelve pairs, all eight experts; three matrices of 10 x 12 an expert."""
    op = Moe(**SMALL)
    assert op.flops == op.matmul_flops == 2 * 12 * 10 * 12 * 3
    assert op.special_ops == 12 * 12
    assert op.weight_bytes == 8 * 3 * 120 * 2
    assert op.output_bytes == 6 * 10 * 2
    assert op.min_bytes == op.weight_bytes + 2 * op.output_bytes


def test_without_a_gate_and_in_parts() -> None:
    """Experts 0 and 1 have two tokens each, of six inner features."""
    op = Moe(**SMALL, moe_tp_size=2, moe_ep_size=4, gated=0, dtype="fp8")
    assert op.flops == 2 * 4 * 10 * 6 * 2
    assert op.special_ops == 0
    assert op.weight_bytes == 2 * 2 * 10 * 6
    assert op.output_bytes == 6 * 10 * 2


def test_weights_may_be_stored_narrower_than_they_are_multiplied() -> None:
    op = Moe(**SMALL, dtype="bf16", weight_dtype="mxfp4")
    assert op.weight_bytes == 8 * 3 * 120 * 17 / 32
    assert op.min_bytes == op.weight_bytes + 2 * 6 * 10 * 2
    assert parse_operator(op.describe()) == op
    with pytest.raises(ParameterError, match="weight_dtype: expected a type no wider than dtype fp8, found bf16"):
        Moe(**SMALL, dtype="fp8", weight_dtype="bf16").validate()


def test_columns() -> None:
    op = Moe(**{**SMALL, "num_tokens": np.array([6, 12])})
    np.testing.assert_array_equal(op.flops, [Moe(**{**SMALL, "num_tokens": n}).flops for n in (6, 12)])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"moe_tp_size": 5}, "moe_tp_size: expected a divisor of inter_size = 12, found 5"),
        ({"moe_ep_size": 3}, "moe_ep_size: expected a divisor of num_experts = 8, found 3"),
        ({"topk": 9}, "topk: expected at most num_experts = 8, found 9"),
        ({"gated": 2}, "gated: expected at most 1, found 2"),
        ({"skew": 1001}, "skew: expected at most 1000, found 1001"),
        ({"num_experts": 8192}, "num_experts: expected at most 4096, found 8192"),
    ],
)
def test_what_contradicts_itself_is_one_line(changed: dict[str, int], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Moe(**{**SMALL, **changed}).validate()
    Moe(**{**SMALL, "skew": 1000, "num_experts": 4096, "moe_tp_size": 12, "topk": 8}).validate()


def test_text() -> None:
    op = parse_operator(Moe.example)
    assert op.describe() == Moe.example
