"""The GEMM kernels that a library can launch: tiles, warps, pipelines, and what their main loops ask of an SM.

The structure is that of CUTLASS (NVIDIA, efficient_gemm.md), whose kernels cuBLAS's resemble. Which instruction feeds
the tensor cores decides what the shared memory must deliver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Tile
from simexplore.errors import SimexploreError
from simexplore.sim.demand import FloatArray
from simexplore.sim.mapping.columns import constant, row
from simexplore.workloads.dtypes import bytes_of

INSTRUCTION_K_BYTES = 32.0
"""Bytes of k that one tensor instruction takes: k16 of 16-bit, k32 of 8-bit, k8 of tf32 operands (PTX ISA, mma)."""
WGMMA_ROWS = 64.0
"""Rows of C of one wgmma (PTX ISA, wgmma.mma_async: m64nNk16)."""
WGMMA_COLUMN_STEP = 8.0
"""Columns of a wgmma come in multiples of 8, up to 256."""
TCGEN05_ROWS = 128.0
"""Rows of C of one tcgen05.mma at the full rate of an SM's tensor cores (PTX ISA, tcgen05.mma, cta_group::1)."""
MMA_ROWS = 16.0
"""Rows of C of one mma.sync (PTX ISA, mma.m16n8k16)."""
MOST_REGISTERS = 255.0
"""Registers that an instruction can name, and so the most that a thread has."""
WARP_GROUP = 4.0
"""Warps that issue a wgmma together, and of the producer beside them (PTX ISA, wgmma)."""
WARP_GROUP_THREADS = 128.0
LARGE_TILE = 128.0 * 128.0
"""Elements of C from which a kernel of mma.sync has more warps (CUTLASS's configurations)."""
LARGE_WARPS, SMALL_WARPS = 8.0, 4.0
WARP_TILE_ROWS = 64.0
"""Rows of C of a warp of a large tile, at most."""
THREAD_PATCH = 8.0
"""Rows and columns of C that a thread of a SIMT kernel computes, at most."""
SIMT_THREADS = 128.0
"""Threads of a SIMT kernel, at least."""
SIMT_K_STEP = 8.0
"""Elements of k of one step of a SIMT kernel's main loop (CUTLASS, SIMT configurations)."""
SIMT_REGISTERS = 32.0
"""Of a thread of it for addresses and loop state; `PATCH_REGISTERS` more for each side of its patch: operands."""
PATCH_REGISTERS = 4.0
ADDRESS_REGISTERS = 64.0
"""Registers a thread needs beside its accumulators: operand fragments, addresses, loop state."""


@dataclass(frozen=True)
class Tiles:
    """Kernels by the tile of C that a CTA computes; arrays broadcast to (rows, tiles)."""

    m: FloatArray
    n: FloatArray
    computed: FloatArray
    """Elements of C that the instructions compute: the tile, at least one instruction high."""
    warps: FloatArray
    registers: FloatArray
    """Registers per thread."""
    stages: FloatArray
    stage_bytes: FloatArray
    """Shared memory of one pipeline stage [B]."""
    shared_bytes_per_k: FloatArray
    """Shared-memory traffic of the main loop for each element of k [B]."""
    chain_cycles: FloatArray
    """Latency of one k-step in a CTA that has its SM to itself."""
    on_tensor_cores: bool


_ARRAYS = tuple(field.name for field in fields(Tiles) if field.name != "on_tensor_cores")


def tiles_of(m: FloatArray, n: FloatArray, dtype: str, gpu: Gpu) -> Tiles:
    """All kernels for m x n results (columns of shape (rows, 1)) of a type.

    wgmma kernels exist both ways round and for all tile widths in steps of 8 columns; of these the menu's entry stands
    for the narrowest that covers C with as few tiles. Raises SimexploreError where the GPU has no unit for the type.
    """
    library = gpu.library.gemm
    if dtype not in gpu.sm.tensor_ops_per_clk:
        return _on_fma_pipes(*_menu(library.simt.tiles), dtype, gpu)
    rows, columns = _menu(library.tensor.tiles)
    if library.tensor.reads_registers:
        return _with_mma_sync(rows, columns, dtype, gpu)
    straight = _with_wgmma(rows, _narrowed(columns, n), dtype, gpu)
    turned = _with_wgmma(rows, _narrowed(columns, m), dtype, gpu)
    return _side_by_side(straight, replace(turned, m=turned.n, n=turned.m))


