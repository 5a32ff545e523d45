"""GEMM → kernel demands: every tile of the library's menu times every split of k, as candidates.

A CTA computes a `tile_m` x `tile_n` tile of C over its share of k, in steps of `k_tile_bytes` that a pipeline of
stages fetches into shared memory. The structure is that of CUTLASS (NVIDIA, efficient_gemm.md), whose kernels
cuBLAS's resemble; which instruction feeds the tensor cores decides what the shared memory must deliver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simexplore.archs.schema import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.demand import Conditions, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping import operands
from simexplore.sim.mapping.columns import ceil_div, column, constant, row
from simexplore.sim.mapping.rowwise import quantize_demand
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Gemm, Quantize

PARTIAL_SUM_BYTES = 4.0
"""Split-K partial sums are FP32."""
INSTRUCTION_K_BYTES = 32.0
"""Bytes of k that one tensor instruction takes: k16 of 16-bit, k32 of 8-bit, k8 of tf32 operands (PTX ISA, mma)."""
WGMMA_ROWS = 64.0
"""Rows of C of one wgmma (PTX ISA, wgmma.mma_async: m64nNk16)."""
MMA_ROWS = 16.0
"""Rows of C of one mma.sync (PTX ISA, mma.m16n8k16)."""
ADDRESS_REGISTERS = 64.0
"""Registers a thread needs beside its accumulators: operand fragments, addresses, loop state."""


@dataclass(frozen=True)
class Candidates:
    """The kernel menu; arrays of shape (1, tiles x splits)."""

    tile_m: FloatArray
    tile_n: FloatArray
    split_k: FloatArray
    warps: FloatArray
    registers: FloatArray
    stages: FloatArray
    stage_bytes: FloatArray
    rows_of_instruction: float
    shared_bytes_per_k: FloatArray
    """Shared-memory bytes that the main loop reads and writes for each element of k."""
    chain_cycles_per_step: FloatArray
    """Latency of one k-step of a CTA that has the SM to itself."""


def gemm_demands(op: Gemm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Kernels of a GEMM: the quantisation of its activations, if any, and the GEMM with all its candidates.

    Raises SimexploreError where the GPU has no unit for the operator's type.
    """
    kernels: tuple[KernelDemand, ...] = ()
    if op.activation_dtype is not None and op.activation_dtype != op.dtype:
        quantize = Quantize(rows=op.batch * op.m, cols=op.k, dtype=op.dtype, input_dtype=op.activation_dtype)
        kernels = quantize_demand(quantize, gpu, conditions)
    return (*kernels, _gemm_kernel(op, gpu, conditions))


