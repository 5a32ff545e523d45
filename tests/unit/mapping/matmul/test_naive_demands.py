"""What the textbook's tiled multiplication asks for on the machine of round numbers, worked out by hand.

Of lines that were last read x caches of 1 MB ago, `missed(x)` are gone; ten SMs hold 48 warps and 12 CTAs each.
"""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.mapping.matmul.naive import naive_gemm_demand
from simexplore.workloads.ops import NaiveTiledGemm

ROTATED = Conditions(cache=CacheState(weight_copies=9, activation_copies=2))


def missed(touched: float) -> float:
    return touched / (1.0 + touched)


def check(op: NaiveTiledGemm, expected: dict[str, object], **changes: object) -> None:
    (kernel,) = naive_gemm_demand(op, round_gpu({"sm." + key: value for key, value in changes.items()}), ROTATED)
    always = {
        "kernel": "gemm_naive_tiled",
        "grid.registers_per_thread": 40,
        "work.tensor_dtype": "fp16",
        "work.fma_dtype": op.dtype,
        "latency.setup_cycles": 200,
        "overlap.within_sm": 1.35,
        "choice.label": (op.tile,),
    }
    assert_demand(kernel, always | expected)


def test_tiles_of_eight() -> None:
    """400 x 70 by 50 is 50 x 9 tiles of two warps, in seven steps; 120 CTAs at once are 13 1/3 rows of tiles."""
    a, b, c = 4 * 400 * 50, 4 * 50 * 70, 4 * 400 * 70
    cold = (a + b) * missed((2 * (a + b) + c) / 1e6)
    again = b * (50 / (120 / 9) - 1) * missed(b / 1e6)
    expected = {
        "grid.ctas": 450,
        "grid.warps_per_cta": 2,
        "grid.shared_bytes_per_cta": 2 * 64 * 4,
        "work.fma_ops": 2 * (56 * 10 + 7 * 10) * 64,  # an issue slot is 32 lanes of two operations
        # Two loads of a product, two stores of a step; and two loads from memory, each of four lines a warp.
        "work.shared_bytes": 2 * (2 * 56 + 2 * 7 + 2 * 7 * 4) * 128,
        "work.l2_read_bytes": 2 * 7 * 8 * 32,
        "work.l2_write_bytes": 8 * 32,
        "work.epilogue_bytes": 8 * 32,
        "work.dram_read_bytes": (cold + again) / 450,
        "work.dram_write_bytes": c * missed((a + b + c) / 1e6) / 450,
        "latency.bytes_in_flight": 2 * 8 * 32,
        "latency.chain_cycles": 7 * missed(b / 1e6) * (500 - 200) + 7 * 2 * (30 + 20) + 56 * 5,
    }
    check(NaiveTiledGemm(400, 70, 50, tile=8), expected)


@pytest.mark.parametrize("warps", [48, 16])
def test_the_largest_tiles_in_64_bits(warps: int) -> None:
    """32 warps: an SM of 48 holds one such CTA, and one that holds fewer is taken to hold one too."""
    a, b, c = 8 * 330 * 40, 8 * 40 * 64, 8 * 330 * 64
    cold = (a + b) * missed((2 * (a + b) + c) / 1e6)
    again = b * (11 / (10 / 2) - 1) * missed(b / 1e6)
    expected = {
        "grid.ctas": 22,
        "grid.warps_per_cta": 32,
        "grid.shared_bytes_per_cta": 2 * 1024 * 8,
        "work.fma_ops": 32 * (64 * 10 + 2 * 10) * 64,
        "work.shared_bytes": 32 * (2 * 64 + 2 * 2 + 2 * 2 * 1) * 128,
        "work.l2_read_bytes": 2 * 2 * 32 * 256,
        "work.l2_write_bytes": 32 * 256,
        "work.epilogue_bytes": 32 * 256,
        "work.dram_read_bytes": (cold + again) / 22,
        "work.dram_write_bytes": c * missed((a + b + c) / 1e6) / 22,
        "latency.bytes_in_flight": 2 * 32 * 256,
        "latency.chain_cycles": 2 * missed(b / 1e6) * 300 + 2 * 2 * 50 + 64 * 5,
    }
    check(NaiveTiledGemm(330, 64, 40, tile=32, dtype="fp64"), expected, max_warps=warps)


def test_tiles_of_sixteen_fill_the_warps_of_an_sm() -> None:
    """Eight warps each: six CTAs an SM, fewer than the twelve it may have. A warp's 32 threads are two lines."""
    a, b, c = 4 * 160 * 16, 4 * 16 * 320, 4 * 160 * 320
    cold = (a + b) * missed((2 * (a + b) + c) / 1e6)
    again = b * (10 / (60 / 20) - 1) * missed(b / 1e6)
    expected = {
        "grid.ctas": 200,
        "grid.warps_per_cta": 8,
        "grid.shared_bytes_per_cta": 2 * 256 * 4,
        "work.fma_ops": 8 * (16 * 10 + 10) * 64,
        "work.shared_bytes": 8 * (2 * 16 + 2 + 2 * 2) * 128,
        "work.l2_read_bytes": 2 * 16 * 64,
        "work.l2_write_bytes": 16 * 64,
        "work.epilogue_bytes": 16 * 64,
        "work.dram_read_bytes": (cold + again) / 200,
        "work.dram_write_bytes": c * missed((a + b + c) / 1e6) / 200,
        "latency.bytes_in_flight": 2 * 16 * 64,
        "latency.chain_cycles": missed(b / 1e6) * 300 + 2 * 50 + 16 * 5,
    }
    check(NaiveTiledGemm(160, 320, 16, tile=16), expected)


def test_a_tile_of_two_is_two_lines_and_one_warp() -> None:
    (kernel,) = naive_gemm_demand(NaiveTiledGemm(2, 2, 2, tile=2), round_gpu(), ROTATED)
    assert kernel.grid.warps_per_cta.item() == 1
    assert kernel.work.shared_bytes.item() == (2 * 2 + 2 + 2 * 2) * 128
    assert kernel.work.l2_read_bytes.item() == 2 * 2 * 32


def test_tiles_have_32_rows_at_most() -> None:
    message = "gemm_naive_tiled: tile: expected at most 32, a CTA has at most 1024 threads, found 33"
    with pytest.raises(SimexploreError, match=message):
        naive_gemm_demand(NaiveTiledGemm(9, 9, 9, tile=np.array([33, 2])), round_gpu(), ROTATED)
