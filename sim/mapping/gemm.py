"""GEMM → kernel demands: every kernel of the library's menu as a candidate.

A CTA computes a tile of C over its share of k, in steps of `k_tile_bytes` that a pipeline of stages fetches into
shared memory. Split-K CTAs add their partial sums afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema import Gpu
from simexplore.sim.demand import Conditions, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping import operands
from simexplore.sim.mapping.columns import ceil_div, column, constant
from simexplore.sim.mapping.rowwise import dynamic_quantize_demands
from simexplore.sim.mapping.tiles import Tiles, tiles_of
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Conv2d, Gemm, Quantize

PARTIAL_SUM_BYTES = 4.0
"""Split-K partial sums are FP32."""


def gemm_demands(op: Gemm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Kernels of a GEMM: the quantisation of its activations, if any, and the GEMM with all its candidates.

    Raises SimexploreError where the GPU has no unit for the operator's type.
    """
    kernels: tuple[KernelDemand, ...] = ()
    if op.activation_dtype is not None and op.activation_dtype != op.dtype:
        quantize = Quantize(rows=op.batch * op.m, cols=op.k, dtype=op.dtype, input_dtype=op.activation_dtype)
        kernels = dynamic_quantize_demands(quantize, gpu, conditions)
    return (*kernels, _gemm_kernel(op, gpu, conditions))


def gemm_candidates(op: Gemm | Conv2d, gpu: Gpu) -> int:
    """How many kernels the menu has for a row: tiles, both ways round for wgmma, times splits of k."""
    library = gpu.library.gemm
    if op.dtype not in gpu.sm.tensor_ops_per_clk:
        return len(library.simt_tiles) * len(library.split_k)
    return len(library.tiles) * len(library.split_k) * (2 if library.instruction == "wgmma" else 1)


def _gemm_kernel(op: Gemm, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    m, n, k, batch = (column(x) for x in (op.m, op.n, op.k, op.batch))
    library, tiles = gpu.library.gemm, tiles_of(m, n, op.dtype, gpu)
    element = bytes_of(op.dtype)
    rows, columns = ceil_div(m, tiles.m), ceil_div(n, tiles.n)
    steps_of_k = ceil_div(k * element, library.k_tile_bytes)
    steps = ceil_div(steps_of_k, tiles.split_k)
    splits = ceil_div(steps_of_k, steps)
    even = splits == np.minimum(tiles.split_k, steps_of_k)  # others repeat a smaller split: they get no room
    if library.instruction == "mma_sync":
        even = even & tiles.suit(m, n)
    even = even & ((splits == 1.0) | _worth_splitting(m * n * k, k, gpu))
    ctas = batch * rows * columns * splits

    partial = np.where(splits > 1.0, PARTIAL_SUM_BYTES, bytes_of(op.output_dtype))
    result = m * n / (rows * columns) * partial
    reduction = np.where(splits > 1.0, m * n / (rows * columns) * 2.0 * PARTIAL_SUM_BYTES, 0.0)
    traffic = operands.dram_traffic(
        op, gpu, conditions.cache, grid=(rows, columns), tile=(tiles.m, tiles.n), splits=splits
    )
    operations = 2.0 * tiles.computed * steps * library.k_tile_bytes / element
    hit = cache.mean_latency_cycles(gpu)
    nothing = constant(0.0)
    return KernelDemand(
        kernel="gemm",
        ctas=ctas,
        warps_per_cta=tiles.warps,
        registers_per_thread=tiles.registers,
        shared_bytes_per_cta=np.where(even, tiles.stages * tiles.stage_bytes, np.inf),
        overlap_exponent=None if tiles.on_tensor_cores else library.simt_overlap_exponent,
        tensor_dtype=op.dtype,
        fma_dtype="fp32" if tiles.on_tensor_cores else op.dtype,
        tensor_ops=operations if tiles.on_tensor_cores else nothing,
        fma_ops=nothing if tiles.on_tensor_cores else operations,
        shared_bytes=tiles.shared_bytes_per_k * steps * library.k_tile_bytes / element,
        l2_read_bytes=_fetched_bytes(tiles, (m / rows, n / columns), (rows, columns), k / splits * element, gpu),
        l2_write_bytes=result + reduction,
        dram_read_bytes=traffic.read / ctas,
        dram_write_bytes=traffic.write / ctas,
        bytes_in_flight=library.flight_share * (tiles.stages - 1.0) * tiles.stage_bytes,
        chain_cycles=steps * tiles.chain_cycles,
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        epilogue_bytes=result,
        tensor_efficiency=library.tensor_efficiency,
        l2_rate=library.l2_rate,
        dram_rate=library.dram_rate,
        helper_cycles=library.reduction_round_trips * hit,
        epilogue_efficiency=library.epilogue_efficiency,
        wave_exposure=library.wave_exposure,
        ramp_cycles=library.cold_round_trips * gpu.dram.latency_cycles,
        setup_cycles=constant(library.setup_round_trips * hit),
        extra_launches=np.where((splits > 1.0) & (library.split_k_reduction == "kernel"), 1.0, 0.0),
        reckoned_read_bytes=traffic.unread / ctas,
        reckoned_cycles=np.where(splits > 1.0, library.split_reluctance_cycles, 0.0),
        label=(tiles.m, tiles.n, splits),
    )


def _worth_splitting(products: FloatArray, depth: FloatArray, gpu: Gpu) -> NDArray[np.bool_]:
    """Whether the library considers splitting k at all: for enough products m n k, or for any with a k so deep."""
    library = gpu.library.gemm
    worth: NDArray[np.bool_] = (products >= library.split_min_products) | (depth >= library.split_always_depth)
    return worth


def _fetched_bytes(
    tiles: Tiles,
    covered: tuple[FloatArray, FloatArray],
    grid: tuple[FloatArray, FloatArray],
    k_bytes: FloatArray,
    gpu: Gpu,
) -> FloatArray:
    """L2 bytes that a CTA draws for A and B [B]: the rows and columns that exist, the longer side shared in a cluster.

    `covered` are the rows and columns of C that a tile has on average; what lies outside C is not fetched.
    """
    cluster = float(gpu.library.gemm.multicast)
    high, wide = covered
    share_b = np.where((tiles.n >= tiles.m) & (grid[0] >= cluster), cluster, 1.0)
    share_a = np.where((tiles.n < tiles.m) & (grid[1] >= cluster), cluster, 1.0)
    return (high / share_a + wide / share_b) * k_bytes
