"""What prefill kernels ask for on the machine of round numbers, every field worked out by hand.

Of lines that were last read x caches of 1 MB ago, `missed(x)` are gone; two copies of queries and cache rotate. An L2
hit takes 200 clk.
"""

from __future__ import annotations

from typing import Any

import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.attention.prefill import prefill_demands
from simexplore.workloads.ops import AttentionPrefill

COPIES = CacheState(weight_copies=9, activation_copies=2)
ROTATED = Conditions(cache=COPIES)
MODULE = Conditions(cache=COPIES, attention_module=True)
ALWAYS = {
    "kernel": "attention",
    "latency.helper_cycles": 2 * 200,
    "latency.setup_cycles": 5 * 200,
    "overlap.within_sm": 1.5,
    "overlap.tensor_efficiency": 0.8,
    "overlap.l2_rate": 1.2,
    "overlap.dram_rate": 0.9,
}
WGMMA: dict[str, object] = {"library.gemm.tensor.instruction": "wgmma"}


def missed(touched: float) -> float:
    return touched / (1.0 + touched)


def dram(kv: float, queries: float, ctas: int) -> dict[str, float]:
    """A run reads the cache and queries, and writes as many results as it has queries."""
    return {
        "work.dram_read_bytes": (kv + queries) * missed((2 * (kv + queries) + queries) / 1e6) / ctas,
        "work.dram_write_bytes": queries * missed((kv + 2 * queries) / 1e6) / ctas,
    }


def step(row_bytes: float) -> float:
    """Half a round trip; two products and their rows, two shared loads and barriers, six FMA and an exponential."""
    return 0.5 * 200 + 2 * (16 + row_bytes / 32) + 2 * (20 + 30) + 6 * 5 + 8


def prefill(
    batch: int, heads: int, kv_heads: int, head_dim: int, seq_q: int, seq_kv: int, **more: Any
) -> AttentionPrefill:
    return AttentionPrefill(batch, heads, kv_heads, head_dim, seq_q, seq_kv, **{"dtype": "fp16", **more})


def the_kernel(op: AttentionPrefill, changes: dict[str, object] | None = None) -> KernelDemand:
    (kernel,) = prefill_demands(op, round_gpu(changes), ROTATED)
    return kernel


def test_mma_sync() -> None:
    """100 queries after 50 tokens, heads of 96: two tiles of 64 queries, which see 100.5 keys each in the mean, and
    half of a tile more on the diagonal. Seven instructions of 16 rows have queries. Heads are computed as 128.
    """
    kv, queries = 2 * 2 * 2 * 2 * 96 * 150, 2 * 2 * 4 * 100 * 96
    keys = 100.5 + (64 + 32) / 2
    result = 64 * 96 * 2
    expected = {
        "grid.ctas": 16,
        "grid.warps_per_cta": 4,
        "grid.registers_per_thread": 64 * (96 + 32) / 128 + 64,
        "grid.shared_bytes_per_cta": (2 * 32 + 2 * 32) * 96 * 2,
        "work.tensor_dtype": "fp16",
        "work.tensor_ops": 4 * 56 * keys * 128,
        "work.fma_ops": 2 * 6 * 56 * keys,
        "work.special_ops": 56 * keys,
        "work.shared_bytes": 56 / 16 * 2 * keys * 128 * 2,
        "work.l2_read_bytes": result + 2 * keys * 96 * 2,
        "work.l2_write_bytes": result,
        "work.epilogue_bytes": result,
        **dram(kv, queries, 16),
        "latency.bytes_in_flight": 2 * 32 * 96 * 2,
        "latency.chain_cycles": keys / 32 * step(192),
        "latency.exposed_cycles": 10 * 200,
        "latency.straggler_share": 0.4 * (150 / keys - 1),
        "choice.label": (64, 32),
    }
    assert_demand(the_kernel(prefill(2, 4, 2, 96, 100, 150)), ALWAYS | expected)


def test_few_queries_behind_a_window_with_an_8_bit_cache() -> None:
    """Ten queries fill 10 / 64 of a tile, and one instruction's rows. Both sides of the window are half empty."""
    kv, queries = 2 * 1 * 1 * 200 * 59, 2 * 2 * 10 * 200
    keys = 50 + (2 * 10 + 16) / 2
    expected = {
        "grid.ctas": 2,
        "grid.warps_per_cta": 4,
        "grid.registers_per_thread": 64 * (200 + 16) / 128 + 64,
        "grid.shared_bytes_per_cta": (64 + 2 * 16) * 200 * 2,
        "work.tensor_dtype": "bf16",
        "work.tensor_ops": 4 * 16 * keys * 256,
        "work.fma_ops": 2 * 6 * 16 * keys,
        "work.special_ops": 16 * keys,
        "work.shared_bytes": 1 * 2 * keys * 256 * 2,
        "work.l2_read_bytes": 10 * 400 + 2 * keys * 200,
        "work.l2_write_bytes": 10 * 400,
        "work.epilogue_bytes": 10 * 400,
        **dram(kv, queries, 2),
        "latency.bytes_in_flight": 2 * 16 * 200,
        "latency.chain_cycles": keys / 16 * step(400),
        "latency.exposed_cycles": 10 * (3 + 10 / 64) / 4 * (4 + 2) / 5 * 200,
        "latency.straggler_share": 0.4 * ((50 + 64) / keys - 1),
        "choice.label": (64, 16),
    }
    op = prefill(1, 2, 1, 200, 10, 300, window=50, dtype="bf16", kv_dtype="fp8")
    assert_demand(the_kernel(op), ALWAYS | expected)


