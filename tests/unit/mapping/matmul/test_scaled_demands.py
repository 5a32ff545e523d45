"""Block-scaled products: their bytes, promotion, narrowing and tiles, by hand on the machine of round numbers."""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.libraries import deep_gemm
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.workloads.ops import Gemm

ROTATED = Conditions(cache=CacheState(weight_copies=3, activation_copies=2))
SCALES = "{quantize_instructions: 10, step: 50 clk, tile_elements: 4096, setup_round_trips: 11, efficiency: 0.6}"
FP8: dict[str, object] = {"library.gemm.scaled.fp8_block": SCALES}
FP4: dict[str, object] = {
    "sm.tensor.fp4": "4096 op/clk",
    "energy.tensor.fp4": "0.25 pJ/op",
    "library.gemm.scaled.nvfp4": SCALES,
}


def test_fp8_blocks_are_multiplied_as_fp8_and_promoted() -> None:
    """128 x 128 by 512: tiles of 16x32 and 64x64 in eight steps; each block of 128 is one multiply-add a sum."""
    op = Gemm(128, 128, 512, dtype="fp8_block")
    (kernel,) = gemm_demands(op, round_gpu(FP8), ROTATED)
    (whole,) = gemm_demands(Gemm(128, 128, 512, dtype="fp8"), round_gpu(FP8), ROTATED)
    assert kernel.work.tensor_dtype == "fp8"
    np.testing.assert_allclose(kernel.work.fma_ops, whole.work.tensor_ops / 128)
    np.testing.assert_allclose(kernel.work.tensor_ops, whole.work.tensor_ops)
    np.testing.assert_allclose(kernel.latency.chain_cycles - whole.latency.chain_cycles, [[8 * 50, 4 * 50, 2 * 50] * 3])
    assert plain(kernel.choice.offered) == [True, False, False, True, False, False, False, False, False]
    assert kernel.overlap.tensor_efficiency == 0.6
    assert plain(kernel.latency.setup_cycles) == 11 * 200


def test_tcgen05_takes_scales_itself() -> None:
    gpu = round_gpu({**FP8, "library.gemm.tensor.instruction": "tcgen05"})
    (kernel,) = gemm_demands(Gemm(128, 128, 512, dtype="fp8_block"), gpu, ROTATED)
    assert not np.any(kernel.work.fma_ops)


def test_nvfp4_moves_its_scales_and_needs_no_promotion() -> None:
    """A step of 64 bytes holds 128 values; a row of 1024 values is 576 bytes with its scales."""
    (kernel,) = gemm_demands(Gemm(64, 64, 1024, dtype="nvfp4"), round_gpu(FP4), ROTATED)
    of_one_tile = 3  # 64x64, k whole
    assert kernel.work.tensor_dtype == "fp4"
    assert kernel.work.tensor_ops[0, of_one_tile] == 2 * 64 * 64 * 1024
    assert kernel.work.l2_read_bytes[0, of_one_tile] == (64 + 64) * 1024 * 0.5625
    assert not np.any(kernel.work.fma_ops)


def test_narrowing_is_one_kernel_that_its_instructions_limit() -> None:
    op = Gemm(128, 128, 512, dtype="nvfp4", activation_dtype="bf16")
    narrow, gemm = gemm_demands(op, round_gpu(FP4), ROTATED)
    assert (narrow.kernel, gemm.kernel) == ("quant_scale_matrix", "gemm")
    assert plain(narrow.work.fma_ops * narrow.grid.ctas) == pytest.approx(2 * 10 * 128 * 512)
    assert plain(narrow.work.l2_write_bytes * narrow.grid.ctas) == pytest.approx(128 * 512 * 0.5625)
    assert plain(narrow.latency.extra_launches) == 0.0


def test_a_machine_without_such_kernels_says_so() -> None:
    with pytest.raises(SimexploreError, match=r"has no kernels for fp8_block matrices \(library.gemm.scaled.fp8_block"):
        gemm_demands(Gemm(128, 128, 512, dtype="fp8_block"), round_gpu(), ROTATED)


@pytest.mark.parametrize(
    ("m", "rows", "missing"),
    [(31, None, 0), (32, 64, 32), (64, 64, 0), (65, 128, 63), (128, 128, 0), (129, 128, 127), (2049, 128, 127)],
)
def test_deep_gemm_has_64_rows_or_128_and_fills_those_that_are_missing(m: int, rows: int | None, missing: int) -> None:
    op = Gemm(m, 128, 512, dtype="fp8_block")
    tiles = (np.array([[16.0, 64.0, 128.0]]), np.array([[128.0, 128.0, 128.0]]))
    offered = np.broadcast_to(deep_gemm.offers_tiles(op, tiles), (1, 3))[0]
    assert offered.tolist() == [rows in (None, high) for high in (16, 64, 128)]
    assert plain(deep_gemm.missing_rows(op)) == missing


def test_a_ragged_last_tile_is_waited_for_once() -> None:
    """65 rows lack 63 of a tile of 128: each of eight steps waits 3 clocks for every one."""
    ragged = {**FP8, "library.gemm.scaled.fp8_block": SCALES.replace("step", "fill: 3 clk, step")}
    (kernel,) = gemm_demands(Gemm(65, 128, 512, dtype="fp8_block"), round_gpu(ragged), ROTATED)
    assert kernel.latency.setup_cycles[0, 0] == 11 * 200 + 3 * 63 * 8
    assert kernel.latency.setup_cycles[0, 1] == 11 * 200 + 3 * 63 * 4