def grouped_tiles(tiles: tuple[Tile, ...], dtype: str, gpu: Gpu) -> Tiles:
    """Kernels of grouped products, by tokens x features; tensor instructions have their rows along the features.

    Few tokens an expert are usual, and an instruction has fewer columns than rows (CUTLASS, swapped operands).
    Raises SimexploreError where the GPU has no unit for the type.
    """
    tokens, features = _menu(tiles)
    if dtype not in gpu.sm.tensor_ops_per_clk:
        return _on_fma_pipes(tokens, features, dtype, gpu)
    if gpu.library.gemm.tensor.reads_registers:
        return _with_mma_sync(tokens, features, dtype, gpu)
    turned = _with_wgmma(features, tokens, dtype, gpu)
    return replace(turned, m=turned.n, n=turned.m)


def _narrowed(columns: FloatArray, extent: FloatArray) -> FloatArray:
    """The narrowest tile, in wgmma's steps of 8 columns, that covers `extent` with no more tiles than `columns`."""
    tiles = np.ceil(extent / columns)
    return WGMMA_COLUMN_STEP * np.ceil(extent / (WGMMA_COLUMN_STEP * tiles))


def _menu(tiles: tuple[Tile, ...]) -> tuple[FloatArray, FloatArray]:
    return row([float(tile.m) for tile in tiles]), row([float(tile.n) for tile in tiles])


def _side_by_side(straight: Tiles, turned: Tiles) -> Tiles:
    """Both as one menu. The turned ones compute C^T = B^T A^T, which puts the instruction's rows along n."""
    pairs = {name: (getattr(straight, name), getattr(turned, name)) for name in _ARRAYS}
    # Sizes, or any value of the machine that one of the arrays depends on, may be columns.
    shape = np.broadcast_shapes(*(array.shape for pair in pairs.values() for array in pair))
    both = {
        name: np.concatenate([np.broadcast_to(array, shape) for array in pair], axis=1) for name, pair in pairs.items()
    }
    return Tiles(**both, on_tensor_cores=straight.on_tensor_cores)


def _stages(stage_bytes: FloatArray, room_bytes: float, most: int) -> FloatArray:
    """Stages of the pipeline: as many as fit the room, two at least (one is computed while the other fills)."""
    return np.clip(np.floor(room_bytes / stage_bytes), 2.0, float(most))


def _synchronisation_cycles(gpu: Gpu) -> float:
    """What a k-step waits for beside its arithmetic: a barrier, and the first operands from shared memory."""
    return gpu.library.barrier_cycles + gpu.sm.latency.shared_cycles


def _with_wgmma(rows: FloatArray, columns: FloatArray, dtype: str, gpu: Gpu) -> Tiles:
    """Warp-specialised kernels: instructions of 64 rows (wgmma) or 128 (tcgen05) read both operands from shared memory.

    A wgmma of n columns occupies the tensor cores for n/2 clocks at 16 bits and reads (64 + n) rows of 32 bytes: with
    128 B/clk that gives the measured 128, 64, 32, 24, 20, 18 clocks for n = 256 … 8 (Luo et al., arXiv 2501.12084,
    Table 9). tcgen05 reads the columns once for twice as many rows, and sums up in tensor memory, not in registers.
    """
    library, sm, element = gpu.library.gemm, gpu.sm, bytes_of(dtype)
    in_registers = library.tensor.instruction == "wgmma"
    high = WGMMA_ROWS if in_registers else TCGEN05_ROWS
    groups = np.maximum(rows / high, 1.0)
    sums = rows * columns / (groups * WARP_GROUP_THREADS) if in_registers else constant(0.0)
    stage = (rows + columns) * library.pipeline.k_tile_bytes
    operations = 2.0 * high * columns * (INSTRUCTION_K_BYTES / element)
    reads = (high + columns) * INSTRUCTION_K_BYTES
    rates: Mapping[Any, float] = sm.tensor_ops_per_clk
    issue = np.maximum(operations / rates[dtype], reads / sm.shared_bandwidth_bytes_per_clk)
    instructions = library.pipeline.k_tile_bytes / INSTRUCTION_K_BYTES
    return Tiles(
        m=rows,
        n=columns,
        computed=groups * high * columns,
        warps=WARP_GROUP * (groups + 1.0),  # and a producer group
        registers=np.minimum(sums + ADDRESS_REGISTERS, MOST_REGISTERS),
        stages=_stages(stage, sm.shared_memory_per_cta_bytes, library.pipeline.max_stages),
        stage_bytes=stage,
        shared_bytes_per_k=groups * (high + columns) * element,
        chain_cycles=_synchronisation_cycles(gpu) + sm.latency.tensor_cycles + instructions * issue,
        on_tensor_cores=True,
    )


