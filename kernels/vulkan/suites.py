"""What is measured on Vulkan devices. Sizes follow the device: a CPU is given kernels of its own size.

`calibration` and `exam` draw their shapes by seed from two disjoint sets, so no exam kernel can have been fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from zlib import crc32

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device, MatrixShape
from simexplore.kernels.vulkan.neural import STAGE_INSTRUCTIONS
from simexplore.kernels.vulkan.problems import CHAINS

MIB = 1 << 20
LONGEST_SIDE = 4096
"""Of drawn GEMMs: no operand is larger than the 128 MiB that every device binds."""


@dataclass(frozen=True)
class Scale:
    """Work-groups and sizes for a kind of device."""

    threads: int
    """Of a work-group of the streaming kernels."""
    loads: int
    """Elements that a thread of a streaming kernel loads."""
    gemm_group: int
    """Work-groups of the GEMM kernels are this square."""
    least_elements: int
    """Of one drawn array; fewer would time the launch alone, which on a CPU is the waking of threads."""
    most_elements: int
    """Of one drawn array; on a CPU few enough for its caches, since what a shared machine's memory gives swings."""
    most_multiplications: int
    """m n k of the largest GEMM."""
    groups: int
    """Work-groups that keep the whole device busy."""
    largest_bytes: int
    """Of the arrays of the streaming and latency sweeps."""


CPU = Scale(64, 16, 8, 1 << 13, 1 << 18, 704**3, 64, 64 * MIB)
GPU = Scale(256, 4, 16, 1 << 10, 1 << 24, 2048**3, 4096, 128 * MIB)


def scale_of(device: Device) -> Scale:
    """The scale for a device."""
    return CPU if device.kind == "CPU" else GPU


