"""Operators of linear attention: their counts by hand, and what contradicts itself."""

from __future__ import annotations

import pytest

from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.operators.tensors.elements import elements_read, elements_written
from simexplore.workloads.operators.tensors.operands import operand_bytes
from simexplore.workloads.ops import (
    CausalConv1d,
    CausalConv1dUpdate,
    GdnDecode,
    GdnPrefill,
    KdaDecode,
    KdaPrefill,
    SsdDecode,
    SsdPrefill,
    parse_operator,
)


def test_a_convolution_filters_each_channel_and_keeps_the_last_tokens() -> None:
    """Two sequences of five tokens and three channels; four taps, a multiply-add each, and four flops of SiLU."""
    op = CausalConv1d(batch=2, channels=3, seq_q=5, width=4)
    assert op.flops == 2 * 5 * 3 * (2 * 4 + 4)
    assert op.special_ops == 2 * 5 * 3 * 2
    assert op.output_bytes == 2 * (2 * 5 * 3)
    assert op.written_bytes == 2 * (2 * 5 * 3 + 2 * 3 * 3)
    assert op.min_bytes == 2 * (2 * (2 * 5 * 3) + 3 * 4 + 2 * 3 * 3)


def test_the_next_tokens_read_what_was_kept_too() -> None:
    op = CausalConv1dUpdate(batch=2, channels=3, seq_q=1, width=4)
    assert op.min_bytes == 2 * (2 * (2 * 3) + 3 * 4 + 2 * (2 * 3 * 3))
    assert op.flops == 2 * 3 * 12
    assert operand_bytes(op) == {"inputs": 2 * (2 * 3 + 3 * 4), "states": 2 * 2 * (2 * 3 * 3)}


def test_a_delta_rule_over_prompts_by_hand() -> None:
    """Seven tokens, four value heads and two of keys; keys of 8, values of 16: a state of 128 numbers a head."""
    op = GdnPrefill(batch=1, heads=4, key_heads=2, seq_q=7, key_dim=8, value_dim=16)
    assert op.matmul_flops == 7 * 4 * 6 * 8 * 16
    assert op.flops == 7 * 4 * (6 * 8 * 16 + 2 * 16) + 7 * 2 * 2 * 3 * 8
    assert op.special_ops == 7 * 4
    tokens = 7 * (2 * (2 * 2 * 8 + 2 * 4 * 16) + 2 * 4 * 4)
    assert op.min_bytes == tokens + 2 * 4 * (4 * 8 * 16)
    without = GdnPrefill(1, 4, 2, 7, 8, 16, carried=0, normalized=0)
    assert without.min_bytes == tokens
    assert op.flops - without.flops == 7 * 2 * 2 * 3 * 8
    assert elements_read(op) == (7 * 2 * 8, 7 * 2 * 8, 7 * 4 * 16, 7 * 4, 7 * 4)
    assert elements_written(op) == (7 * 4 * 16,)


def test_fine_decays_are_one_a_feature() -> None:
    op = KdaPrefill(batch=1, heads=4, seq_q=7, key_dim=8, value_dim=16)
    assert op.special_ops == 7 * 4 * 8
    assert op.token_bytes == 2 * (3 * 4 * 8 + 2 * 4 * 16 + 4)  # queries, keys, decays; values, results; learning rates
    assert op.matmul_flops == GdnPrefill(1, 4, 4, 7, 8, 16).matmul_flops


def test_a_step_reads_and_writes_states() -> None:
    op = GdnDecode(batch=3, heads=4, key_heads=2, key_dim=8, value_dim=16)
    states = 3 * 4 * 8 * 16
    assert op.flops == states * 7 + 2 * 3 * 4 * 16
    assert op.matmul_flops == 0
    assert op.kept_bytes == 2 * 4 * states
    assert op.min_bytes == 3 * op.token_bytes + op.kept_bytes
    other = GdnDecode(3, 4, 2, 1, 8, 16, state_dtype="bf16", new_state_dtype="fp32")
    assert (other.read_state_bytes, other.written_state_bytes) == (2 * states, 4 * states)


def test_drafts_keep_the_state_after_each_token() -> None:
    op = KdaDecode(batch=1, heads=2, seq_q=4, key_dim=8, value_dim=16, kept=4)
    assert op.kept_bytes == (1 + 4) * 4 * 2 * 8 * 16
    assert op.flops == 4 * 2 * (7 * 8 * 16 + 2 * 16)


def test_state_space_by_hand() -> None:
    """Ten tokens; six heads of 4 in two groups; B and C of 8."""
    prefill, decode = SsdPrefill(1, 6, 10, 4, 8, 2), SsdDecode(1, 6, 10, 4, 8, 2)
    assert prefill.matmul_flops == 10 * 6 * 4 * 4 * 8
    assert prefill.flops == prefill.matmul_flops + 10 * 6 * 4 * 3
    assert decode.flops == prefill.flops + 10 * 6 * 4 * 8
    assert prefill.min_bytes == 10 * 2 * (2 * 6 * 4 + 2 * 2 * 8 + 6) + 2 * 4 * 6 * 4 * 8
    assert prefill.special_ops == 3 * 10 * 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gdn_prefill(batch=1,heads=5,key_heads=2,seq_q=1)", "heads: expected a multiple of key_heads = 2, found 5"),
        ("gdn_prefill(batch=1,heads=2,key_heads=2,seq_q=1,carried=2)", "carried: expected 0 or 1, found 2"),
        ("kda_decode(batch=1,heads=2,seq_q=2,kept=3)", "kept: expected at most seq_q = 2, found 3"),
        ("ssd_decode(batch=1,heads=5,groups=2)", "heads: expected a multiple of groups = 2, found 5"),
    ],
)
def test_contradictions(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_operator(text)
