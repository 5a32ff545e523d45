"""What kernels without a mask ask for, against those of prefill, by hand on the machine of round numbers."""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.sim.conditions import COLD, CacheState, Conditions
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping.attention.prefill import encoder_demands, prefill_demands
from simexplore.workloads.ops import AttentionPrefill, EncoderAttention

ROTATED = Conditions(cache=CacheState(weight_copies=9, activation_copies=2))
MODULE = Conditions(cache=CacheState(weight_copies=9, activation_copies=2), attention_module=True)
OWN = (
    "{overlap_exponent: 3, tensor_efficiency: 0.7, softmax_instructions: 4, round_trips: 7, step_round_trips: 2, "
    "module_kernels: 5, register_head_dims: [72], register_rate: 0.25}"
)
UNMASKED: dict[str, object] = {"library.attention.unmasked": OWN}
TCGEN05: dict[str, object] = {"library.gemm.tensor.instruction": "tcgen05", "library.attention.unmasked": OWN}


def encoder(seq_q: int, seq_kv: int, head_dim: int = 64) -> EncoderAttention:
    return EncoderAttention(2, 4, 2, head_dim, seq_q, seq_kv, dtype="fp16")


def test_counts() -> None:
    op = encoder(100, 150)
    assert op.pairs == 100 * 150
    assert op.flops == 4 * 64 * 2 * 4 * 100 * 150
    assert op.kv_bytes == 2 * 2 * 2 * 2 * 64 * 150
    assert op.min_bytes == 2 * (2 * 2 * 4 * 100 * 64) + op.kv_bytes


def test_every_query_computes_every_key() -> None:
    """Tiles of 128 queries by 64 keys: 150 keys are three steps, whatever the query."""
    (kernel,) = encoder_demands(encoder(100, 150), round_gpu(), ROTATED)
    assert plain(kernel.grid.ctas) == 2 * 4
    assert plain(kernel.work.special_ops) == 112 * 192  # seven instructions of 16 rows
    assert plain(kernel.latency.straggler_share) == 0.0


def test_queries_may_be_more_than_keys() -> None:
    """Ten keys are a step of the kernel for short contexts, of 64 queries by 128 keys."""
    (kernel,) = encoder_demands(encoder(1000, 10), round_gpu(), ROTATED)
    assert plain(kernel.work.special_ops * kernel.grid.ctas) == 2 * 4 * 1008 * 128


def test_a_mask_saves_nearly_half_of_long_contexts() -> None:
    (free,) = encoder_demands(encoder(4096, 4096), round_gpu(), ROTATED)
    masked = AttentionPrefill(2, 4, 2, 64, 4096, 4096, dtype="fp16")
    (causal,) = prefill_demands(masked, round_gpu(), ROTATED)
    assert plain(free.work.tensor_ops / causal.work.tensor_ops) == pytest.approx(4096 / (4097 / 2 + 96))


def test_kernels_without_a_mask_have_numbers_of_their_own() -> None:
    (kernel,) = encoder_demands(encoder(100, 150), round_gpu(UNMASKED), ROTATED)
    assert (kernel.overlap.within_sm, kernel.overlap.tensor_efficiency) == (3, 0.7)
    assert plain(kernel.work.fma_ops) == 2 * 4 * 112 * 192
    (plain_kernel,) = encoder_demands(encoder(100, 150), round_gpu(), ROTATED)
    assert plain(plain_kernel.work.fma_ops) == 2 * 6 * 112 * 192
    # A causal kernel on the same machine is what it was.
    masked = AttentionPrefill(2, 4, 2, 64, 100, 150, dtype="fp16")
    with_own, without = (prefill_demands(masked, round_gpu(x), ROTATED)[0] for x in (UNMASKED, None))
    np.testing.assert_array_equal(with_own.work.fma_ops, without.work.fma_ops)


def test_a_module_neither_rotates_nor_appends() -> None:
    (kernel,) = encoder_demands(encoder(100, 150), round_gpu(UNMASKED), MODULE)
    assert kernel.kernel == "attention"
    assert plain(kernel.latency.extra_launches) == 4


@pytest.mark.parametrize(
    ("changes", "width", "computed"),
    [
        ({"library.gemm.tensor.instruction": "wgmma"}, 72, 128),
        ({"library.gemm.tensor.instruction": "wgmma"}, 64, 64),
        (TCGEN05, 80, 80),
        (TCGEN05, 88, 96),
        (TCGEN05, 72, 128 * 4),  # an older kernel, at a quarter of the rate
    ],
)
def test_heads_are_filled_up(changes: dict[str, object], width: int, computed: int) -> None:
    (kernel,) = encoder_demands(encoder(128, 128, width), round_gpu(changes), ROTATED)
    assert plain(kernel.work.tensor_ops / kernel.work.special_ops) == pytest.approx(4 * computed)


def test_keys_and_values_are_no_cache() -> None:
    serving = CacheState(weight_copies=np.inf, activation_copies=1.0)
    free, gpu = encoder(1, 10**6), round_gpu()
    products_s = free.flops / (gpu.sm.count * gpu.clock.boost_hz * gpu.sm.tensor_ops_per_clk["fp16"])
    assert plain(least_seconds(free, gpu, serving)) == pytest.approx(products_s)
    assert plain(least_seconds(free, gpu, COLD)) > 10 * products_s