def elementwise(op: str, elements: int, scale: Scale, dtype: str = "fp32") -> Case:
    """A streaming kernel; its work-groups load the same bytes whatever the inputs are."""
    inputs = 2 if op in ("add", "mul", "silu_mul", "triad") else 1
    options = {"threads": scale.threads, "per_thread": max(scale.loads // inputs, 1)}
    moved = elements * (inputs + 1) * (2 if dtype == "fp16" else 4)
    requires = frozenset({"fp16"} & {dtype})
    params: Mapping[str, Any] = {"elements": elements, "dtype": dtype}
    return Case(op, params, "elementwise", options, requires, 2.0 * elements if op == "triad" else 0.0, float(moved))


def rowwise(op: str, rows: int, cols: int, scale: Scale) -> Case:
    """A softmax or norm; one work-group a row."""
    return Case(op, {"rows": rows, "cols": cols, "dtype": "fp32"}, "rowwise", {"threads": scale.threads})


def gemm_register(m: int, n: int, k: int, scale: Scale) -> Case:
    """A register-blocked GEMM: the library's, where there is no other."""
    group = {"group_n": scale.gemm_group, "group_m": scale.gemm_group}
    return Case("gemm", {"m": m, "n": n, "k": k, "dtype": "fp32"}, "gemm_register", group)


def fma(op: str, dtype: str, groups: int, scale: Scale, iterations: int = 256, words: int = 1) -> Case:
    """Chains of multiply-adds in registers."""
    params: Mapping[str, Any] = {"groups": groups, "threads": scale.threads, "iterations": iterations, "dtype": dtype}
    flops = 2.0 * CHAINS * groups * scale.threads * iterations
    return Case(op, params, "fma", {"words": words}, frozenset({"fp16"} & {dtype}), flops)


def reference(device: Device) -> Case:
    """The kernel by which a CPU's pace is told: arithmetic and loads from the caches, half a millisecond of them."""
    return gemm_register(96, 96, 96, scale_of(device))


def micro(device: Device, seed: int) -> list[Case]:  # noqa: ARG001 - a suite's signature; nothing here is drawn
    """Launch cost, streaming by size, latency by size, multiply-add rates, shared memory, occupancy."""
    scale = scale_of(device)
    shared = int(device.limits["shared_memory_bytes"])
    sizes = [size for size in (1 << shift for shift in range(12, 28, 2)) if size <= scale.largest_bytes]
    cases = [Case("launch", {"dtype": "int32"}, "empty")]
    cases += [elementwise(op, size // 4, scale) for op in ("copy", "triad") for size in sizes]
    cases += [elementwise("copy", size // 2, scale, "fp16") for size in sizes[2:5]]
    cases += [Case("pointer_chase", {"bytes": size, "loads": 32_000, "dtype": "int32"}, "pointer_chase")
              for size in sizes]  # fmt: skip
    cases += [fma("fma_rate", dtype, scale.groups, scale) for dtype in ("fp32", "fp16", "int32")]
    cases += [_shared_read(stride, shared, scale) for stride in (1, 2, 4, 8, 16, 32)]
    cases += [fma("occupancy", "fp32", groups, scale) for groups in (1, 2, 3, 4, 6, 8, 16)]
    cases += [fma("occupancy", "fp32", scale.groups, scale, words=shared // part // 4) for part in (8, 4, 2, 1)]
    return cases


def _shared_read(stride: int, shared: int, scale: Scale) -> Case:
    words, trips = shared // 8, 256
    options = {"groups": scale.groups, "threads": scale.threads, "iterations": trips, "words": words}
    moved = 16.0 * trips * scale.groups * scale.threads
    return Case("shared_read", {"stride": stride, "dtype": "int32"}, "shared_read", options, work_bytes=moved)


def gemm(device: Device, seed: int) -> list[Case]:  # noqa: ARG001 - a suite's signature; nothing here is drawn
    """The kernels of a GEMM side by side: naive, tiles of shared memory from 1 to 32, registers, matrix units."""
    scale = scale_of(device)
    sizes = (64, 128, 256) if scale is CPU else (256, 512, 1024, 2048)
    cases = []
    for size in sizes:
        problem: Mapping[str, Any] = {"m": size, "n": size, "k": size, "dtype": "fp32"}
        flops = 2.0 * size**3
        cases.append(Case("gemm_naive", problem, "gemm_naive", {"group": 16}, work_flops=flops))
        tiles = (1, 2, 4, 8, 16, 32) if size <= sizes[1] else (8, 16, 32)
        cases += [Case("gemm_naive_tiled", {**problem, "tile": tile}, "gemm_tiled") for tile in tiles]
        cases.append(gemm_register(size, size, size, scale))
    return cases + [case for size in sizes for case in gemm_cooperative(size, device)]


MATRIX_UNITS = (MatrixShape(16, 16, 16, "fp16", "fp32"), MatrixShape(16, 16, 32, "int8", "int32"))
"""Shapes asked for where a device tells none: their cases are left out, and counted."""


def gemm_cooperative(size: int, device: Device) -> list[Case]:
    """A square GEMM on matrix units, in each shape that device and shaders have, by the tiles that a subgroup keeps."""
    cases = []
    for shape in device.matrix_shapes or MATRIX_UNITS:
        if (shape.dtype, shape.sum_dtype) not in (("fp16", "fp32"), ("int8", "int32")):
            continue
        problem: Mapping[str, Any] = {"m": size, "n": size, "k": size, "dtype": shape.dtype}
        requires = frozenset({"cooperative_matrix", shape.dtype})
        for side in (1, 2, 4):
            block = {"tile_m": shape.m, "tile_n": shape.n, "tile_k": shape.k, "rows": side, "columns": side}
            options = {**block, "high": 2, "wide": 2, "lanes": int(device.limits.get("subgroup_size", 32))}
            if size % (2 * side * max(shape.m, shape.n)) == 0 and size % shape.k == 0:
                cases.append(Case("gemm", problem, "gemm_cooperative", options, requires))
    return cases


def neural_graphics(device: Device, seed: int) -> list[Case]:  # noqa: ARG001 - nothing here is drawn
    """Grid encodings by indexing, networks fused and layer by layer, the chain around them fused and in stages."""
    scale = scale_of(device)
    small = scale is CPU
    threads = {"threads": scale.threads}
    cases = []
    for indexing in ("hash", "dense", "tiled"):
        levels, finest = (8, 64) if indexing == "dense" else (8, 512)
        grid: Mapping[str, Any] = {
            "queries": 1 << (12 if small else 18), "dims": 3, "levels": levels, "features": 2, "base": 16,
            "finest": finest, "log2_entries": 14 if small else 19, "indexing": indexing, "dtype": "fp32",
        }  # fmt: skip
        cases.append(Case("grid_encoding", grid, "grid_encoding", threads))
    for queries in (1 << 10, 1 << 12) if small else (1 << 14, 1 << 17):
        net = {"queries": queries, "inputs": 32, "width": 64, "hidden": 2, "outputs": 16}
        network: Mapping[str, Any] = {**net, "dtype": "fp32"}
        fused = Case("fused_mlp", network, "mlp_fused", threads)
        cases += [fused, Case("layered_mlp", network, "mlp_layers", threads, work_flops=fused.work_flops)]
    for rays in (1 << 14, 1 << 16, 1 << 18) if small else (1 << 18, 1 << 21):
        cases += chain(rays, scale)
    return cases


def chain(rays: int, scale: Scale) -> list[Case]:
    """The chain of stages as one kernel, and as a kernel a stage."""
    options = {"threads": scale.threads, "per_thread": scale.loads}
    instructions = sum(STAGE_INSTRUCTIONS)
    one: Mapping[str, Any] = {
        "rays": rays, "read_bytes": 4, "write_bytes": 4, "instructions": instructions, "dtype": "fp32",
        "function": "chain",
    }  # fmt: skip
    stages: Mapping[str, Any] = {"rays": rays, "stages": len(STAGE_INSTRUCTIONS), "dtype": "fp32"}
    moved = 8.0 * rays * len(STAGE_INSTRUCTIONS)
    return [
        Case("ray_kernel", one, "chain_fused", options),
        Case("ray_kernels", stages, "chain_stages", options, work_flops=float(rays * instructions), work_bytes=moved),
    ]


def calibration(device: Device, seed: int) -> list[Case]:
    """Kernels to fit a machine to: the launch, and shapes drawn by seed from the even half."""
    counts = {
        "copy": 14,
        "add": 14,
        "gelu": 14,
        "silu_mul": 14,
        "softmax": 10,
        "rmsnorm": 10,
        "layernorm": 8,
        "gemm": 24,
    }
    return _drawn(device, seed, counts, half=0)


def exam(device: Device, seed: int) -> list[Case]:
    """Kernels to judge a machine by: shapes drawn by seed from the odd half, which no calibration has."""
    counts = {"copy": 7, "add": 7, "gelu": 7, "silu_mul": 6, "softmax": 9, "rmsnorm": 9, "layernorm": 7, "gemm": 20}
    return _drawn(device, seed, counts, half=1)


def _drawn(device: Device, seed: int, counts: Mapping[str, int], half: int) -> list[Case]:
    """So many cases of each family, in one random order, lest drifts of the machine's speed follow a family."""
    scale = scale_of(device)
    cases: list[Case] = []
    for op, count in counts.items():
        rng = np.random.default_rng([seed, half, *op.encode()])
        draw = _DRAWERS.get(op, _draw_elementwise)
        for stratum in range(count):
            candidates = (draw(op, rng, (stratum + rng.uniform()) / count, scale) for _ in range(1000))
            fresh = (c for c in candidates if crc32(c.key.encode()) % 2 == half and c not in cases)
            cases += islice(fresh, 1)
    order = np.random.default_rng([seed, half]).permutation(len(cases))
    return [cases[i] for i in order]


def _draw_elementwise(op: str, rng: np.random.Generator, position: float, scale: Scale) -> Case:
    """Elements spread evenly over their logarithm; `position` in 0..1 says where."""
    return elementwise(op, int(2.0 ** (_elements(position, scale) + rng.uniform(-0.1, 0.1))), scale)


def _elements(position: float, scale: Scale) -> float:
    """Logarithm to base 2 of the elements at a position in 0..1."""
    low, high = np.log2(scale.least_elements), np.log2(scale.most_elements)
    return float(low + position * (high - low))


def _draw_rowwise(op: str, rng: np.random.Generator, position: float, scale: Scale) -> Case:
    """Elements as of elementwise kernels; columns from 64 to 4096."""
    elements = 2.0 ** _elements(position, scale)
    cols = 2.0 ** rng.uniform(6.0, min(12.0, np.log2(elements)))
    return rowwise(op, max(int(elements / cols), 1), int(cols), scale)


def _draw_gemm(_op: str, rng: np.random.Generator, position: float, scale: Scale) -> Case:
    """m n k spread evenly over its logarithm, sides a random split of it."""
    least = 3.0 * 5.5
    volume = least + position * (np.log2(scale.most_multiplications) - least)
    k_share, m_share = rng.uniform(0.25, 0.42), rng.uniform(0.4, 0.6)
    rest = volume * (1.0 - k_share)
    m, n, k = (
        min(max(int(2.0**side), 8), LONGEST_SIDE) for side in (rest * m_share, rest * (1.0 - m_share), volume * k_share)
    )
    return gemm_register(m, n, k, scale)


_DRAWERS: Mapping[str, Callable[[str, np.random.Generator, float, Scale], Case]] = {
    "softmax": _draw_rowwise,
    "rmsnorm": _draw_rowwise,
    "layernorm": _draw_rowwise,
    "gemm": _draw_gemm,
}
