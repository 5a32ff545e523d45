"""Inputs and numpy references of what only NVIDIA GPUs have: tensor instructions, DPX, clusters, bulk copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Array, Arrays, Generator, Problem
from simexplore.kernels.problems import draw
from simexplore.kernels.vulkan.problems import PROBLEMS as COMMON

DPX_OPERANDS = 16
"""Operands that dpx.cu takes in turns."""
BOXES_ALONG = 8
"""Boxes along each axis of a tensor that tensor_map.cu copies, but the last."""


def _mma_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    k = case.count("k")
    return {"a": draw(rng, (16, k), case.dtype), "b": draw(rng, (k, 8), case.dtype)}


def _mma(case: Case, given: Arrays) -> dict[str, Array]:
    return {"y": case.count("chains") * case.count("iterations") * _product(case, given["a"], given["b"])}


def _wgmma_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    k, n = case.count("k"), case.count("n")
    return {"a": draw(rng, (64, k), case.dtype), "b": draw(rng, (n, k), case.dtype)}


def _wgmma(case: Case, given: Arrays) -> dict[str, Array]:
    return {"y": case.count("iterations") * _product(case, given["a"], given["b"].T)}


def _product(case: Case, a: Array, b: Array) -> Array:
    wide = np.int32 if case.dtype == "int8" else np.float64
    product: Array = a.astype(wide) @ b.astype(wide)
    return product


def _pairs(function: Callable[..., Array]) -> Callable[..., Array]:
    """A function of 16-bit integers on both halves of 32-bit ones."""

    def on_pairs(*words: Array) -> Array:
        halves = function(*(np.ascontiguousarray(word).view(np.int16) for word in words))
        return np.ascontiguousarray(halves.astype(np.int16)).view(np.int32)

    return on_pairs


def _relu(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *words: np.maximum(function(*words), 0)


def _add_max(a: Array, b: Array, c: Array) -> Array:
    found: Array = np.maximum(a + b, c)
    return found


def _add_max_unsigned(a: Array, b: Array, c: Array) -> Array:
    return np.maximum((a + b).view(np.uint32), c.view(np.uint32)).view(np.int32)


def _max3(a: Array, b: Array, c: Array) -> Array:
    found: Array = np.maximum(np.maximum(a, b), c)
    return found


DPX: Mapping[str, tuple[int, Callable[..., Array]]] = MappingProxyType(
    {
        "viaddmax_s16x2": (3, _pairs(_add_max)),
        "viaddmax_s16x2_relu": (3, _pairs(_relu(_add_max))),
        "viaddmax_s32": (3, _add_max),
        "viaddmax_s32_relu": (3, _relu(_add_max)),
        "viaddmax_u32": (3, _add_max_unsigned),
        "viaddmin_s32": (3, lambda a, b, c: np.minimum(a + b, c)),
        "vimax3_s16x2": (3, _pairs(_max3)),
        "vimax3_s16x2_relu": (3, _pairs(_relu(_max3))),
        "vimax3_s32": (3, _max3),
        "vimax3_s32_relu": (3, _relu(_max3)),
        "vimax_s16x2_relu": (2, _pairs(_relu(np.maximum))),
        "vimax_s32_relu": (2, _relu(np.maximum)),
    }
)
"""Operands and numpy's version of each function. CUDA Math API, DPX: additions wrap around."""


def _dpx_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    return {"x": rng.integers(-(2**31), 2**31, DPX_OPERANDS + case.count("threads")).astype(np.int32)}


def _dpx(case: Case, given: Arrays) -> dict[str, Array]:
    operands, function = DPX[str(case.params["function"])]
    x = given["x"]
    value = x[DPX_OPERANDS:]
    with np.errstate(over="ignore"):
        for _ in range(case.count("iterations")):
            for i in range(DPX_OPERANDS):
                others = (x[i], x[(7 * i + 3) % DPX_OPERANDS])[: operands - 1]
                value = function(value, *(np.full_like(value, other) for other in others))
    return {"y": value}


def _chase_by_sm(case: Case, given: Arrays) -> dict[str, Array]:
    """The same end of the same walk on every SM."""
    return {"y": np.tile(COMMON["pointer_chase"].expected(case, given)["y"], case.count("ctas"))}


