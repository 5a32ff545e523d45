"""What attention over a latent cache asks for on the machine of round numbers, every field worked out by hand.

Of lines that were last read x caches of 1 MB ago, `missed(x)` are gone; nine copies of the cache rotate, two of
activations. An L2 hit takes 200 clk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.mapping.attention.latent_decode import mla_decode_demands
from simexplore.sim.mapping.attention.latent_prefill import mla_prefill_demands
from simexplore.workloads.ops import MlaDecode, MlaPrefill

CACHE = CacheState(weight_copies=9, activation_copies=2)
ALONE, MODULE = Conditions(cache=CACHE), Conditions(cache=CACHE, attention_module=True)
DECODE: dict[str, Any] = {
    "kernel": "attention",
    "grid.warps_per_cta": 8,
    "grid.registers_per_thread": 61440 / 256,
    "grid.shared_bytes_per_cta": 96000,
    "work.tensor_dtype": "fp16",
    "latency.setup_cycles": 5 * 200,
    "overlap.within_sm": 2.5,
    "overlap.tensor_efficiency": 0.75,
    "overlap.dram_rate": 0.95,
}


def missed(touched: float) -> float:
    return touched / (1.0 + touched)


def stream(name: str, ctas: int, read: float, write: float, flops: float, **more: float) -> dict[str, Any]:
    """A streaming kernel whose inputs were just written."""
    return {
        "kernel": name,
        "grid.ctas": ctas,
        "grid.warps_per_cta": 8,
        "grid.registers_per_thread": 32,
        "grid.shared_bytes_per_cta": 0,
        "work.fma_ops": flops / ctas,
        "work.l2_read_bytes": read / ctas,
        "work.l2_write_bytes": write / ctas,
        "work.dram_read_bytes": read * missed((read + write) / 1e6) / ctas,
        "work.dram_write_bytes": write * missed((read + write) / 1e6) / ctas,
        "latency.bytes_in_flight": min(read / ctas, 8192),
        "latency.exposed_cycles": 200,
        "latency.setup_cycles": 100,
        "overlap.l2_rate": 1.25,
        **more,
    }


STEP = 1.5 * 200 + 2 * (16 + 30) + 576 * 2 / 32 + 6 * 5 + 8
"""Clocks of a step of decode: round trips, two products and barriers, rows of queries, six FMA and an exponential."""


def test_decode_of_whole_sequences() -> None:
    """Three sequences of 130 tokens, 70 heads: two tiles of heads, three steps, a CTA each; nothing to merge."""
    rotate, attention, merge = mla_decode_demands(MlaDecode(3, 70, 130, dtype="fp16"), round_gpu(), MODULE)
    rotated, latents = 3 * 70 * 64, 3 * 576
    moved = 2 * (rotated + latents)
    assert_demand(rotate, stream("rotate_append", 4, moved, moved, 6 * rotated, **{"latency.extra_launches": 2}))
    assert_demand(merge, stream("merge", 1, 0, 0, 0))
    kv, queries, results = 3 * 130 * 576 * 2, 3 * 70 * 576 * 2, 3 * 70 * 512 * 2
    read = kv * missed((9 * kv + queries + results) / 1e6) + queries * missed((2 * queries + kv + results) / 1e6)
    expected = {
        "grid.ctas": 6,
        "work.tensor_ops": 2 * 64 * 192 * (576 + 512),
        "work.fma_ops": 2 * 6 * 64 * 192,
        "work.special_ops": 64 * 192,
        "work.shared_bytes": 192 * (2 * 576 + 512) * 2,
        "work.l2_read_bytes": 130 * 576 * 2 + queries / 6,
        "work.l2_write_bytes": results / 6,
        "work.epilogue_bytes": results / 6,
        "work.dram_read_bytes": read / 6,
        "work.dram_write_bytes": results * missed((kv + queries + results) / 1e6) / 6,
        "latency.bytes_in_flight": 64 * 576 * 2,
        "latency.chain_cycles": 3 * STEP,
        "latency.exposed_cycles": 12 * 200,
        "choice.label": (64, 64, 1),
    }
    assert_demand(attention, DECODE | expected)


def test_decode_of_one_long_sequence_with_an_8_bit_cache() -> None:
    """A hundred steps among ten CTAs, eleven for the busiest; their results are merged in FP32."""
    op = MlaDecode(1, 16, 6400, dtype="fp16", kv_dtype="fp8")
    attention, merge = mla_decode_demands(op, round_gpu(), ALONE)
    partial, results = 10 * 16 * 512 * 4, 16 * 512 * 2
    more = {"latency.exposed_cycles": 7 * 200}
    assert_demand(merge, stream("merge", 40, partial, results, 2 * 10 * 16 * 512, **more))
    kv, queries = 6400 * 576, 16 * 576 * 2
    read = kv * missed((9 * kv + queries + results) / 1e6) + queries * missed((2 * queries + kv + results) / 1e6)
    expected = {
        "grid.ctas": 10,
        "work.tensor_ops": 2 * 64 * 640 * (576 + 512),
        "work.fma_ops": 2 * 6 * 64 * 640,
        "work.special_ops": 64 * 640,
        "work.shared_bytes": 640 * (2 * 576 + 512),
        "work.l2_read_bytes": kv / 10 + queries,
        "work.l2_write_bytes": partial / 10,
        "work.epilogue_bytes": partial / 10,
        "work.dram_read_bytes": read / 10,
        "work.dram_write_bytes": results * missed((kv + queries + results) / 1e6) / 10,
        "latency.bytes_in_flight": 64 * 576,
        "latency.chain_cycles": 11 * STEP,
        "latency.exposed_cycles": 12 * 200,
        "choice.label": (64, 64, 10),
    }
    assert_demand(attention, DECODE | expected)


def test_prefill_on_expanded_heads() -> None:
    """Two sequences, three heads; 100 queries after 50 tokens see 100.5 keys each, and half a tile of both more."""
    op = MlaPrefill(2, 3, 100, 150, dtype="fp16")
    rotate, attention = mla_prefill_demands(op, round_gpu(), MODULE)
    rotated, latents = 200 * 3 * 64, 200 * 576
    read, write = 2 * (rotated + latents), 2 * (2 * rotated + latents)
    assert_demand(rotate, stream("rotate_append", 47, read, write, 12 * rotated, **{"latency.extra_launches": 6}))
    keys = min(100.5 + (100 + 64) / 2, 192)
    queries, results, kv = 200 * 3 * 192 * 2, 200 * 3 * 128 * 2, 2 * 150 * 3 * 320 * 2
    rows = 112  # seven instructions of 16
    expected = {
        "kernel": "attention",
        "grid.ctas": 6,
        "grid.warps_per_cta": 12,
        "grid.registers_per_thread": 128 * (128 + 64) / 384 + 64,
        "grid.shared_bytes_per_cta": 96000,
        "work.tensor_dtype": "fp16",
        "work.tensor_ops": 2 * rows * keys * 320,
        "work.fma_ops": 2 * 6 * rows * keys,
        "work.special_ops": rows * keys,
        "work.shared_bytes": 7 * keys * 320 * 2 + rows * 192 * 2,
        "work.l2_read_bytes": queries / 6 + 150 * 320 * 2,
        "work.l2_write_bytes": results / 6,
        "work.epilogue_bytes": results / 6,
        "work.dram_read_bytes": (kv + queries) * missed((2 * (kv + queries) + results) / 1e6) / 6,
        "work.dram_write_bytes": results * missed((kv + queries + results) / 1e6) / 6,
        "latency.bytes_in_flight": 64 * 320 * 2,
        "latency.chain_cycles": keys / 64 * (0.5 * 200 + 2 * (16 + 30) + 192 * 2 / 32 + 6 * 5 + 8),
        "latency.exposed_cycles": 10 * 200,
        "latency.straggler_share": 0,
        "latency.setup_cycles": 5 * 200,
        "latency.helper_cycles": 2 * 200,
        "overlap.within_sm": 1.5,
        "overlap.tensor_efficiency": 0.8,
        "choice.label": (128, 64),
    }
    assert_demand(attention, expected)


def test_prefill_on_latents_is_one_key_head_and_reads_values_with_keys() -> None:
    """All heads of all tokens are rows: 300 of a sequence in three tiles, of 43 tokens each."""
    op = MlaPrefill(2, 3, 100, 150, dtype="fp16")
    (kernel,) = mla_prefill_demands(op, round_gpu({"library.mla.rules": "absorbing"}), ALONE)
    keys = min(100.5 + (128 / 3 + 64) / 2, 192)
    rows = 304 / 3
    assert float(kernel.grid.ctas.item()) == 6
    np.testing.assert_allclose(kernel.work.tensor_ops, 2 * rows * keys * (576 + 512))
    np.testing.assert_allclose(kernel.work.l2_read_bytes, 100 * 576 * 2 + 150 * 576 * 2)
    np.testing.assert_allclose(kernel.latency.bytes_in_flight, 64 * 576 * 2)


@pytest.mark.parametrize("module", [False, True])
def test_an_append_comes_with_the_module_alone(module: bool) -> None:
    conditions = MODULE if module else ALONE
    kernels = mla_decode_demands(MlaDecode(1, 1, 1, dtype="fp16"), round_gpu(), conditions)
    assert [kernel.kernel for kernel in kernels] == ["rotate_append"] * module + ["attention", "merge"]
