"""What GEMM kernels ask for on the machine of round numbers, every field of every candidate worked out by hand.

Of lines that were last read x caches ago, 1 / (1 + x) hit: `missed(x)` of them do not. The usable cache is 1 MB, of
which operands fill 0.8 and results that wait to be written 0.4.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from round_gpu import assert_demand, plain, round_gpu

from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.sim.mapping.matmul.gemv import gemm_algorithms
from simexplore.workloads.ops import Gemm

ROTATED = Conditions(cache=CacheState(weight_copies=3, activation_copies=2))
LIBRARY = {
    "overlap.sm_l2": 5,
    "overlap.dram": 6,
    "overlap.wave_exposure": 0.25,
    "overlap.tensor_efficiency": 0.9,
    "overlap.epilogue_efficiency": 0.85,
    "overlap.l2_rate": 1.5,
    "overlap.dram_rate": 1.1,
    "choice.reckoned_miss_share": 0.6,
    "latency.exposed_cycles": 200 + 30,
    "latency.helper_cycles": 2 * 200,
    "latency.ramp_cycles": 3 * 500,
}
"""What the library says of all its kernels on tensor cores."""


def missed(touched: float) -> float:
    return touched / (1.0 + touched)


def hit(touched: float) -> float:
    return 1.0 / (1.0 + touched)


def of(tiles: list[Any], splits: list[Any]) -> list[Any]:
    """A product for every pair of a tile and a split, the split running faster."""
    return [tile * split for tile in tiles for split in splits]


def the_kernel(op: Gemm, conditions: Conditions, changes: dict[str, object] | None = None) -> KernelDemand:
    (kernel,) = gemm_demands(op, round_gpu(changes), conditions)
    return kernel


def test_mma_sync() -> None:
    """100 x 200 by 300 in 16-bit types: 7 x 7 tiles of 16x32, 2 x 4 of 64x64, one of 128x256; ten steps of k.

    Rows of 600 bytes are multiples of 8 and not of 16, so loads are half as wide and half as much is in flight.
    """
    ctas = of([49, 8, 1], [1, 2, 5])
    steps = [10, 5, 2]
    a, b, c = 2 * 100 * 300, 2 * 300 * 200, 2 * 100 * 200
    warm_a = hit((2 * a + b + c) / 0.8e6)
    warm_b = hit((3 * b + a + c) / 0.8e6)
    # Ten CTAs at once, or five, or two, cover squares of C; what lies beyond is passed over again.
    high, wide = sqrt(2 * 10), 10 / sqrt(2 * 10)
    half_high, half_wide = sqrt(2 * 5), 5 / sqrt(2 * 5)
    again = [
        min(a * (7 / wide - 1), b * (7 / high - 1)),
        min(a * (7 / half_wide - 1), b * (7 / half_high - 1)),
        min(a * (7 / 1 - 1), b * (7 / 2 - 1)),
        0,  # two rows of tiles by four columns run at once
        0,  # two by two and a half: all of B, passed over once
        min(a * (4 / sqrt(2) - 1), b * (2 / sqrt(2) - 1)),
        *(0, 0, 0),
    ]
    first = a * (1 - warm_a) + b * (1 - warm_b)
    read = [first + more * missed((a + b) / 0.8e6) for more in again]
    write = c * missed((a + b + c) / 0.4e6)
    expected = {
        "kernel": "gemm",
        "grid.ctas": ctas,
        "grid.warps_per_cta": of([4, 4, 8], [1, 1, 1]),
        "grid.registers_per_thread": of([68, 96, 192], [1, 1, 1]),
        "grid.shared_bytes_per_cta": of([4 * 3072, 4 * 8192, 2 * 24576], [1, 1, 1]),
        "work.tensor_dtype": "bf16",
        "work.tensor_ops": of([2 * 16 * 32 * 32, 2 * 64 * 64 * 32, 2 * 128 * 256 * 32], steps),
        "work.shared_bytes": of([288 * 32, 768 * 32, 2816 * 32], steps),
        # Rows of A, and columns of B that two CTAs of a cluster share, where there are two rows of tiles.
        "work.l2_read_bytes": of([100 / 7 + 200 / 7 / 2, 50 + 50 / 2, 100 + 200], [600, 300, 120]),
        # 2 bytes of a result; or 4 of a partial sum, which are read and written once more.
        "work.l2_write_bytes": of([20000 / 49, 20000 / 8, 20000], [2, 4 + 8, 4 + 8]),
        "work.epilogue_bytes": of([20000 / 49, 20000 / 8, 20000], [2, 4, 4]),
        "work.dram_read_bytes": [x / y for x, y in zip(read, ctas, strict=True)],
        "work.dram_write_bytes": [write / y for y in ctas],
        "latency.bytes_in_flight": of([0.75 * 3 * 3072 / 2, 0.75 * 3 * 8192 / 2, 0.75 * 24576 / 2], [1, 1, 1]),
        "latency.chain_cycles": of([122, 122, 122], steps),
        "latency.setup_cycles": 9 * 200,
        "latency.extra_launches": of([1, 1, 1], [0, 1, 1]),
        "choice.reckoned_read_bytes": [(a * warm_a + b * warm_b) / y for y in ctas],
        "choice.reckoned_cycles": of([1, 1, 1], [0, 70, 70]),
        "choice.label": (of([16, 64, 128], [1, 1, 1]), of([32, 64, 256], [1, 1, 1]), of([1, 1, 1], [1, 2, 5])),
    }
    assert_demand(the_kernel(Gemm(100, 200, 300, dtype="bf16"), ROTATED), LIBRARY | expected)


NARROW: dict[str, object] = {
    "library.gemm.tensor.tiles": "[8x64, 64x32, 256x256]",
    "library.gemm.split.counts": "[1, 4]",
    "library.gemm.split.reduction": "in_place",
    "library.gemm.two_stage.sizes": "[m 130-130]",
}


def test_two_stages_of_a_batch_of_narrow_types() -> None:
    """Three products of 130 x 64 by 370 in 8 bits: six steps of k, which four CTAs share as three of two.

    That is three CTAs however they are called, so this split is none that the library has. Rows of 370 bytes are
    fetched two bytes at a time, an eighth of the widest load.
    """
    ctas = [3 * 17, 3 * 17 * 3, 3 * 3 * 2, 3 * 3 * 2 * 3, 3, 3 * 3]
    a, b, c = 3 * 130 * 370, 3 * 64 * 370, 3 * 130 * 64 * 2
    ways = gemm_algorithms(Gemm(130, 64, 370, batch=3, dtype="fp8"), round_gpu(NARROW), ROTATED)
    ((kernel,), serves) = ways[0]
    assert (len(ways), serves.tolist()) == (1, [True])
    warm_a, warm_b = hit((2 * a + b + c) / 0.8e6), hit((3 * b + a + c) / 0.8e6)
    # Whole rows of tiles run at once, so that nothing is passed over again.
    read = a * (1 - warm_a) + b * (1 - warm_b)
    expected = {
        "kernel": "gemm",
        "grid.ctas": ctas,
        "grid.warps_per_cta": of([4, 4, 8], [1, 1]),
        "grid.registers_per_thread": of([68, 80, 255], [1, 1]),
        "grid.shared_bytes_per_cta": of([2 * 72 * 64, 2 * 96 * 64, 2 * 512 * 64], [1, 1]),
        "work.tensor_dtype": "fp8",
        "work.tensor_ops": of([2 * 16 * 64 * 64, 2 * 64 * 32 * 64, 2 * 256 * 256 * 64], [6, 2]),
        # Warps of 16x8, 32x16 and 64x128.
        "work.shared_bytes": of([64 * (4 * 24 + 72), 64 * (4 * 48 + 96), 64 * (8 * 192 + 512)], [6, 2]),
        "work.l2_read_bytes": of([130 / 17 + 64 / 2, 130 / 3 / 2 + 32, 130 + 64], [370, 370 / 3]),
        "work.l2_write_bytes": of([130 * 64 / 17, 130 * 64 / 6, 130 * 64], [2, 4 + 8]),
        "work.epilogue_bytes": of([130 * 64 / 17, 130 * 64 / 6, 130 * 64], [2, 4]),
        "work.dram_read_bytes": [read / y for y in ctas],
        "work.dram_write_bytes": [c * missed((a + b + c) / 0.4e6) / y for y in ctas],
        "latency.bytes_in_flight": of([0.75 * 72 * 8, 0.75 * 96 * 8, 0.75 * 512 * 8], [1, 1]),
        "latency.chain_cycles": of([122, 122, 122], [6, 2]),
        "latency.setup_cycles": 6 * 200,
        "overlap.within_sm": 3,
        "choice.offered": of([True, True, False], [True, False]),  # 256 columns are too many for 64
        "choice.reckoned_read_bytes": [(a * warm_a + b * warm_b) / y for y in ctas],
        "choice.reckoned_cycles": of([70, 70, 70], [0, 1]),
        "choice.label": (of([8, 64, 256], [1, 1]), of([64, 32, 256], [1, 1]), of([1, 1, 1], [1, 3])),
    }
    assert_demand(kernel, LIBRARY | expected)


def test_simt() -> None:
    """33 x 40 by 50 in 32 bits, unsplit: 2 x 2 tiles of 32x32, one of 128x64; four steps of 16 elements of k."""
    a, b, c = 33 * 50 * 4, 50 * 40 * 4, 33 * 40 * 4
    warm_a, warm_b = hit((2 * a + b + c) / 0.8e6), hit((3 * b + a + c) / 0.8e6)
    kernel = the_kernel(Gemm(33, 40, 50, dtype="fp32"), ROTATED, {"library.gemm.split.counts": "[1]"})
    side = sqrt(8)
    expected = {
        "kernel": "gemm",
        "grid.ctas": [4, 1],
        "grid.warps_per_cta": 4,
        "grid.registers_per_thread": [8 + 4 * side + 32, 128],
        "grid.shared_bytes_per_cta": [2 * 64 * 8 * 4, 2 * 192 * 8 * 4],
        "work.tensor_dtype": "fp32",
        "work.fma_dtype": "fp32",
        "work.fma_ops": [2 * 32 * 32 * 16 * 4, 2 * 128 * 64 * 16 * 4],
        "work.shared_bytes": [4 * 64 * (256 * side + 64), 4 * 64 * (256 * 8 + 192)],
        "work.l2_read_bytes": [(33 / 2 + 20 / 2) * 50 * 4, (33 + 40) * 50 * 4],
        "work.l2_write_bytes": [c / 4, c],
        "work.epilogue_bytes": [c / 4, c],
        "work.dram_read_bytes": [(a * (1 - warm_a) + b * (1 - warm_b)) / ctas for ctas in (4, 1)],
        "work.dram_write_bytes": [c * missed((a + b + c) / 0.4e6) / ctas for ctas in (4, 1)],
        "latency.bytes_in_flight": [0.75 * 64 * 8 * 4, 0.75 * 192 * 8 * 4],
        "latency.chain_cycles": 4 * (2 * 50 + 16 * 5),
        "latency.setup_cycles": 9 * 200,
        "overlap.within_sm": 2,
        "overlap.sm_l2": None,
        "overlap.dram": None,
        "choice.offered": [True, False],  # a tile twice as high as 64 rows is none for 33
        "choice.reckoned_read_bytes": [(a * warm_a + b * warm_b) / ctas for ctas in (4, 1)],
        "choice.label": ([32, 128], [32, 64], 1),
    }
    assert_demand(kernel, LIBRARY | expected)


def test_turned_kernels_share_columns_in_a_cluster() -> None:
    """With wgmma a tile of 64 rows by 16 columns exists turned; each shares its longer side where two tiles do.

    20 rows of C are one tile of 64, or two of 16; 48 columns are three of 16, or one of 64 (as of 48).
    """
    changes: dict[str, object] = {"library.gemm.tensor.instruction": "wgmma", "library.gemm.tensor.tiles": "[64x16]"}
    kernel = the_kernel(Gemm(20, 48, 64, dtype="fp16"), ROTATED, changes | {"library.gemm.split.counts": "[1]"})
    assert plain(kernel.choice.label) == ([64, 16], [16, 64], 1)
    assert plain(kernel.work.l2_read_bytes) == [(20 / 2 + 16) * 64 * 2, (10 + 48 / 2) * 64 * 2]
    assert plain(kernel.work.tensor_ops) == [2 * 64 * 16 * 64, 2 * 64 * 16 * 64]


def test_square_tiles_share_columns_and_lone_ones_nothing() -> None:
    changes: dict[str, object] = {"library.gemm.tensor.tiles": "[64x64, 128x64]", "library.gemm.split.counts": "[1]"}
    kernel = the_kernel(Gemm(128, 64, 32, dtype="fp16"), ROTATED, changes)
    assert plain(kernel.work.l2_read_bytes) == [(64 + 64 / 2) * 32 * 2, (128 + 64) * 32 * 2]


def test_narrow_activations_are_quantised_first() -> None:
    """The kernel before has the rows of the whole batch."""
    op = Gemm(10, 64, 32, batch=3, dtype="fp8", activation_dtype="bf16")
    largest, convert, kernel = gemm_demands(op, round_gpu(), ROTATED)
    assert (largest.kernel, convert.kernel, kernel.kernel) == ("largest_value", "quant_scale_matrix", "gemm")
    assert (convert.grid.ctas * convert.work.l2_read_bytes).item() == 30 * 32 * 2
    assert (convert.grid.ctas * convert.work.l2_write_bytes).item() == 30 * 32
    assert kernel.work.tensor_dtype == "fp8"
    assert len(gemm_demands(Gemm(10, 64, 32, dtype="bf16", activation_dtype="bf16"), round_gpu(), ROTATED)) == 1


ONE_ROW = {
    "kernel": "gemv",
    "grid.warps_per_cta": 128 / 32,
    "grid.registers_per_thread": 64,
    "grid.shared_bytes_per_cta": 1024,
    "latency.bytes_in_flight": 2 * 128 * 16 * 3,  # of A and of B, three loads of 16 bytes a thread
    "latency.exposed_cycles": 2 * 200 + 5 * 20,
    "latency.setup_cycles": 4 * 200,
    "overlap.l2_rate": 1.5,
    "overlap.dram_rate": 0.7,
    "choice.label": (1, 1, 1),
}


def test_one_row_of_c() -> None:
    """600 columns of 500: a CTA for each reads its column of B, and A. Beyond ten at once A is read again."""
    ways = gemm_algorithms(Gemm(1, 600, 500, dtype="fp16"), round_gpu(), ROTATED)
    assert [(way.kernels[-1].kernel, way.serves.tolist()) for way in ways] == [("gemm", [True]), ("gemv", [True])]
    a, b, c = 1000, 600 * 1000, 600 * 2
    again = 0  # all of B is passed over once, whatever A is
    read = a * missed((2 * a + b + c) / 0.8e6) + b * missed((3 * b + a + c) / 0.8e6) + again
    expected = {
        "grid.ctas": 600,
        "work.fma_ops": 2 * 500,
        "work.l2_read_bytes": 2 * 500 * 2,
        "work.l2_write_bytes": 2,
        "work.dram_read_bytes": read / 600,
        "work.dram_write_bytes": c * missed((a + b + c) / 0.4e6) / 600,
    }
    assert_demand(ways[1].kernels[0], ONE_ROW | expected)


def test_rows_are_served_by_the_algorithms_that_take_them() -> None:
    gpu = round_gpu({"library.gemm.two_stage.sizes": "[m 2-2]"})
    ways = gemm_algorithms(Gemm(np.array([1, 2, 3]), 64, 64, dtype="fp16"), gpu, ROTATED)
    assert [way.serves.tolist() for way in ways] == [[True, False, True], [False, True, False], [True, False, False]]
    assert [way.kernels[0].latency.setup_cycles.item() for way in ways] == [9 * 200, 6 * 200, 4 * 200]
