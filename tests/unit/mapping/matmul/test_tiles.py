"""The kernels of each instruction, tile by tile, on the machine of round numbers: each field worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import pytest
from round_gpu import differences, flat, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.mapping.matmul.gemm import gemm_candidates
from simexplore.sim.mapping.matmul.tiles import tiles_of
from simexplore.workloads.ops import Gemm

TENSOR = "library.gemm.tensor"


def kernels(m: int, n: int, dtype: str, **changes: object) -> dict[str, Any]:
    """The menu for m x n results; changes are named as in `sm__count`."""
    gpu = round_gpu({key.replace("__", "."): value for key, value in changes.items()})
    return flat(tiles_of(np.array([[float(m)]]), np.array([[float(n)]]), dtype, gpu))


def both(straight: list[int], turned: list[int]) -> list[int]:
    """Kernels of the menu one way round, then the other."""
    return [*straight, *turned]


def check(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert not differences(found, expected)


def test_mma_sync() -> None:
    """Fragments come from shared memory: warps read 64 x 64 patches at most, of a stage of 64 bytes of k."""
    found = kernels(1000, 1000, "bf16", library__gemm__tensor__tiles="[8x64, 16x32, 64x64, 128x128, 128x256, 256x256]")
    step = (30 + 20) + 2 * (20 + 16)  # barrier and first operands; 64 / 32 instructions, each loads and multiplies
    expected = {
        "m": [8, 16, 64, 128, 128, 256],
        "n": [64, 32, 64, 128, 256, 256],
        "computed": [16 * 64, 16 * 32, 64 * 64, 128 * 128, 128 * 256, 256 * 256],  # 8 rows fill half an instruction
        "warps": [4, 4, 4, 8, 8, 8],
        "registers": [64 + 4, 64 + 4, 64 + 32, 64 + 64, 64 + 128, 255],  # sums of a thread; the last asks for 64 + 256
        "stages": [4, 4, 4, 3, 2, 2],  # of the 50 kB that half an SM has: 10, 16, 6, 3.05, 2.03 and 1.5 stages
        "stage_bytes": [72 * 64, 48 * 64, 128 * 64, 256 * 64, 384 * 64, 512 * 64],
        # Warps are 16x8, 16x8, 32x32, 64x32, 64x64 and 64x128; a tile is written once, and read by all of them.
        "shared_bytes_per_k": [
            2 * (4 * (16 + 8) + 72),
            2 * (4 * (16 + 8) + 48),
            2 * (4 * (32 + 32) + 128),
            2 * (8 * (64 + 32) + 256),
            2 * (8 * (64 + 64) + 384),
            2 * (8 * (64 + 128) + 512),
        ],
        "chain_cycles": step,
        "on_tensor_cores": True,
    }
    check(found, expected)


def test_small_ctas_bound_the_pipeline_of_mma_sync() -> None:
    """Where a CTA may have 30 kB, less than half of an SM: one stage of 384 x 64 bytes, and two are the fewest."""
    room = {"sm__shared_memory_per_cta": "30 kB"}
    assert kernels(9, 9, "fp16", **room)["stages"] == [4, 3, 2]


def test_mfma_is_as_mma_sync() -> None:
    check(kernels(9, 9, "fp16", **{f"{TENSOR}.instruction": "mfma"}), kernels(9, 9, "fp16"))


WGMMA = {f"{TENSOR}.instruction": "wgmma", f"{TENSOR}.tiles": "[32x16, 64x64, 128x256, 256x512]"} | {
    "sm.tensor.fp16": "4096 op/clk",
    "library.gemm.pipeline.max_stages": 8,
}


def test_wgmma() -> None:
    """Tiles exist both ways round, as narrow as the results let them be, in steps of 8 columns.

    300 columns are 19 tiles of 16, 5 of 64, 2 of 256 (as of 152) and 1 of 512 (as of 304); turned, 100 rows are 7 of
    16, 2 of 64 (as of 56) and 1 of 104. An instruction multiplies 64 rows by c columns by 32 bytes: 2 x 64 x c x 16
    operations at 4096 a clock, c / 2 clocks, or (64 + c) x 32 bytes at 128, (64 + c) / 4 clocks.
    """
    expected = {
        "m": both([32, 64, 128, 256], [16, 56, 104, 104]),
        "n": both([16, 64, 152, 304], [32, 64, 128, 256]),
        "computed": both([64 * 16, 64 * 64, 128 * 152, 256 * 304], [64 * 16, 64 * 56, 128 * 104, 256 * 104]),
        "warps": [8, 8, 12, 20] * 2,  # a warp group for each 64 rows, and one that loads
        "registers": both([64 + 4, 64 + 32, 64 + 76, 64 + 152], [64 + 4, 64 + 28, 64 + 52, 64 + 52]),
        "stages": both([8, 8, 5, 2], [8, 8, 6, 4]),  # of 96 kB
        "stage_bytes": both([48 * 64, 128 * 64, 280 * 64, 560 * 64], [48 * 64, 120 * 64, 232 * 64, 360 * 64]),
        "shared_bytes_per_k": both([2 * 80, 2 * 128, 4 * 216, 8 * 368], [2 * 80, 2 * 120, 4 * 168, 8 * 168]),
        "chain_cycles": [66 + 2 * clocks for clocks in (20, 32, 76, 152, 20, 30, 52, 52)],
        "on_tensor_cores": True,
    }
    check(kernels(100, 300, "fp16", **WGMMA), expected)


def test_wgmma_threads_have_255_registers() -> None:
    tiles = {f"{TENSOR}.instruction": "wgmma", f"{TENSOR}.tiles": "[64x384, 64x512]"}
    assert kernels(512, 512, "bf16", **tiles)["registers"][:2] == [64 + 64 * 256 / 128, 255]


def test_tcgen05() -> None:
    """128 rows at once, and sums in tensor memory: c columns are 2 x 128 x c x 32 operations of 8 bits at 8192 a clock,
    c clocks, or (128 + c) x 32 bytes at 128."""
    tiles = {f"{TENSOR}.instruction": "tcgen05", f"{TENSOR}.tiles": "[64x16, 128x64, 256x128]"}
    rates: dict[str, object] = {"sm.tensor.fp8": "8192 op/clk"}
    expected = {
        "m": both([64, 128, 256], [16, 64, 128]),
        "n": both([16, 64, 128], [64, 128, 256]),
        "computed": [128 * 16, 128 * 64, 256 * 128] * 2,
        "warps": [8, 8, 12] * 2,
        "registers": 64,
        "stages": [4, 4, 3] * 2,
        "stage_bytes": [80 * 64, 192 * 64, 384 * 64] * 2,
        "shared_bytes_per_k": [144, 192, 2 * 256] * 2,
        "chain_cycles": [66 + 2 * clocks for clocks in (36, 64, 128)] * 2,
        "on_tensor_cores": True,
    }
    check(kernels(256, 1024, "fp8", **tiles, **rates), expected)


@pytest.mark.parametrize(("dtype", "size"), [("fp32", 4), ("fp64", 8)])
def test_simt(dtype: str, size: int) -> None:
    """Threads of 8 x 8 patches, or smaller ones where 128 threads would have none; k in steps of 8 elements."""
    side = sqrt(32 * 32 / 128)
    at_once = 64 / size
    expected = {
        "m": [32, 128, 256],
        "n": [32, 64, 64],
        "computed": [32 * 32, 128 * 64, 256 * 64],
        "warps": [4, 4, 8],
        "registers": [8 + 4 * side + 32, 64 + 4 * 8 + 32, 64 + 4 * 8 + 32],
        "stages": 2,
        "stage_bytes": [64 * 8 * size, 192 * 8 * size, 320 * 8 * size],
        "shared_bytes_per_k": [
            size * (128 * 2 * side + 64),
            size * (128 * 2 * 8 + 192),
            size * (256 * 2 * 8 + 320),
        ],
        "chain_cycles": at_once / 8 * (30 + 20) + at_once * 5,
        "on_tensor_cores": False,
    }
    check(kernels(99, 99, dtype, library__gemm__simt__tiles="[32x32, 128x64, 256x64]"), expected)


def test_what_no_unit_multiplies_is_a_mistake() -> None:
    with pytest.raises(SimexploreError, match="Round multiplies no int4 matrices; it has rates for bf16, fp16, fp32"):
        kernels(9, 9, "int4")


@pytest.mark.parametrize(
    ("dtype", "instruction", "expected"),
    [("fp32", "wgmma", 2 * 3), ("bf16", "mma_sync", 3 * 3), ("bf16", "mfma", 3 * 3), ("bf16", "wgmma", 2 * 3 * 3)],
)
def test_candidates_are_tiles_times_splits(dtype: str, instruction: str, expected: int) -> None:
    """Two SIMT tiles or three others, by three splits; those of wgmma both ways round."""
    gpu = round_gpu({f"{TENSOR}.instruction": instruction})
    assert gemm_candidates(Gemm(64, 64, 64, dtype=dtype), gpu) == expected
