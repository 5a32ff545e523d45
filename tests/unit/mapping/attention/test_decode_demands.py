"""What decode kernels ask for on the machine of round numbers, every field worked out by hand.

Of lines that were last read x caches of 1 MB ago, `missed(x)` are gone. Of the KV cache three copies rotate, of the
queries two. An L2 hit takes 200 clk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.attention.decode import decode_algorithms
from simexplore.workloads.ops import AttentionDecode

COPIES = CacheState(weight_copies=3, activation_copies=2)
ROTATED = Conditions(cache=COPIES)
MODULE = Conditions(cache=COPIES, attention_module=True)
ALWAYS = {
    "kernel": "attention",
    "work.tensor_dtype": "bf16",
    "overlap.within_sm": 2.5,
    "overlap.l2_rate": 1.3,
    "overlap.dram_rate": 0.95,
}
WGMMA: dict[str, object] = {"library.gemm.tensor.instruction": "wgmma"}


def missed(touched: float) -> float:
    return touched / (1.0 + touched)


def dram(kv: float, queries: float, others: float) -> float:
    """Bytes that DRAM brings: of the cache, after three of it and what else is touched, and of the queries."""
    return kv * missed((3 * kv + others) / 1e6) + queries * missed((2 * queries + kv) / 1e6)


def decode(batch: int, heads: int, kv_heads: int, head_dim: int, seq_kv: int, **more: Any) -> AttentionDecode:
    return AttentionDecode(batch, heads, kv_heads, head_dim, seq_kv, **{"dtype": "bf16", **more})


def the_kernel(
    op: AttentionDecode, changes: dict[str, object] | None = None, conditions: Conditions = ROTATED
) -> KernelDemand:
    (way,) = decode_algorithms(op, round_gpu(changes), conditions)
    kernel = way.kernels[-1]
    assert isinstance(kernel, KernelDemand)
    return kernel


def test_a_group_of_eight_split_six_ways() -> None:
    """1,000 keys are seven blocks of 128, and as many CTAs are wanted, 42 in all; four on each of ten SMs is one less.

    They share four tiles of 256 keys, so that two of three have any. Sixteen warp tiles of 64 are computed in all.
    """
    kv, queries = 2 * 2 * 3 * 2 * 96 * 1000, 2 * 3 * 16 * 96
    keys, partial = 1024 / 6, 8 * 96 * 4
    expected = {
        "grid.ctas": 36,
        "grid.warps_per_cta": 8,
        "grid.registers_per_thread": 61440 / 256,
        "grid.shared_bytes_per_cta": 96_000,
        "work.tensor_ops": 4 * 16 * keys * 128,
        "work.fma_ops": 2 * 6 * 16 * keys,
        "work.special_ops": 16 * keys,
        "work.shared_bytes": 2 * 2 * keys * 128 * 2,  # keys and values, written and read
        "work.l2_read_bytes": 2 * 1000 / 6 * 96 * 2 + partial,
        "work.l2_write_bytes": partial,
        "work.epilogue_bytes": partial,
        "work.dram_read_bytes": dram(kv, queries, 2 * queries) / 36,
        "latency.bytes_in_flight": 0.9 * 2 * 256 * 100,  # 100 of the 256 bytes of a key
        "latency.chain_cycles": 1 * 3 * 200,
        "latency.exposed_cycles": (14 + 11) * 200 * (2 / 3 + 0.6 / 3),
        "latency.setup_cycles": (5 + 7 + 2 * 6) * 200,
        "choice.label": (6,),
    }
    assert_demand(the_kernel(decode(3, 16, 2, 96, 1000)), ALWAYS | expected)


def test_two_rows_of_instructions_behind_a_window() -> None:
    """1,100 keys in eight CTAs; a window of 300 leaves two of five tiles, for a quarter of them. Twenty query heads are
    two tiles of 16, and heads of 200 are computed as 256. On 20 SMs 16 CTAs queue less.
    """
    kv, queries = 2 * 2 * 1 * 2 * 200 * 300, 2 * 40 * 200
    partial = 20 * 200 * 4
    trips = (14 * (1 + 2) / 2 + 11) * (3 + 2) / 4
    expected = {
        "grid.ctas": 16,
        "grid.warps_per_cta": 8,
        "grid.registers_per_thread": 240,
        "grid.shared_bytes_per_cta": 96_000,
        "work.tensor_ops": 4 * 32 * 40 * 256,
        "work.fma_ops": 2 * 6 * 32 * 40,
        "work.special_ops": 32 * 40,
        "work.shared_bytes": 2 * 2 * 40 * 256 * 2,
        "work.l2_read_bytes": 2 * 300 / 8 * 200 * 2 + partial,
        "work.l2_write_bytes": partial,
        "work.epilogue_bytes": partial,
        "work.dram_read_bytes": dram(kv, queries, 2 * queries) / 16,
        "latency.bytes_in_flight": 0.9 * 2 * 256 * 100,
        "latency.chain_cycles": 3 * 200,
        "latency.exposed_cycles": trips * 200 * (0.7 + 0.3 * 16 / 20) * (0.25 + 0.6 * 0.75),
        "latency.setup_cycles": (5 + 7 + 2 * 8) * 200,
        "choice.label": (8,),
    }
    machine: dict[str, object] = {"sm.count": 20, "library.attention.grouped.max_group": 20}
    assert_demand(the_kernel(decode(1, 40, 2, 200, 1100, window=300), machine), ALWAYS | expected)


def test_one_cta_a_group_in_a_module() -> None:
    """200 keys are not split: results in 16 bits, nothing merged. What comes in is touched too: queries, keys, values.

    The kernel before has rotated; heads of 32 load all of their 64 bytes at once.
    """
    kv, queries = 2 * 2 * 6 * 2 * 32 * 200, 2 * 6 * 8 * 32
    op = decode(6, 8, 2, 32, 200, dtype="fp16")
    expected = {
        "work.tensor_dtype": "fp16",
        "grid.ctas": 12,
        "grid.warps_per_cta": 8,
        "grid.registers_per_thread": 240,
        "grid.shared_bytes_per_cta": 96_000,
        "work.tensor_ops": 4 * 16 * 256 * 32,
        "work.fma_ops": 2 * 6 * 16 * 256,
        "work.special_ops": 16 * 256,
        "work.shared_bytes": 2 * 2 * 256 * 32 * 2,
        "work.l2_read_bytes": 2 * 200 * 32 * 2 + 4 * 32 * 2,
        "work.l2_write_bytes": 4 * 32 * 2,
        "work.epilogue_bytes": 4 * 32 * 2,
        "work.dram_read_bytes": dram(kv, queries, queries * (2 + 1 + 2 * 2 / 8)) / 12,
        "latency.bytes_in_flight": 0.9 * 2 * 256 * 64,
        "latency.chain_cycles": 3 * 200,
        "latency.exposed_cycles": 14 * (3 + 0.25) / 4 * 200,
        "latency.setup_cycles": 5 * 200,
        "choice.label": (1,),
    }
    assert_demand(the_kernel(op, conditions=MODULE), ALWAYS | expected)


def test_an_8_bit_cache_widened_for_mma_sync() -> None:
    """Three CTAs at most, which keep their keys where the context is long: 3,000 keys are twelve tiles, four each."""
    kv, queries = 2 * 4 * 128 * 3000, 2 * 16 * 128
    keys, partial = 3008 / 3, 4 * 128 * 4
    expected = {
        "grid.ctas": 12,
        "grid.warps_per_cta": 8,
        "grid.registers_per_thread": 240,
        "grid.shared_bytes_per_cta": 96_000,
        "work.tensor_ops": 4 * 16 * keys * 128,
        "work.fma_ops": 2 * 6 * 16 * keys,
        "work.special_ops": 16 * keys + 2 * 2 * keys * 128,  # two conversions for each element of keys and values
        "work.shared_bytes": 2 * 2 * keys * 128,
        "work.l2_read_bytes": 2 * 1000 * 128 + partial,
        "work.l2_write_bytes": partial,
        "work.epilogue_bytes": partial,
        "work.dram_read_bytes": dram(kv, queries, 2 * queries) / 12,
        "latency.bytes_in_flight": 0.9 * 2 * 256 * 100,
        "latency.chain_cycles": 4 * 1.5 * 200,
        "latency.exposed_cycles": (12 + 11) * 200,
        "latency.setup_cycles": (5 + 6 + 2 * 3) * 200,
        "choice.label": (3,),
    }
    assert_demand(the_kernel(decode(1, 16, 4, 128, 3000, kv_dtype="fp8")), ALWAYS | expected)


def test_ctas_of_the_widening_kernel_that_see_nothing_stay() -> None:
    kernel = the_kernel(decode(1, 16, 4, 128, 3000, window=50, kv_dtype="fp8"))
    assert (kernel.choice.label[0].item(), kernel.grid.ctas.item()) == (3, 12)
    assert kernel.latency.exposed_cycles.item() == pytest.approx((12 + 11) * 200 * (1 / 3 + 0.6 * 2 / 3))


def test_an_8_bit_cache_multiplied_with_wgmma() -> None:
    """A window of 100 of 1,000 keys leaves two of sixteen tiles of 64: two CTAs, three of which share an SM."""
    kv, queries = 2 * 2 * 96 * 100, 2 * 10 * 96
    outside = 800 * 12 * 32 * (4 + 5 * 128 / 1024) / 5
    partial = 5 * 96 * 4
    expected = {
        "grid.ctas": 4,
        "grid.warps_per_cta": 12,
        "grid.registers_per_thread": 61440 / (12 * 32 * 3),
        "grid.shared_bytes_per_cta": 100_000 / 3 - 1000,
        "work.tensor_ops": 4 * 16 * 64 * 128,
        "work.fma_ops": 2 * (6 * 16 * 64 + outside),
        "work.special_ops": 16 * 64 + 2 * 2 * 64 * 128,
        "work.shared_bytes": 2 * 2 * 64 * 128,
        "work.l2_read_bytes": 2 * 50 * 96 + partial,
        "work.l2_write_bytes": partial,
        "work.epilogue_bytes": partial,
        "work.dram_read_bytes": dram(kv, queries, 2 * queries) / 4,
        "latency.bytes_in_flight": 2 * 64 * 96,
        "latency.chain_cycles": 1 * 1.5 * 200,
        "latency.exposed_cycles": (12 + 11) * 200 * (0.7 + 0.3 * 4 / 30),
        "latency.setup_cycles": (5 + 6 + 2 * 2) * 200,
        "choice.label": (2,),
    }
    machine = WGMMA | {"library.attention.grouped.load": "96 B"}
    assert_demand(the_kernel(decode(1, 10, 2, 96, 1000, window=100, kv_dtype="int8"), machine), ALWAYS | expected)


@pytest.mark.parametrize(
    ("group", "head_dim", "expected"),
    [(16, 128, 3), (2, 256, 3), (8, 256, 3), (9, 256, 2), (10, 128, 3), (17, 128, 2), (16, 129, 2)],
)
def test_how_many_ctas_of_wgmma_share_an_sm(group: int, head_dim: int, expected: int) -> None:
    """Three where the queries, of a multiple of eight heads, have at most 2,048 elements."""
    machine = WGMMA | {"library.attention.grouped.max_group": 20}
    kernel = the_kernel(decode(1, group, 1, head_dim, 500, kv_dtype="fp8"), machine)
    assert kernel.grid.registers_per_thread.item() == pytest.approx(61440 / (12 * 32 * expected))


def test_threads_have_255_registers() -> None:
    """Of an SM with 80,000 each thread of eight warps could have 312."""
    assert the_kernel(decode(3, 16, 2, 96, 100), {"sm.registers": 80_000}).grid.registers_per_thread.item() == 255


def test_one_head_a_cta() -> None:
    """Eight heads on ten SMs: CTAs of 1,024 threads, two a head. They take 64 keys of 256 bytes at once, eight times.

    1,500 keys are three such loops, and six of four loads: 1,536 keys are computed.
    """
    kv, queries = 2 * 2 * 2 * 4 * 96 * 3000, 2 * 2 * 4 * 96
    expected = {
        "grid.ctas": 16,
        "grid.warps_per_cta": 32,
        "grid.registers_per_thread": 64,
        "grid.shared_bytes_per_cta": 4 * 1500,
        "work.fma_ops": 9 * 4 * 1536 * 96,
        "work.special_ops": 1500,
        "work.l2_read_bytes": 2 * 1500 * 96 * 2 + 96 * 4,
        "work.l2_write_bytes": 96 * 4,
        "work.epilogue_bytes": 96 * 4,
        "work.dram_read_bytes": dram(kv, queries, 2 * queries) / 16,
        "latency.bytes_in_flight": 1024 * 16 * 4,
        "latency.chain_cycles": (3 - 1) * 2 * 200,
        "latency.exposed_cycles": 24 * 200,
        "latency.setup_cycles": (5 + 13) * 200,
        "choice.label": (2,),
    }
    assert_demand(the_kernel(decode(2, 4, 4, 96, 3000)), ALWAYS | expected)


def test_one_head_with_few_keys_of_8_bits() -> None:
    """20 keys are fewer than the 128 that are loaded at once: 20 / 128 of a loop of 512. Six of ten SMs are busy."""
    kv, queries = 2 * 6 * 64 * 20, 2 * 6 * 64
    expected = {
        "grid.ctas": 6,
        "grid.warps_per_cta": 32,
        "grid.registers_per_thread": 64,
        "grid.shared_bytes_per_cta": 4 * 20,
        "work.fma_ops": 9 * 4 * 80 * 64,
        "work.special_ops": 20 + 2 * 3 * 80 * 64,
        "work.l2_read_bytes": 2 * 20 * 64 + 64 * 2,
        "work.l2_write_bytes": 64 * 2,
        "work.epilogue_bytes": 64 * 2,
        "work.dram_read_bytes": dram(kv, queries, 2 * queries) / 6,
        "latency.bytes_in_flight": 1024 * 16 * 4,
        "latency.chain_cycles": 0,
        "latency.exposed_cycles": 40 * 200 * (0.7 + 0.3 * 6 / 10),
        "latency.setup_cycles": 5 * 200,
        "choice.label": (1,),
    }
    assert_demand(the_kernel(decode(1, 6, 6, 64, 20, kv_dtype="int8")), ALWAYS | expected)


def launches(conditions: Conditions, **changed: Any) -> list[tuple[list[bool], list[tuple[str, float]]]]:
    """Of each algorithm, the rows it serves, and its kernels with their extra launches.

    Rows have four query heads for each of two KV heads, or as many as there are of those.
    """
    op = decode(**{"batch": 10, "heads": np.array([8, 2]), "kv_heads": 2, "head_dim": 128, "seq_kv": 64, **changed})
    ways = decode_algorithms(op, round_gpu(), conditions)
    return [
        (way.serves.tolist(), [(kernel.kernel, float(kernel.latency.extra_launches.max())) for kernel in way.kernels])  # type: ignore[union-attr]
        for way in ways
    ]


def test_a_module_launches_five_kernels() -> None:
    assert launches(MODULE) == [
        ([True, False], [("rotate_append", 3), ("attention", 0)]),
        ([False, True], [("attention", 3)]),
    ]
    assert launches(ROTATED) == [([True, False], [("attention", 0)]), ([False, True], [("attention", 0)])]


def test_grouped_kernels_of_wide_8_bit_heads_rotate_themselves() -> None:
    assert launches(MODULE, heads=np.array([8, 4]), kv_dtype="fp8", head_dim=np.array([128, 64])) == [
        ([False, True], [("rotate_append", 3), ("attention", 0)]),
        ([True, False], [("attention", 3)]),
    ]


def test_what_goes_before_rotates_one_token_of_each_sequence() -> None:
    (way, _) = decode_algorithms(decode(10, np.array([8, 2]), 2, 128, 64), round_gpu(), MODULE)  # type: ignore[arg-type]
    before = way.kernels[0]
    assert isinstance(before, KernelDemand)
    assert (before.grid.ctas * before.work.l2_write_bytes)[0].item() == pytest.approx(10 * (8 + 2 * 2) * 128 * 2)


@pytest.mark.parametrize("kernels", [1, 2])
def test_a_module_of_two_kernels_has_no_others(kernels: int) -> None:
    gpu = round_gpu({"library.attention.decode.module_kernels": kernels})
    (way,) = decode_algorithms(decode(10, 8, 2, 128, 64), gpu, MODULE)
    assert [float(kernel.latency.extra_launches.max()) for kernel in way.kernels] == [0, 0]  # type: ignore[union-attr]
