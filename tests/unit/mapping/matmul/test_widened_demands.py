"""Weights in fewer bits than they are multiplied in, rows that are not aligned, and products of activations."""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, CacheState, Conditions
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping.matmul import operands
from simexplore.sim.mapping.matmul.gemm import gemm_demands, stores_narrow
from simexplore.sim.mapping.matmul.gemv import bmm_algorithms, gemm_algorithms
from simexplore.workloads.ops import Bmm, Gemm

ROTATED = Conditions(cache=CacheState(weight_copies=3, activation_copies=2))
WIDENS: dict[str, object] = {"library.gemm.widening": "{int4: 2, int8: 3}"}
ELDER = "{tiles: [16x32], k_tile: 32 B, max_stages: 3, rate: 0.5}"
BULK: dict[str, object] = {"library.gemm.tensor.instruction": "wgmma", "library.gemm.unaligned": ELDER}


def test_weights_are_read_in_their_own_bits_and_widened() -> None:
    """128 x 128 by 512 in one tile of 128x256: 32 of k a step, 2 bytes of A and half of one of B for each."""
    op = Gemm(128, 128, 512, dtype="bf16", weight_dtype="int4")
    (kernel,) = gemm_demands(op, round_gpu(WIDENS | {"library.gemm.tensor.tiles": "[128x256]"}), ROTATED)
    assert kernel.work.l2_read_bytes[0, 0] == 512 * (2 * 128 + 0.5 * 128)
    # Two warps above each other widen every column of the tile.
    assert kernel.work.fma_ops[0, 0] == 2 * 2 * 256 * 2 * 512
    assert kernel.grid.shared_bytes_per_cta[0, 0] == 2 * 32 * (2 * 128 + 0.5 * 256)
    assert plain(kernel.choice.offered) == [True, False, False]  # engines' kernels do not split k


def test_a_tile_of_few_rows_widens_once() -> None:
    op = Gemm(16, 32, 512, dtype="bf16", weight_dtype="int8")
    (kernel,) = gemm_demands(op, round_gpu(WIDENS | {"library.gemm.tensor.tiles": "[16x32]"}), ROTATED)
    assert kernel.work.fma_ops[0, 0] == 2 * 3 * 32 * 512


def test_one_row_of_narrow_weights_has_no_matrix_vector_kernel() -> None:
    op = Gemm(1, 64, 512, dtype="bf16", weight_dtype="int8")
    (way,) = gemm_algorithms(op, round_gpu(WIDENS), ROTATED)
    assert [kernel.kernel for kernel in way.kernels] == ["gemm"]


def test_wider_weights_cost_nothing_and_unknown_ones_are_told() -> None:
    assert not stores_narrow(Gemm(1, 1, 1, dtype="fp8", weight_dtype="bf16"))
    assert not stores_narrow(Gemm(1, 1, 1, dtype="bf16", weight_dtype="fp16"))
    with pytest.raises(SimexploreError, match="no kernel that widens fp8 weights; it widens int4, int8"):
        gemm_demands(Gemm(16, 16, 16, dtype="bf16", weight_dtype="fp8"), round_gpu(WIDENS), ROTATED)


@pytest.mark.parametrize(
    ("n", "k", "dtype", "expected"),
    [
        (64, 64, "bf16", 16),
        (8, 8, "bf16", 16),
        (4, 8, "bf16", 8),
        (8, 12, "bf16", 8),
        (30522, 768, "bf16", 4),
        (30521, 768, "bf16", 2),
        (768, 30521, "bf16", 2),
        (1, 4096, "bf16", 16),
        (8, 8, "fp8", 8),
        (16, 16, "nvfp4", 8),
        (3, 3, "fp32", 4),
    ],
)
def test_loads_are_as_wide_as_rows_of_all_operands_allow(n: int, k: int, dtype: str, expected: int) -> None:
    assert plain(operands.load_bytes(Gemm(16, n, k, dtype=dtype))) == expected


def test_unaligned_rows_go_to_the_kernels_of_the_generation_before() -> None:
    op = Gemm(16, np.array([64, 62, 63]), 64, dtype="bf16")
    aligned, elder = gemm_algorithms(op, round_gpu(BULK | {"library.gemm.gemv.used": "false"}), ROTATED)
    assert [aligned.serves.tolist(), elder.serves.tolist()] == [[True, False, False], [False, True, True]]
    (kernel,) = elder.kernels
    of_instruction = 2 * 16 * 32 * 16  # 16 values of k in 32 bytes
    assert kernel.work.tensor_ops[0, 0] == of_instruction * 4 / 0.5
    stage = (16 + 32) * 32
    assert plain(kernel.latency.bytes_in_flight[:, 0]) == pytest.approx(
        [0.75 * 2 * stage * x for x in (1, 1 / 4, 1 / 8)]
    )


def test_fma_pipes_do_not_care_for_alignment() -> None:
    (one,), (other,) = (gemm_demands(Gemm(16, n, 64, dtype="fp32"), round_gpu(), ROTATED) for n in (64, 63))
    np.testing.assert_allclose(one.latency.bytes_in_flight, other.latency.bytes_in_flight)


def test_products_of_activations_are_as_warm_as_these() -> None:
    shape = {"m": 64, "n": 64, "k": 512, "batch": 4, "dtype": "bf16"}
    states = [CacheState(weight_copies=5, activation_copies=2), CacheState(weight_copies=2, activation_copies=2)]
    (bmm,), (same,) = (
        bmm_algorithms(Bmm(**shape), round_gpu(), Conditions(cache=states[0]))[0].kernels,
        gemm_algorithms(Gemm(**shape), round_gpu(), Conditions(cache=states[1]))[0].kernels,
    )
    np.testing.assert_allclose(bmm.work.dram_read_bytes, same.work.dram_read_bytes)


def test_nothing_of_a_product_of_activations_is_kept() -> None:
    serving = CacheState(weight_copies=np.inf, activation_copies=1.0)
    bmm, gemm = (kind(1, 4096, 4096, batch=64) for kind in (Bmm, Gemm))
    assert least_seconds(gemm, round_gpu(), serving) > 10 * least_seconds(bmm, round_gpu(), serving)
    assert least_seconds(gemm, round_gpu(), COLD) == least_seconds(bmm, round_gpu(), COLD)
