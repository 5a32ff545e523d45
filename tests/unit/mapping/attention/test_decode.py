"""Decode attention: which kernel serves a row, how far it splits, and what its loops do, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import kernels_of, predict
from simexplore.sim.mapping import algorithms_of
from simexplore.workloads.ops import AttentionDecode

MODULE = Conditions(launch="graph", attention_module=True)


def decode(**changed: Any) -> AttentionDecode:
    return AttentionDecode(**{"batch": 64, "heads": 32, "kv_heads": 8, "head_dim": 128, "seq_kv": 1024, **changed})


def attention(op: AttentionDecode, gpu: Gpu, conditions: Conditions | None = None) -> KernelDemand:
    """The kernel that attends."""
    kernel = kernels_of(op, gpu, Conditions() if conditions is None else conditions)[-1]
    assert isinstance(kernel, KernelDemand)
    assert kernel.kernel == "attention"
    return kernel


def grouped(op: AttentionDecode, gpu: Gpu) -> bool:
    """Whether a CTA computes all query heads of a KV head."""
    return bool(np.any(attention(op, gpu).work.tensor_ops > 0.0))


def splits(op: AttentionDecode, gpu: Gpu) -> float:
    return attention(op, gpu).choice.label[0].item()


def test_one_kernel_serves_each_row(h200: Gpu) -> None:
    heads = np.array([8, 16, 64, 512])
    served = [way.serves for way in algorithms_of(decode(heads=heads), h200, MODULE)]
    assert np.all(np.sum(served, axis=0) == 1)


@pytest.mark.parametrize(("heads", "expected"), [(8, False), (16, True), (256, True), (264, False)])
def test_the_grouped_kernel_takes_two_to_thirty_two_heads(heads: int, expected: bool, h200: Gpu) -> None:
    assert grouped(decode(heads=heads), h200) is expected


@pytest.mark.parametrize(("seq_kv", "expected"), [(127, False), (1023, False), (1024, False), (1152, True)])
def test_too_few_ctas_leave_groups_to_the_one_head_kernel(seq_kv: int, expected: bool, h200: Gpu) -> None:
    """Four KV heads on 132 SMs: 33 CTAs are wanted, so nine blocks of 128 keys."""
    assert grouped(decode(batch=1, heads=16, kv_heads=4, seq_kv=seq_kv), h200) is expected


def test_an_8_bit_cache_never_does(h200: Gpu) -> None:
    assert grouped(decode(batch=1, heads=2, kv_heads=1, seq_kv=2, kv_dtype="fp8"), h200)


@pytest.mark.parametrize(
    ("batch", "seq_kv", "expected"),
    [(8, 255, 1), (8, 256, 2), (8, 1024, 8), (1, 8192, 23), (1, 131072, 91), (64, 8192, 2), (512, 8192, 1)],
)
def test_grouped_splits_as_the_engine_counts_them(batch: int, seq_kv: int, expected: int, h200: Gpu) -> None:
    """A CTA for 128 keys, sqrt(8 x blocks) at most, and eight waves: 132 x 8 / (64 x 8) is two."""
    assert splits(decode(batch=batch, seq_kv=seq_kv), h200) == expected


def test_a_grouped_cta_reads_keys_once_and_computes_whole_warps(h200: Gpu) -> None:
    kernel = attention(decode(batch=512, seq_kv=100), h200)
    assert kernel.grid.ctas.item() == 512 * 8
    partial = 4 * 128 * 2
    assert kernel.work.l2_read_bytes.item() == 2 * 100 * 128 * 2 + partial
    assert kernel.work.tensor_ops.item() == 4 * 16 * 128 * 128  # a row of 16 queries, two warps of 64 keys


def test_heads_of_192_cost_what_256_do(h200: Gpu) -> None:
    odd, even = (attention(decode(batch=512, head_dim=width), h200) for width in (192, 256))
    assert odd.work.tensor_ops.item() == even.work.tensor_ops.item()
    assert odd.work.l2_read_bytes.item() < even.work.l2_read_bytes.item()


def test_a_window_skips_whole_tiles(h200: Gpu) -> None:
    whole, part = (attention(decode(batch=512, seq_kv=4096, window=window), h200) for window in (0, 128))
    assert whole.latency.chain_cycles.item() == 16 * part.latency.chain_cycles.item()
    assert part.work.l2_read_bytes.item() < whole.work.l2_read_bytes.item() / 30


@pytest.mark.parametrize(("sequences", "warps"), [(1, 32), (132, 32), (200, 16), (400, 16), (528, 8), (4000, 8)])
def test_ctas_of_one_head_are_large_while_sms_are_unfilled(sequences: int, warps: int, h200: Gpu) -> None:
    assert attention(decode(batch=sequences, heads=1, kv_heads=1), h200).grid.warps_per_cta.item() == warps


@pytest.mark.parametrize(("seq_kv", "expected"), [(511, 1), (512, 2), (2000, 4), (100_000, 17), (200_000, 17)])
def test_heads_split_by_loops_until_the_sms_are_full(seq_kv: int, expected: int, h200: Gpu) -> None:
    """1,024 threads take 64 keys of 256 bytes at once, eight times; eight heads leave room for 17 CTAs each."""
    assert splits(decode(batch=1, heads=8, seq_kv=seq_kv), h200) == expected


def test_scores_must_fit_shared_memory(l40s: Gpu) -> None:
    """99 KiB are 25,344 scores of four bytes."""
    many = decode(batch=512, heads=8, seq_kv=60_000)
    assert splits(many, l40s) == 3


def test_unrolled_loops_run_to_their_end(h200: Gpu) -> None:
    """256 threads take 16 keys at once, four times: 65 keys cost what 128 do, 4 keys a quarter of 16."""
    work = [
        attention(decode(batch=512, heads=8, seq_kv=keys), h200).work.fma_ops.item() for keys in (4, 16, 64, 65, 128)
    ]
    assert np.array(work) / work[1] == pytest.approx([0.25, 1, 1, 2, 2])


def test_only_the_grouped_kernel_needs_one_that_rotates(h200: Gpu, l40s: Gpu) -> None:
    narrow = decode(kv_dtype="fp8")
    assert len(kernels_of(decode(), h200, MODULE)) == 2
    assert len(kernels_of(decode(heads=8), h200, MODULE)) == 1
    assert len(kernels_of(narrow, h200, MODULE)) == 1
    assert len(kernels_of(decode(head_dim=64, kv_dtype="fp8"), h200, MODULE)) == 2
    assert len(kernels_of(narrow, l40s, MODULE)) == 2


def test_ada_neither_splits_an_8_bit_cache_nor_multiplies_it(l40s: Gpu, h200: Gpu) -> None:
    op = decode(batch=1, seq_kv=8192, kv_dtype="fp8")
    assert (splits(op, l40s), splits(op, h200)) == (1, 23)
    keys = attention(op, l40s)
    assert keys.work.special_ops.item() == 8192 * 16 + 2 * 2 * 8192 * 128  # scores, and two conversions an element


def test_idle_ctas_of_hopper_s_8_bit_kernel_return(h200: Gpu) -> None:
    op = decode(batch=1, seq_kv=8192, window=128, kv_dtype="fp8")
    assert splits(op, h200) == 2  # tiles of 64 keys in the window
    assert attention(decode(batch=1, seq_kv=8192, window=128), h200).choice.label[0].item() == 23


def test_queries_and_results_push_the_cache_out(l40s: Gpu) -> None:
    """64 heads of 2,048 sequences are 33 MB that come, are rotated, and leave: with 17 MB of keys more than 96 MB."""
    op = decode(batch=2048, heads=64, seq_kv=2)
    inside, alone = (attention(op, l40s, Conditions(attention_module=module, cache=WARM)) for module in (True, False))
    assert inside.work.dram_read_bytes.item() > 5 * alone.work.dram_read_bytes.item()


def test_columns_are_their_rows(h200: Gpu) -> None:
    rows = [{"batch": 1, "heads": 8}, {"batch": 64, "heads": 32}, {"batch": 7, "heads": 128, "seq_kv": 33}]
    names = ("batch", "heads", "seq_kv")
    column = decode(**{name: np.array([getattr(decode(**row), name) for row in rows]) for name in names})
    alone = [predict(decode(**row), h200, MODULE).time_s[0] for row in rows]
    assert predict(column, h200, MODULE).time_s == pytest.approx(alone)