def _with_mma_sync(rows: FloatArray, columns: FloatArray, dtype: str, gpu: Gpu) -> Tiles:
    """Kernels whose warps load fragments with ldmatrix and multiply from registers; warp tiles of at most 64 x 64."""
    library, sm, element = gpu.library.gemm, gpu.sm, bytes_of(dtype)
    warps = np.where(rows * columns >= LARGE_TILE, LARGE_WARPS, SMALL_WARPS)
    warp_m = np.where(warps == LARGE_WARPS, np.minimum(rows, WARP_TILE_ROWS), np.maximum(rows / 2.0, MMA_ROWS))
    warp_n = rows * columns / (warps * warp_m)
    stage = (rows + columns) * library.pipeline.k_tile_bytes
    room = np.minimum(sm.shared_memory_per_cta_bytes, sm.shared_memory_bytes / 2.0)
    instruction = sm.latency.shared_cycles + sm.latency.tensor_cycles
    instructions = library.pipeline.k_tile_bytes / INSTRUCTION_K_BYTES
    return Tiles(
        m=rows,
        n=columns,
        computed=np.maximum(rows, MMA_ROWS) * columns,
        warps=warps,
        registers=np.minimum(rows * columns / (warps * sm.warp_size) + ADDRESS_REGISTERS, MOST_REGISTERS),
        stages=_stages(stage, room, library.pipeline.max_stages),
        stage_bytes=stage,
        shared_bytes_per_k=(warps * (warp_m + warp_n) + rows + columns) * element,
        chain_cycles=constant(_synchronisation_cycles(gpu) + instructions * instruction),
        on_tensor_cores=True,
    )


def _on_fma_pipes(rows: FloatArray, columns: FloatArray, dtype: str, gpu: Gpu) -> Tiles:
    """SIMT kernels: a thread computes a patch of at most 8 x 8, k in steps of 8 elements.

    Every thread loads its own rows and columns; 16-byte loads are served to eight threads at a time, so those that read
    the same words take their turns as if they did not.
    """
    library, sm, element = gpu.library.gemm, gpu.sm, bytes_of(dtype)
    if dtype not in sm.fma_ops_per_clk:
        known = ", ".join(sorted({*sm.tensor_ops_per_clk, *sm.fma_ops_per_clk}))
        raise SimexploreError(f"{gpu.name} multiplies no {dtype} matrices; it has rates for {known}")
    patch = np.minimum(THREAD_PATCH, np.sqrt(rows * columns / SIMT_THREADS))
    warps = rows * columns / (patch * patch * sm.warp_size)
    k_of_step = library.pipeline.k_tile_bytes / element
    steps = k_of_step / SIMT_K_STEP
    return Tiles(
        m=rows,
        n=columns,
        computed=rows * columns,
        warps=warps,
        registers=patch * patch + PATCH_REGISTERS * patch + SIMT_REGISTERS,
        stages=constant(2.0),
        stage_bytes=(rows + columns) * SIMT_K_STEP * element,
        shared_bytes_per_k=(warps * sm.warp_size * 2.0 * patch + rows + columns) * element,
        chain_cycles=constant(steps * _synchronisation_cycles(gpu) + k_of_step * sm.latency.fma_cycles),
        on_tensor_cores=False,
    )
