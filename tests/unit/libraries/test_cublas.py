"""cuBLAS's rules, and those of a library of which only the menu is known: who is served at each threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.sim.libraries import cublas, gemm_rules, plain
from simexplore.workloads.ops import Gemm

TENSOR = "library.gemm.tensor"


def gemm(m: Any = 64, n: Any = 64, k: Any = 64, dtype: str = "bf16", **more: Any) -> Gemm:
    return Gemm(m, n, k, dtype=dtype, **more)


def offered(op: Gemm, tiles: list[tuple[int, int]], **changes: object) -> list[list[bool]]:
    """Of each row, which tiles are considered; changes are of `library.gemm.tensor`."""
    gpu = round_gpu({f"{TENSOR}.{key}": value for key, value in changes.items()})
    high, wide = (np.array([[float(tile[side]) for tile in tiles]]) for side in (0, 1))
    shape = (np.size(op.m), len(tiles))
    return np.broadcast_to(cublas.offers_tiles(op, (high, wide), gpu), shape).tolist()  # type: ignore[no-any-return]


def test_the_rules_are_those_that_the_machine_names() -> None:
    assert gemm_rules(round_gpu()) is cublas
    assert gemm_rules(round_gpu({"library.gemm.rules": "plain"})) is plain


@pytest.mark.parametrize(
    ("sizes", "inside", "outside"),
    [
        ("m 8-16", [(8, 1, 1), (16, 99, 99)], [(7, 1, 1), (17, 99, 99)]),
        ("n 8-16", [(1, 8, 1), (99, 16, 99)], [(1, 7, 1), (99, 17, 99)]),
        ("k 8-", [(1, 1, 8), (1, 1, 10**6)], [(9, 9, 7)]),
        ("mnk 24-60", [(2, 3, 4), (3, 4, 5)], [(1, 1, 23), (61, 1, 1)]),
        ("m 2-3 k 5-6", [(2, 9, 5), (3, 9, 6)], [(2, 9, 4), (3, 9, 7), (1, 9, 5), (4, 9, 6)]),
    ],
)
def test_two_stages_within_a_range(
    sizes: str, inside: list[tuple[int, int, int]], outside: list[tuple[int, int, int]]
) -> None:
    gpu = round_gpu({"library.gemm.two_stage.sizes": f"[{sizes}]"})
    m, n, k = np.array([*inside, *outside]).T
    expected = [True] * len(inside) + [False] * len(outside)
    assert cublas.takes_two_stages(gemm(m, n, k), gpu).tolist() == expected
    assert not cublas.takes_two_stages(gemm(m, n, k, "fp32"), gpu).any()  # those kernels are of tensor cores


def test_two_stages_within_any_of_some_ranges() -> None:
    gpu = round_gpu({"library.gemm.two_stage.sizes": "[m 1-1, n 5-5]"})
    op = gemm(np.array([1, 2, 1, 2]), np.array([4, 5, 5, 6]), 9)
    assert cublas.takes_two_stages(op, gpu).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("rules", "op", "used", "expected"),
    [
        (cublas, gemm(np.array([0, 1, 2])), True, [False, True, False]),
        (cublas, gemm(1), True, [True]),
        (cublas, gemm(1), False, [False]),
        (cublas, gemm(1, dtype="fp32"), True, [False]),
        (cublas, gemm(1, dtype="fp8", activation_dtype="bf16"), True, [False]),
        (cublas, gemm(1, dtype="fp8", activation_dtype="fp8"), True, [True]),
        (plain, gemm(np.array([0, 1, 2])), True, [False, True, False]),
        (plain, gemm(1), False, [False]),
        (plain, gemm(1, dtype="fp32"), True, [False]),
        (plain, gemm(1, dtype="fp8", activation_dtype="bf16"), True, [True]),
    ],
)
def test_matrix_vector_kernels_take_one_row(rules: Any, op: Gemm, used: bool, expected: list[bool]) -> None:
    gpu = round_gpu({"library.gemm.gemv.used": str(used).lower()})
    assert rules.takes_matrix_vector(op, gpu).tolist() == expected


def test_tiles_twice_as_large_as_the_results_are_not_considered() -> None:
    """But for the smallest of the menu: 32 rows or columns here, twice of which count for all that is smaller."""
    tiles = [(32, 32), (64, 32), (65, 32), (32, 63), (32, 64), (32, 128)]
    op = gemm(np.array([1, 33, 1]), np.array([1, 1, 65]))
    small = [True, False, False, True, False, False]
    assert offered(op, tiles) == [small, [True, True, True, True, False, False], [True, False, False, True, True, True]]
    assert offered(op, tiles, instruction="mfma") == offered(op, tiles)
    assert offered(op, tiles, instruction="wgmma") == [[True] * 6] * 3


def test_modest_tiles_have_at_most_as_many_elements_as_128_by_128() -> None:
    tiles = [(128, 128), (64, 256), (127, 130), (129, 128)]
    op = gemm(np.array([1000, 1001]), 1000)
    modest = {"instruction": "wgmma", "modest_tiles": "[m 1000-1000]"}
    assert offered(op, tiles, **modest) == [[True, True, False, False], [True] * 4]
    both = offered(gemm(np.array([1000, 60]), 1000), tiles, instruction="mma_sync", modest_tiles="[m 1-1000]")
    assert both == [[True, True, False, False], [False, True, False, False]]  # 128 is twice 64 of the smallest tile


def test_k_is_split_for_many_products_or_great_depth() -> None:
    gpu = round_gpu({"library.gemm.split.min_products": 1000, "library.gemm.split.always_depth": 500})
    op = gemm(np.array([10, 9, 10, 1, 1]), np.array([10, 10, 10, 1, 1]), np.array([10, 11, 9, 500, 499]))
    assert cublas.splits_k(op, gpu)[:, 0].tolist() == [True, False, False, True, False]


def test_a_library_of_which_nothing_is_known_considers_all() -> None:
    op, gpu = gemm(np.array([1, 2])), round_gpu()
    assert plain.takes_two_stages(op, gpu).tolist() == [False]
    assert plain.offers_tiles(op, (np.ones((1, 1)), np.ones((1, 1))), gpu).tolist() == [[True]]
    assert plain.splits_k(op, gpu).tolist() == [[True], [True]]
