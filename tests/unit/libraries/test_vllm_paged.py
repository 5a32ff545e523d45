"""vLLM's paged attention at its thresholds: groups in partitions of 128 keys, single heads in partitions of 512."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.sim.libraries import attention_rules, vllm_paged
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill

GPU = round_gpu({"library.attention.rules": "vllm_paged"})


def decode(**changed: Any) -> AttentionDecode:
    return AttentionDecode(**{"batch": 1, "heads": 8, "kv_heads": 1, "head_dim": 128, "seq_kv": 128, **changed})


def test_the_rules_are_those_that_the_machine_names() -> None:
    assert attention_rules(GPU) is vllm_paged


def test_groups_of_up_to_sixteen_heads_share_a_cta() -> None:
    groups = vllm_paged.takes_groups(decode(heads=np.array([2, 4, 32, 34]), kv_heads=2), GPU)
    assert groups[:, 0].tolist() == [True, True, True, False]


def test_no_kernel_rotates() -> None:
    assert vllm_paged.rotates_itself(decode(kv_dtype="fp8"), GPU).tolist() == [[False]]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ({"dtype": "bf16"}, False),
        ({"dtype": "bf16", "kv_dtype": "int8"}, True),
        ({"dtype": "fp8"}, True),
        ({"dtype": "fp8", "kv_dtype": "fp16"}, False),
    ],
)
def test_narrow_caches(types: dict[str, str], expected: bool) -> None:
    assert vllm_paged.has_narrow_cache(decode(**types)) is expected


def test_a_group_has_a_cta_for_each_partition() -> None:
    assert vllm_paged.grouped_splits(decode(seq_kv=np.array([1, 128, 129, 1000])), GPU)[:, 0].tolist() == [1, 1, 2, 8]


@pytest.mark.parametrize(
    ("batch", "seq_kv", "expected"),
    [
        (1, 512, 1),
        (1, 513, 2),
        (64, 8192, 16),  # 512 heads are not many
        (65, 8192, 1),
        (65, 8193, 17),
        (65, 1, 1),
    ],
)
def test_long_contexts_of_one_head_are_partitioned(batch: int, seq_kv: int, expected: int) -> None:
    op, nothing = decode(batch=batch, seq_kv=seq_kv), np.zeros((1, 1))
    assert vllm_paged.head_splits(op, GPU, nothing, nothing).tolist() == [[expected]]
    assert vllm_paged.head_threads(op, GPU).tolist() == [[256]]


def test_prefill_has_one_menu_and_some_widths_for_8_bits() -> None:
    heads = np.array([64, 96, 300])
    op = AttentionPrefill(1, 8, 1, heads, 8, 8, dtype="int8")
    rows, keys = vllm_paged.prefill_tile(op, GPU)
    assert (rows[:, 0].tolist(), keys[:, 0].tolist()) == ([128, 64, 64], [64, 32, 16])
    assert vllm_paged.multiplies_narrow(op, GPU)[:, 0].tolist() == [True, False, False]
    assert vllm_paged.multiplies_narrow(AttentionPrefill(1, 8, 1, heads, 8, 8, dtype="bf16"), GPU).all()