def _gemm_kernel(op: Gemm, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    on_tensor_cores = op.dtype in gpu.sm.tensor_ops_per_clk
    menu = _tensor_candidates(op, gpu) if on_tensor_cores else _simt_candidates(op, gpu)
    element = bytes_of(op.dtype)
    m, n, k, batch = (column(x) for x in (op.m, op.n, op.k, op.batch))
    rows, columns = ceil_div(m, menu.tile_m), ceil_div(n, menu.tile_n)
    steps_of_k = ceil_div(k * element, gpu.library.gemm.k_tile_bytes)
    steps = ceil_div(steps_of_k, menu.split_k)
    splits = ceil_div(steps_of_k, steps)
    k_of_cta = steps * gpu.library.gemm.k_tile_bytes / element
    ctas = batch * rows * columns * splits
    even = splits == np.minimum(menu.split_k, steps_of_k)  # others repeat a smaller split: they get no room

    cluster = float(gpu.library.gemm.multicast)
    share_b = np.where((menu.tile_n >= menu.tile_m) & (rows >= cluster), cluster, 1.0)
    share_a = np.where((menu.tile_n < menu.tile_m) & (columns >= cluster), cluster, 1.0)
    fetched = (menu.tile_m / share_a + menu.tile_n / share_b) * k_of_cta * element
    result = menu.tile_m * menu.tile_n * np.where(splits > 1.0, PARTIAL_SUM_BYTES, bytes_of(op.output_dtype))
    traffic = operands.dram_traffic(
        op, gpu, conditions.cache, grid=(rows, columns), tile=(menu.tile_m, menu.tile_n), splits=splits
    )
    operations = 2.0 * np.maximum(menu.tile_m, menu.rows_of_instruction) * menu.tile_n * k_of_cta
    hit = cache.mean_latency_cycles(gpu)
    reduction = np.where(splits > 1.0, splits * batch * m * n * 2.0 * PARTIAL_SUM_BYTES, 0.0)
    nothing = constant(0.0)
    return KernelDemand(
        kernel="gemm",
        ctas=ctas,
        warps_per_cta=menu.warps,
        registers_per_thread=menu.registers,
        shared_bytes_per_cta=np.where(even, menu.stages * menu.stage_bytes, np.inf),
        tensor_dtype=op.dtype,
        fma_dtype=op.dtype if not on_tensor_cores else "fp32",
        tensor_ops=operations if on_tensor_cores else nothing,
        fma_ops=nothing if on_tensor_cores else operations,
        shared_bytes=menu.shared_bytes_per_k * k_of_cta,
        l2_read_bytes=fetched,
        l2_write_bytes=result + reduction / ctas,
        dram_read_bytes=traffic.read / ctas,
        dram_write_bytes=traffic.write / ctas,
        bytes_in_flight=(menu.stages - 1.0) * menu.stage_bytes,
        chain_cycles=steps * menu.chain_cycles_per_step,
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        epilogue_bytes=result,
        setup_cycles=constant(gpu.library.gemm.setup_round_trips * hit),
        extra_launches=np.where((splits > 1.0) & (gpu.library.gemm.split_k_reduction == "kernel"), 1.0, 0.0),
        label=(menu.tile_m, menu.tile_n, splits),
    )


def _menu(tiles: tuple[tuple[int, int], ...], splits: tuple[int, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    pairs = [(tile, split) for tile in tiles for split in splits]
    return (
        row([float(tile[0]) for tile, _ in pairs]),
        row([float(tile[1]) for tile, _ in pairs]),
        row([float(split) for _, split in pairs]),
    )


def _pipeline(stage_bytes: FloatArray, room_bytes: float, most: int) -> FloatArray:
    """Stages of the pipeline: as many as fit the room, two at least (one is computed while the other fills)."""
    return np.clip(np.floor(room_bytes / stage_bytes), 2.0, float(most))


def _tensor_candidates(op: Gemm, gpu: Gpu) -> Candidates:
    library = gpu.library.gemm
    tile_m, tile_n, split_k = _menu(library.tiles, library.split_k)
    stage = (tile_m + tile_n) * library.k_tile_bytes
    element = bytes_of(op.dtype)
    instructions = library.k_tile_bytes / INSTRUCTION_K_BYTES
    sync = gpu.sm.shared_latency_cycles + gpu.library.barrier_cycles
    if library.instruction == "wgmma":
        groups = np.maximum(tile_m / WGMMA_ROWS, 1.0)
        warps = 4.0 * groups + 4.0  # a producer warp group feeds the consumer groups
        accumulators = tile_m * tile_n / (groups * 128.0)
        room = gpu.sm.shared_memory_per_cta_bytes
        shared = groups * (WGMMA_ROWS + tile_n) * element
        issue = np.maximum(
            2.0 * WGMMA_ROWS * tile_n * (INSTRUCTION_K_BYTES / element) / gpu.sm.tensor_ops_per_clk[op.dtype],
            (WGMMA_ROWS + tile_n) * INSTRUCTION_K_BYTES / gpu.sm.shared_bandwidth_bytes_per_clk,
        )
        chain = sync + gpu.sm.tensor_latency_cycles + instructions * issue
        rows_of_instruction = WGMMA_ROWS
    else:
        warps = np.where(tile_m * tile_n >= 128 * 128, 8.0, 4.0)
        warp_m = np.where(warps == 8.0, np.minimum(tile_m, 64.0), np.maximum(tile_m / 2.0, MMA_ROWS))
        warp_n = tile_m * tile_n / (warps * warp_m)
        accumulators = tile_m * tile_n / (warps * 32.0)
        room = min(gpu.sm.shared_memory_per_cta_bytes, gpu.sm.shared_memory_bytes / 2.0)
        shared = (warps * (warp_m + warp_n) + tile_m + tile_n) * element
        chain = sync + instructions * (gpu.sm.shared_latency_cycles + gpu.sm.tensor_latency_cycles) + 0.0 * tile_m
        rows_of_instruction = MMA_ROWS
    return Candidates(
        tile_m=tile_m,
        tile_n=tile_n,
        split_k=split_k,
        warps=warps,
        registers=np.minimum(accumulators + ADDRESS_REGISTERS, 255.0),
        stages=_pipeline(stage, room, library.max_stages),
        stage_bytes=stage,
        rows_of_instruction=rows_of_instruction,
        shared_bytes_per_k=shared,
        chain_cycles_per_step=chain,
    )


def _simt_candidates(op: Gemm, gpu: Gpu) -> Candidates:
    """Kernels on the FMA pipes: a thread computes an 8 x 8 patch, a warp 32 x 64 of C (CUTLASS's SIMT kernels)."""
    if op.dtype not in gpu.sm.fma_ops_per_clk:
        known = sorted({*gpu.sm.tensor_ops_per_clk, *gpu.sm.fma_ops_per_clk})
        raise SimexploreError(f"{gpu.name} multiplies no {op.dtype} matrices; it has rates for {', '.join(known)}")
    library = gpu.library.gemm
    tile_m, tile_n, split_k = _menu(library.simt_tiles, library.split_k)
    element = bytes_of(op.dtype)
    patch = np.minimum(8.0, np.sqrt(tile_m * tile_n / 128.0))
    warps = np.maximum(tile_m * tile_n / (patch * patch * 32.0), 1.0)
    warp_m, warp_n = 4.0 * patch, 8.0 * patch
    stage = (tile_m + tile_n) * library.k_tile_bytes / 4.0  # 8 elements of k in CUTLASS's SIMT kernels
    fmas_of_step = library.k_tile_bytes / element
    return Candidates(
        tile_m=tile_m,
        tile_n=tile_n,
        split_k=split_k,
        warps=warps,
        registers=np.minimum(patch * patch + 4.0 * patch + 32.0, 255.0),
        stages=constant(2.0),
        stage_bytes=stage,
        rows_of_instruction=1.0,
        shared_bytes_per_k=(warps * (warp_m + warp_n) + tile_m + tile_n) * element,
        chain_cycles_per_step=4.0 * (gpu.sm.shared_latency_cycles + gpu.library.barrier_cycles)
        + fmas_of_step * gpu.sm.fma_latency_cycles
        + 0.0 * tile_m,
    )
