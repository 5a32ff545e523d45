"""Prefill attention: tiles by head dimension, warps without queries, the longest CTA, and windows, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.hardware.timing import kernel_seconds
from simexplore.sim.mapping import demands_of
from simexplore.workloads.ops import AttentionPrefill


def prefill(**changed: Any) -> AttentionPrefill:
    sizes = {"batch": 4, "heads": 32, "kv_heads": 8, "head_dim": 128, "seq_q": 1024, "seq_kv": 1024, **changed}
    return AttentionPrefill(**sizes)


def kernel(op: AttentionPrefill, gpu: Gpu) -> KernelDemand:
    (one,) = demands_of(op, gpu, Conditions())
    assert isinstance(one, KernelDemand)
    return one


def tile(op: AttentionPrefill, gpu: Gpu) -> tuple[float, float]:
    rows, keys = kernel(op, gpu).choice.label
    return rows.item(), keys.item()


@pytest.mark.parametrize(
    ("head_dim", "ada", "hopper"),
    [(64, (64, 64), (128, 256)), (80, (64, 32), (128, 128)), (192, (64, 16), (128, 64)), (512, (64, 128), (128, 64))],
)
def test_the_tile_is_the_first_that_is_wide_enough(
    head_dim: int, ada: tuple[int, int], hopper: tuple[int, int], l40s: Gpu, h200: Gpu
) -> None:
    op = prefill(head_dim=head_dim)
    assert (tile(op, l40s), tile(op, h200)) == (ada, hopper)


def test_short_contexts_have_kernels_of_their_own(l40s: Gpu) -> None:
    wide = {"head_dim": 256, "seq_q": 1}
    assert tile(prefill(**wide, seq_kv=64), l40s) == (64, 16)
    assert tile(prefill(**wide, seq_kv=65), l40s) == (64, 128)


@pytest.mark.parametrize(("seq_q", "rows"), [(1, 16), (16, 16), (17, 32), (64, 64), (80, 40)])
def test_warps_without_queries_skip_the_products(seq_q: int, rows: int, l40s: Gpu) -> None:
    """A warp has 16 queries; 80 are five warps in two CTAs."""
    one = kernel(prefill(seq_q=seq_q, seq_kv=seq_q), l40s)
    assert one.work.special_ops.item() / (one.work.tensor_ops.item() / (4 * rows * 128)) == rows


def test_heads_without_an_8_bit_kernel_are_widened(l40s: Gpu, h200: Gpu) -> None:
    """Ada multiplies 8 bits twice as fast as 16, but not for heads of 256, whose elements cost six conversions each."""
    eight_bit = {"seq_q": 64, "seq_kv": 64, "dtype": "fp8", "kv_dtype": "fp8"}
    for head_dim, slower, conversions in ((128, 1, 0), (256, 2, 6)):
        one = kernel(prefill(**eight_bit, head_dim=head_dim), l40s)
        scores = 64 * 64
        assert one.work.tensor_ops.item() == slower * 4 * scores * head_dim
        assert one.work.special_ops.item() == scores + 2 * conversions * 64 * head_dim
    assert kernel(prefill(**eight_bit, head_dim=256), h200).work.special_ops.item() < 2 * 64 * 256


def test_keys_beyond_the_context_are_not_read(l40s: Gpu) -> None:
    one = kernel(prefill(seq_q=1, seq_kv=1), l40s)
    assert one.work.l2_read_bytes.item() == 128 * 2 + 2 * 1 * 128 * 2


def test_both_sides_of_a_window_have_half_empty_tiles(l40s: Gpu) -> None:
    """A CTA of 64 queries with 128 keys each sees 191 keys, which begin anywhere in a tile of 32: about 208."""
    op = prefill(seq_q=8192, seq_kv=8192, window=128)
    one = kernel(op, l40s)
    assert one.work.special_ops.item() / 64 == pytest.approx(128 + 64 + 16, rel=0.03)


def test_the_longest_cta_is_waited_for(l40s: Gpu) -> None:
    """With a causal mask the last queries see twice the mean; within a window all see as many."""
    few = {"batch": 1, "heads": 1, "kv_heads": 1, "seq_q": 8192, "seq_kv": 8192}
    causal, windowed = (kernel(prefill(**few, window=window), l40s) for window in (0, 128))
    share = l40s.attention_kernels.prefill.tail_share
    assert causal.latency.straggler_share.item() == pytest.approx(share, rel=0.03)
    assert windowed.latency.straggler_share.item() == 0.0
    exact = replace(causal, latency=replace(causal.latency, straggler_share=0.0 * causal.latency.straggler_share))
    assert kernel_seconds(causal, l40s).item() > 1.1 * kernel_seconds(exact, l40s).item()


@pytest.mark.parametrize("name", ["nvidia/h200-sxm", "nvidia/l40s", "nvidia/a100-sxm-80gb", "nvidia/b200", "nvidia/t4"])
def test_every_tile_fits_an_sm(name: str) -> None:
    gpu = load_arch(name)
    dtype = "bf16" if "bf16" in gpu.sm.tensor_ops_per_clk else "fp16"
    for head_dim in (64, 128, 192, 256):
        for keys in (32, 4096):
            one = kernel(prefill(head_dim=head_dim, seq_q=keys, seq_kv=keys, dtype=dtype), gpu)
            assert ctas_per_sm(one, gpu).item() >= 1


def test_columns_are_their_rows(h200: Gpu) -> None:
    shapes = [(64, 32), (128, 64), (192, 65), (256, 4096)]
    widths, lengths = (np.array(values) for values in zip(*shapes, strict=True))
    column = prefill(head_dim=widths, seq_q=lengths, seq_kv=lengths)
    alone = [predict(prefill(head_dim=width, seq_q=n, seq_kv=n), h200).time_s[0] for width, n in shapes]
    assert predict(column, h200).time_s == pytest.approx(alone)