def test_short_contexts_have_kernels_of_their_own() -> None:
    """64 keys take a step of 128, as far as its shared memory goes, and read what there is."""
    kv, queries = 2 * 4 * 3 * 64 * 64, 4 * 3 * 64 * 64
    expected = {
        "grid.ctas": 3,
        "grid.warps_per_cta": 4,
        "grid.registers_per_thread": 64 * (64 + 128) / 128 + 64,
        "grid.shared_bytes_per_cta": 96_000,  # of 512 rows of 256 bytes
        "work.tensor_dtype": "tf32",
        "work.tensor_ops": 4 * 64 * 128 * 64,
        "work.fma_ops": 2 * 6 * 64 * 128,
        "work.special_ops": 64 * 128,
        "work.shared_bytes": 4 * 2 * 128 * 64 * 4,
        "work.l2_read_bytes": 64 * 256 + 2 * 64 * 256,
        "work.l2_write_bytes": 64 * 256,
        "work.epilogue_bytes": 64 * 256,
        **dram(kv, queries, 3),
        "latency.bytes_in_flight": 2 * 128 * 256,
        "latency.chain_cycles": step(256),
        "latency.exposed_cycles": 10 * (4 + 0.5) / 5 * 200,
        "latency.straggler_share": 0,
        "choice.label": (64, 128),
    }
    assert_demand(the_kernel(prefill(3, 1, 1, 64, 64, 64, dtype="tf32")), ALWAYS | expected)


def test_wgmma_of_8_bit_heads() -> None:
    """Two warp groups of 64 queries and one that loads; 150 queries are three rows of 64 in two tiles of 128."""
    kv, queries = 2 * 1 * 2 * 64 * 150, 1 * 2 * 150 * 64
    keys = 151 / 2 + (128 + 64) / 2
    rows = 3 * 64 / 2
    expected = {
        "grid.ctas": 4,
        "grid.warps_per_cta": 12,
        "grid.registers_per_thread": 128 * (64 + 64) / 256 + 64,
        "grid.shared_bytes_per_cta": (128 + 2 * 2 * 64) * 64,
        "work.tensor_dtype": "fp8",
        "work.tensor_ops": 4 * rows * keys * 64,
        "work.fma_ops": 2 * 6 * rows * keys,
        "work.special_ops": rows * keys,
        # A group of 64 queries reads keys and values, and its queries again for each step of 64 keys.
        "work.shared_bytes": 3 / 2 * (2 * keys + keys) * 64,
        "work.l2_read_bytes": 128 * 64 + 2 * 150 * 64,
        "work.l2_write_bytes": 128 * 64,
        "work.epilogue_bytes": 128 * 64,
        **dram(kv, queries, 4),
        "latency.bytes_in_flight": 2 * 64 * 64,
        "latency.chain_cycles": keys / 64 * step(64),
        "latency.exposed_cycles": 10 * (4 + 0.5) / 5 * 200,
        "latency.straggler_share": 0,  # the mean is of more keys than there are
        "choice.label": (128, 64),
    }
    assert_demand(the_kernel(prefill(1, 2, 2, 64, 150, 150, dtype="fp8"), WGMMA), ALWAYS | expected)


def test_wgmma_widens_8_bit_heads_that_have_no_kernel() -> None:
    """Products of heads of 96 run at the 16-bit rate, half of that of 8 bits, after three conversions an element."""
    keys = (99 * 100 / 2 + 100) / 100 + (64 + 32) / 2
    kernel = the_kernel(prefill(1, 1, 1, 96, 100, 100, dtype="fp8"), WGMMA)
    rows = 2 * 64 / 2
    assert kernel.work.tensor_ops.item() == pytest.approx(4 * rows * keys * 96 * 2)
    assert kernel.work.special_ops.item() == pytest.approx(rows * keys + 2 * 3 * keys * 96)
    assert kernel.grid.warps_per_cta.item() == 8
    assert kernel.work.shared_bytes.item() == pytest.approx(1 * (2 * keys + 64 / 32 * keys) * 96)
    assert kernel.latency.exposed_cycles.item() == pytest.approx(10 * (4 + 96 / 128) / 5 * 200)


