"""What is measured with CUDA: the memory system and FMA pipes, GEMM kernels, and what the Hopper paper measures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.cuda.cublas import TYPES
from simexplore.kernels.cuda.instructions import MMA_DEPTHS, OPERANDS
from simexplore.kernels.cuda.problems import DPX

KIB, MIB = 1 << 10, 1 << 20
THREADS = 256
CHAINS = 8
"""Independent multiply-adds of a thread in micro.cu."""


def micro(device: Device, seed: int) -> list[Case]:  # noqa: ARG001 - a suite's signature; nothing here is drawn
    """Launch cost, streaming by size, latency of each level, FMA rates, bank conflicts, occupancy."""
    sms, l2 = int(device.limits["cores"]), int(device.limits["l2_bytes"])
    sizes = [size for size in (64 * KIB << shift for shift in range(0, 16, 2)) if size <= 1 << 30]
    cases = [Case("launch", {"dtype": "int32"}, "launch", {"stream": stream}) for stream in (0, 1)]
    cases += [_stream(op, size, cold) for op in ("copy", "triad") for size in sizes for cold in (0, 1)]
    levels = {16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, MIB, 4 * MIB}
    levels |= {int(l2 * share) // 64 * 64 for share in (0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.5, 2.0, 4.0)}
    cases += [_chase(size, cached) for size in sorted(levels) for cached in (1, 0)]
    cases += [_fma("fma_rate", dtype, 8 * sms) for dtype in ("fp32", "fp16", "int32")]
    cases += [_shared_read(stride, 4 * sms) for stride in (1, 2, 4, 8, 16, 32)]
    cases += [_fma("occupancy", "fp32", groups) for groups in sorted({1, sms // 2, sms, 2 * sms, 4 * sms, 16 * sms})]
    room = int(device.limits["shared_memory_bytes"])
    return cases + [_fma("occupancy", "fp32", 8 * sms, room // part // 4) for part in (8, 4, 2, 1)]


def gemm(device: Device, seed: int) -> list[Case]:  # noqa: ARG001
    """Naive, tiles of shared memory from 1 to 32, register blocks; the library's by type and shape."""
    cases = []
    for side in (256, 512, 1024, 2048):
        params: Mapping[str, Any] = {"m": side, "n": side, "k": side, "dtype": "fp32"}
        flops = 2.0 * side**3
        cases += [Case(f"gemm_{how}", params, f"gemm_{how}", work_flops=flops) for how in ("naive", "register")]
        tiles = (1, 2, 4, 8, 16, 32) if side <= 512 else (8, 16, 32)
        cases += [Case("gemm_naive_tiled", {**params, "tile": tile}, "gemm_tiled") for tile in tiles]
    shapes = [(side, side, side) for side in (256, 512, 1024, 2048, 4096, 8192)]
    shapes += [(m, 4096, 4096) for m in (16, 64, 256)] + [(m, 14336, 4096) for m in (16, 256, 2048)]
    fp64 = [_library("fp64", side, side, side) for side in (256, 512, 1024, 2048)]
    return cases + fp64 + [_library(dtype, *shape) for dtype in TYPES if dtype != "fp64" for shape in shapes]


def _library(dtype: str, m: int, n: int, k: int) -> Case:
    params: Mapping[str, Any] = {"m": m, "n": n, "k": k, "dtype": dtype}
    return Case("gemm", params, "gemm_library", requires=_needs("cublas", dtype))