def _cluster_chase_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    """One cycle through all words in random order."""
    words = case.count("words")
    order = np.concatenate([[0], 1 + rng.permutation(words - 1)]).astype(np.uint32)
    following = np.zeros(words, dtype=np.uint32)
    following[order] = np.roll(order, -1)
    return {"next": following}


def _cluster_chase(case: Case, given: Arrays) -> dict[str, Array]:
    at = np.uint32(0)
    for _ in range(case.count("loads") % case.count("words")):
        at = given["next"][at]
    return {"y": np.full(case.count("cluster"), at, dtype=np.uint32)}


def _cluster_read_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    return {"x": rng.integers(0, 1 << 16, case.count("ctas") * case.count("words")).astype(np.uint32)}


def _cluster_read(case: Case, given: Arrays) -> dict[str, Array]:
    ctas, threads, cluster = (case.count(name) for name in ("ctas", "threads", "cluster"))
    sums = given["x"].reshape(ctas, -1, threads).sum(axis=1, dtype=np.uint32) * np.uint32(case.count("iterations"))
    neighbours = np.roll(sums.reshape(-1, cluster, threads), -1, axis=1)
    return {"y": neighbours.reshape(-1)}


def _bulk_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    return {"x": rng.integers(0, 1 << 16, case.count("bytes") // 4).astype(np.uint32)}


def _bulk(case: Case, given: Arrays) -> dict[str, Array]:
    ctas = case.count("ctas")
    heads = given["x"].reshape(-1, case.count("load_bytes") // 4)[:, :32]
    return {"y": np.concatenate([heads[cta::ctas].sum(axis=0, dtype=np.uint32) for cta in range(ctas)])}


def box_of(case: Case) -> tuple[int, ...]:
    """Sides of a box of a tensor copy [words], the innermost first; two or three of them."""
    sides = (case.count("box_x"), case.count("box_y"), case.count("box_z"))
    return sides[: case.count("rank")]


def boxes_of(case: Case) -> tuple[int, ...]:
    """Boxes along each axis of the tensor: BOXES_ALONG, and along the last one the rest of `boxes`."""
    inner = (BOXES_ALONG,) * (case.count("rank") - 1)
    return *inner, case.count("boxes") // BOXES_ALONG ** len(inner)


def _tensor_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    words = case.count("boxes") * int(np.prod(box_of(case)))
    return {"x": rng.integers(0, 1 << 16, words).astype(np.uint32)}


def _tensor(case: Case, given: Arrays) -> dict[str, Array]:
    """CTA i sums word t and three times word t of the last 32 of boxes i, i + CTAs, …"""
    ctas, rank = case.count("ctas"), case.count("rank")
    pairs = zip(reversed(boxes_of(case)), reversed(box_of(case)), strict=True)
    tensor = given["x"].reshape([side for pair in pairs for side in pair])
    boxes = tensor.transpose([*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]).reshape(case.count("boxes"), -1)
    sums = boxes[:, :32] + np.uint32(3) * boxes[:, -32:]
    return {"y": np.concatenate([sums[cta::ctas].sum(axis=0, dtype=np.uint32) for cta in range(ctas)])}


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        **{op: COMMON[op] for op in ("launch", "triad", "fma_rate", "occupancy", "pointer_chase", "shared_read")},
        **dict.fromkeys(("gemm_naive", "gemm_naive_tiled", "gemm_register"), COMMON["gemm_naive"]),
        "mma_sync": Problem(_mma_inputs, _mma),
        "wgmma": Problem(_wgmma_inputs, _wgmma),
        "dpx": Problem(_dpx_inputs, _dpx),
        "l2_by_sm": Problem(COMMON["pointer_chase"].inputs, _chase_by_sm),
        "cluster_chase": Problem(_cluster_chase_inputs, _cluster_chase),
        "cluster_read": Problem(_cluster_read_inputs, _cluster_read),
        "bulk_copy": Problem(_bulk_inputs, _bulk),
        "tensor_copy": Problem(_tensor_inputs, _tensor),
    }
)
"""By the micro-benchmark's name; those that other backends have too are theirs."""
