"""TensorRT-LLM's rules at their thresholds, on the machine of round numbers: ten SMs, blocks of 128 keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.sim.libraries import attention_rules, tensorrt_llm
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill


def decode(**changed: Any) -> AttentionDecode:
    return AttentionDecode(**{"batch": 1, "heads": 8, "kv_heads": 1, "head_dim": 128, "seq_kv": 128, **changed})


def prefill(**changed: Any) -> AttentionPrefill:
    usual = {"batch": 1, "heads": 8, "kv_heads": 1, "head_dim": 128, "seq_q": 1, "seq_kv": 128}
    return AttentionPrefill(**{**usual, **changed})


def test_the_rules_are_those_that_the_machine_names() -> None:
    assert attention_rules(round_gpu()) is tensorrt_llm


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"batch": 5}, True),  # half a CTA for each of ten SMs
        ({"batch": 4}, False),
        ({"batch": 4, "kv_dtype": "fp8"}, True),  # 8-bit caches have no other
        ({"batch": 4, "dtype": "fp8"}, True),
        ({"batch": 4, "dtype": "fp8", "kv_dtype": "bf16"}, False),
        ({"seq_kv": 5 * 128}, True),  # a CTA for each block
        ({"seq_kv": 5 * 128 - 1}, False),
        ({"batch": 5, "seq_kv": 1}, True),  # and one where there is none
        ({"kv_heads": 5, "heads": 10}, True),
        ({"batch": 5, "heads": 1}, False),
        ({"batch": 5, "heads": 2}, True),
        ({"batch": 5, "heads": 16}, True),
        ({"batch": 5, "heads": 17}, False),
        ({"batch": 5, "heads": 17, "kv_dtype": "fp8"}, False),
    ],
)
def test_who_takes_groups(changed: dict[str, Any], expected: bool) -> None:
    assert tensorrt_llm.takes_groups(decode(**changed), round_gpu()).tolist() == [[expected]]


def test_the_8_bit_kernel_of_wide_heads_rotates() -> None:
    heads = np.array([127, 128, 129])
    rotates = tensorrt_llm.rotates_itself(decode(head_dim=heads, kv_dtype="int8"), round_gpu())
    assert rotates[:, 0].tolist() == [False, True, True]
    assert not tensorrt_llm.rotates_itself(decode(head_dim=heads), round_gpu()).any()


@pytest.mark.parametrize(
    ("batch", "seq_kv", "expected"),
    [
        (1, 1, 1),
        (1, 2 * 128 - 1, 1),
        (1, 2 * 128, 2),
        (1, 8 * 128, 8),
        (1, 10 * 128, 9),  # the root of 8 x 10 is 8.94
        (1, 50 * 128, 20),
        (5, 8 * 128, 8),  # forty CTAs are four on each SM
        (6, 8 * 128, 6),  # 48 are too many by a fifth: 6.67 each
        (100, 8 * 128, 1),
    ],
)
def test_splits_of_the_grouped_kernel(batch: int, seq_kv: int, expected: int) -> None:
    for shared in ({"batch": batch}, {"kv_heads": batch, "heads": 8 * batch}):
        assert tensorrt_llm.grouped_splits(decode(seq_kv=seq_kv, **shared), round_gpu()).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("heads", "expected"),
    [(1, 1024), (13, 1024), (14, 512), (19, 512), (20, 512), (39, 512), (40, 256), (400, 256)],
)
def test_threads_of_the_one_head_kernel(heads: int, expected: int) -> None:
    """An SM has room for four CTAs of 256, forty in all; CTAs of powers of two fill what the heads leave."""
    for shared in ({"heads": heads}, {"heads": 1, "batch": heads}):
        assert tensorrt_llm.head_threads(decode(**shared), round_gpu()).tolist() == [[expected]]


def test_threads_of_the_one_head_kernel_are_1024_at_most() -> None:
    """Three CTAs of 320 threads have room: 960, rounded down."""
    few = {"library.attention.one_head.threads": 320}
    assert tensorrt_llm.head_threads(decode(), round_gpu(few)).tolist() == [[512]]


@pytest.mark.parametrize(
    ("heads", "seq_kv", "threads", "expected"),
    [
        (4, 1000, 1024, 3),  # ten SMs by four heads
        (5, 1000, 1024, 2),
        (4, 99, 1024, 1),  # loops of 100 keys, with the one that comes
        (4, 100, 1024, 2),
        (4, 1000, 512, 3),  # twenty CTAs have room, but there are ten SMs
        (4, 1000, 2048, 2),  # five
        (100, 1000, 1024, 1),
        (100, 24_000, 1024, 1),  # 96 kB of scores
        (100, 24_001, 1024, 2),
        (4, 100_000, 1024, 5),
    ],
)
def test_splits_of_the_one_head_kernel(heads: int, seq_kv: int, threads: int, expected: int) -> None:
    for shared in ({"heads": heads}, {"heads": 1, "batch": heads}):
        op = decode(seq_kv=seq_kv, **shared)
        found = tensorrt_llm.head_splits(op, round_gpu(), np.array([[float(threads)]]), np.array([[100.0]]))
        assert found.tolist() == [[expected]]


def test_scores_of_keys_in_the_window_must_fit() -> None:
    op = decode(batch=100, seq_kv=100_000, window=24_000)
    assert tensorrt_llm.head_splits(op, round_gpu(), np.array([[1024.0]]), np.array([[100.0]])).tolist() == [[1]]


def test_tiles_of_prefill_go_by_the_head_and_the_context() -> None:
    """Menus of 64, 128 and 256, and of 64 and 256 for at most 64 keys; wider heads take the last."""
    op = prefill(head_dim=np.array([64, 65, 128, 129, 300, 64, 65, 300]), seq_kv=np.array([65] * 5 + [64] * 3))
    rows, keys = tensorrt_llm.prefill_tile(op, round_gpu())
    assert rows[:, 0].tolist() == [128, 64, 64, 64, 64, 64, 16, 16]
    assert keys[:, 0].tolist() == [64, 32, 32, 16, 16, 128, 32, 32]


def test_8_bit_operands_are_multiplied_in_some_widths() -> None:
    heads = np.array([64, 96, 128])
    narrow = tensorrt_llm.multiplies_narrow(prefill(head_dim=heads, dtype="fp8"), round_gpu())
    assert narrow[:, 0].tolist() == [True, False, True]
    assert tensorrt_llm.multiplies_narrow(prefill(head_dim=heads, dtype="fp16"), round_gpu()).all()