def hopper(device: Device, seed: int) -> list[Case]:  # noqa: ARG001
    """The Hopper paper's: tensor instructions, DPX, clusters, bulk copies, near and far L2, DRAM."""
    sms, l2 = int(device.limits["cores"]), int(device.limits["l2_bytes"])
    cases = [
        _mma(dtype, k, warps, chains, ctas)
        for dtype, depths in MMA_DEPTHS.items()
        for k in depths
        for warps, chains, ctas in ((1, 1, 1), (4, 1, 1), (4, 2, 1), (4, 4, 1), (8, 4, sms), (16, 4, sms))
    ]
    cases += [
        _wgmma(dtype, n, a_in_shared, wait_each, ctas)
        for dtype, n, a_in_shared in product(OPERANDS, (8, 16, 32, 64, 128, 256), (1, 0))
        for wait_each, ctas in ((0, 1), (1, 1), (0, sms))
    ]
    cases += [_dpx(function, threads) for function in DPX for threads in (32, 1024)]
    cases += [_cluster_chase(size) for size in (2, 4, 8)]
    cases += [_cluster_read(size, sms) for size in (2, 4, 8)]
    cases += [_bulk(load * KIB, ctas * sms) for load in (1, 2, 4, 8, 16) for ctas in (1, 2, 4)]
    cases += [case for box in BOXES for case in _tensor_copies(box, sms)]
    cases += [_by_sm(size, sms) for size in (64, l2 // 4 // 64 * 64)]
    return cases + [_stream(op, 1 << 30, 0) for op in ("copy", "triad")]


def _stream(op: str, size: int, cold: int) -> Case:
    elements, arrays = size // 4, 3 if op == "triad" else 2
    options = {"threads": THREADS, "cold": cold}
    flops = 2.0 * elements if op == "triad" else 0.0
    return Case(
        op, {"elements": elements, "dtype": "fp32"}, "stream", options, work_flops=flops, work_bytes=1.0 * arrays * size
    )


def _chase(size: int, cached: int) -> Case:
    return Case("pointer_chase", {"bytes": size, "loads": 16384, "dtype": "int32"}, "pointer_chase", {"cached": cached})


def _by_sm(size: int, sms: int) -> Case:
    """Every SM walks over the same lines: SMs near to their partition find them sooner."""
    params: Mapping[str, Any] = {"bytes": size, "loads": 4096, "ctas": sms, "dtype": "int32"}
    return Case("l2_by_sm", params, "pointer_chase", {"cached": 0})


def _fma(op: str, dtype: str, groups: int, words: int = 1) -> Case:
    iterations = 1024
    params: Mapping[str, Any] = {"groups": groups, "threads": THREADS, "iterations": iterations, "dtype": dtype}
    return Case(op, params, "fma", {"words": words}, work_flops=2.0 * CHAINS * groups * THREADS * iterations)


def _shared_read(stride: int, groups: int) -> Case:
    words, trips = 8192, 256
    options = {"groups": groups, "threads": THREADS, "iterations": trips, "words": words}
    moved = 16.0 * trips * groups * THREADS
    return Case("shared_read", {"stride": stride, "dtype": "int32"}, "shared_read", options, work_bytes=moved)


def _needs(feature: str, dtype: str = "") -> frozenset[str]:
    return frozenset({feature} | ({"fp8"} if dtype == "fp8" else set()))


def _mma(dtype: str, k: int, warps: int, chains: int, ctas: int) -> Case:
    iterations = 256
    params: Mapping[str, Any] = {"k": k, "dtype": dtype, "iterations": iterations, "chains": chains}
    flops = 2.0 * 16 * 8 * k * iterations * chains * warps * ctas
    options = {"warps": warps, "ctas": ctas}
    return Case("mma_sync", params, "mma_sync", options, _needs("mma_sync", dtype), work_flops=flops)


def _wgmma(dtype: str, n: int, a_in_shared: int, wait_each: int, ctas: int) -> Case:
    k, iterations = 32 // OPERANDS[dtype].bytes, 256
    params: Mapping[str, Any] = {"n": n, "k": k, "dtype": dtype, "iterations": iterations}
    options = {"a_in_shared": a_in_shared, "wait_each": wait_each, "ctas": ctas}
    flops = 2.0 * 64 * n * k * iterations * ctas
    return Case("wgmma", params, "wgmma", options, _needs("wgmma", dtype), work_flops=flops)


def _dpx(function: str, threads: int) -> Case:
    params: Mapping[str, Any] = {"function": function, "threads": threads, "iterations": 64, "dtype": "int32"}
    return Case("dpx", params, "dpx")


def _cluster_chase(cluster: int) -> Case:
    params: Mapping[str, Any] = {"cluster": cluster, "words": 1024, "loads": 4096, "dtype": "int32"}
    return Case("cluster_chase", params, "cluster_chase", requires=_needs("cluster"))


def _cluster_read(cluster: int, sms: int) -> Case:
    ctas, threads, words, iterations = sms // cluster * cluster, 1024, 8192, 64
    params: Mapping[str, Any] = {"cluster": cluster, "ctas": ctas, "threads": threads, "words": words}
    params = {**params, "iterations": iterations, "dtype": "int32"}
    moved = 4.0 * words * iterations * ctas
    return Case("cluster_read", params, "cluster_read", requires=_needs("cluster"), work_bytes=moved)


BOXES = ((8, 8), (32, 8), (16, 16), (32, 32), (64, 64), (128, 64), (8, 8, 4), (16, 8, 8), (32, 16, 8), (32, 16, 16))
"""Sides of the boxes that tensor copies are timed with [words]: 256 B to 32 KiB, in two and three dimensions."""


def _tensor_copies(box: tuple[int, ...], sms: int) -> list[Case]:
    """Latency: one box after another by one CTA, from L2 and DRAM. Throughput: all SMs, one and many in flight."""
    size = 4 * prod(box)
    stages = max(min(8, 64 * KIB // size), 1)
    latencies = [_tensor_copy(box, 4 * MIB // size, 1, {"stages": 1, "cold": cold}) for cold in (0, 1)]
    wide = {
        (size_of_tensor // size, in_flight) for size_of_tensor in (16 * MIB, 256 * MIB) for in_flight in (1, stages)
    }
    return latencies + [_tensor_copy(box, boxes, 2 * sms, {"stages": in_flight}) for boxes, in_flight in sorted(wide)]


def _tensor_copy(box: tuple[int, ...], boxes: int, ctas: int, options: Mapping[str, int]) -> Case:
    sides = dict(zip(("box_x", "box_y", "box_z"), (*box, 1), strict=False))
    params: Mapping[str, Any] = {"rank": len(box), **sides, "boxes": boxes, "ctas": ctas, "dtype": "int32"}
    moved = 4.0 * boxes * prod(box)
    return Case("tensor_copy", params, "tensor_copy", options, _needs("cluster"), work_bytes=moved)


def _bulk(load: int, ctas: int) -> Case:
    size = ctas * load * max((256 * MIB) // (ctas * load), 1)
    params: Mapping[str, Any] = {"bytes": size, "load_bytes": load, "ctas": ctas, "dtype": "int32"}
    return Case("bulk_copy", params, "bulk_copy", requires=_needs("cluster"), work_bytes=1.0 * size)