def test_machines_without_bf16_widen_to_fp16() -> None:
    """A machine that has fp8 at 2048 and fp16 at 512 multiplies widened heads four times slower."""
    gpu = round_gpu({"sm.tensor.fp16": "512 op/clk"})
    rates = {name: rate for name, rate in gpu.sm.tensor_ops_per_clk.items() if name != "bf16"}
    gpu = gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor_ops_per_clk": rates})})
    ops = [
        prefill_demands(prefill(1, 1, 1, width, 64, 64, dtype="fp8"), gpu, ROTATED)[0].work.tensor_ops.item() / 128
        for width in (96, 128)  # both computed as 128
    ]
    assert ops[0] == pytest.approx(4 * ops[1])


@pytest.mark.parametrize(
    ("tile", "warps", "registers"),
    [
        ("32x64", 4, 32 * (256 + 64) / 128 + 64),  # two instructions' rows, in four warps all the same
        ("64x256", 4, 255),  # of 320
        ("128x256", 8, 61440 / 256),  # of 320, and of 255 that a thread can have
        ("256x16", 16, 61440 / 512),
    ],
)
def test_registers_of_prefill(tile: str, warps: int, registers: float) -> None:
    kernel = the_kernel(prefill(1, 1, 1, 256, 100, 100), {"library.attention.prefill.tiles": f"{{'256': {tile}}}"})
    assert kernel.grid.warps_per_cta.item() == warps
    assert kernel.grid.registers_per_thread.item() == pytest.approx(registers)


@pytest.mark.parametrize(
    ("seq_q", "seq_kv", "window", "expected"),
    [
        (64, 1000, 0, 1000 - 63 / 2 + (64 + 32) / 2),
        (1, 65, 0, 65 + (1 + 32) / 2),
        (1, 100, 100, 100 + (1 + 32) / 2),  # a window of all keys has one side
        (1, 100, 99, 99 + (2 + 32) / 2),
        (1, 70, 1, 32),  # a step at least
        (1, 97, 0, 97 + (1 + 32) / 2),
        (64, 96, 0, 96),  # all steps that there are
    ],
)
def test_keys_of_a_cta(seq_q: int, seq_kv: int, window: int, expected: float) -> None:
    """What its queries see in the mean, and half of the tiles that they see in part."""
    kernel = the_kernel(prefill(1, 1, 1, 128, seq_q, seq_kv, window=window))
    assert kernel.work.special_ops.item() == pytest.approx(-(-seq_q // 16) * 16 * expected)


def test_a_window_bounds_the_longest_cta() -> None:
    """No longer than all tokens."""
    kernel = the_kernel(prefill(1, 1, 1, 128, 256, 256, window=200))
    pairs = 200 * 201 / 2 + 56 * 200
    assert kernel.latency.straggler_share.item() == pytest.approx(0.4 * (256 / (pairs / 256 + (128 + 32) / 2) - 1))


def test_a_module_rotates_and_appends_first() -> None:
    """Ten tokens of two sequences: four query heads and two KV heads of 128, and as many values, kept in 8 bits."""
    op = prefill(2, 4, 2, 128, 10, 300, kv_dtype="int8")
    before, kernel = prefill_demands(op, round_gpu(), MODULE)
    queries, keys = 20 * 4 * 128, 20 * 2 * 128
    read, write = (queries + 2 * keys) * 2, queries * 2 + 2 * keys
    ctas = 5  # 41 kB, of 16 bytes of 256 threads twice
    assert (before.kernel, kernel.kernel) == ("rotate_append", "attention")
    assert_demand(
        before,
        {
            "kernel": "rotate_append",
            "grid.ctas": ctas,
            "grid.warps_per_cta": 8,
            "grid.registers_per_thread": 32,
            "grid.shared_bytes_per_cta": 0,
            "work.fma_ops": 6 * (queries + keys) / ctas,
            "work.l2_read_bytes": read / ctas,
            "work.l2_write_bytes": write / ctas,
            "work.dram_read_bytes": read * missed((read + write) / 1e6) / ctas,
            "work.dram_write_bytes": write * missed((read + write) / 1e6) / ctas,
            "latency.bytes_in_flight": 8192,
            "latency.exposed_cycles": 200,
            "latency.setup_cycles": 100,
            "latency.extra_launches": 8 - 2,
            "overlap.l2_rate": 1.25,
        },
    )


@pytest.mark.parametrize("kernels", [1, 2])
def test_a_module_of_two_kernels_has_no_others(kernels: int) -> None:
    gpu = round_gpu({"library.attention.prefill.module_kernels": kernels})
    before, _ = prefill_demands(prefill(1, 1, 1, 64, 9, 9), gpu, MODULE)
    assert before.latency.extra_launches.item() == 0


def test_types_without_tensor_cores_are_a_mistake() -> None:
    message = "Round has no tensor cores for int4 attention; its tensor cores take bf16, fp16, fp8, int8, tf32"
    with pytest.raises(SimexploreError, match=message):
        the_kernel(prefill(1, 1, 1, 64, 9, 9, dtype="int4"))
