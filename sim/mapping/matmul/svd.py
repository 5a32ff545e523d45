"""Singular value decompositions by Jacobi rotations of blocks of columns → kernel demands.

PyTorch calls cuSOLVER's `gesvdj` on CUDA, at a tolerance of the type's own epsilon (aten/src/ATen/native/cuda/linalg/
BatchLinearAlgebraLib.cpp, `svd_cusolver`; docs of `torch.linalg.svd`, `driver=None`). How its kernels are laid out is
not published; here is the textbook's block form (Golub and Van Loan, 4th ed., section 8.5.6): blocks of columns meet in
n / BLOCK - 1 rounds a sweep, each block with one other at a time. In a round a CTA has two blocks; it multiplies them
with one another and makes the small product diagonal, and then the columns of both, and of the right vectors, are
multiplied by what made it so. A round waits for the one before. Nothing here was fitted.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Work
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Svd

BLOCK = 32.0
"""assumed: columns of a block; two of them, and their product, fit the shared memory of every GPU since Volta."""
TILE_ROWS = 128.0
"""assumed: rows of a CTA that multiplies two blocks of columns."""
WARPS, REGISTERS = 8.0, 128.0
"""assumed: of all these CTAs, 256 threads that hold parts of products."""
PAIR_FLOPS = 9.0
"""Of a sweep over a square matrix, in cubes of its side: 6 m n n + 3 n n n with m = n."""
ROUND_BARRIERS = 2.0
"""Of a round within a CTA: after angles are found, and after columns are rotated."""
REUSED = 8.0
"""assumed: products of an element that a thread has in registers, of 8 x 8 results."""
KERNELS_OF_ROUND = 3.0
"""Launches: the small problems, the matrix's columns, the right vectors'."""


def svd_demands(op: Svd, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:  # noqa: ARG001 - a mapping
    """All rounds of all sweeps of all matrices: those that make products diagonal, and those that multiply columns.

    Raises SimexploreError where the GPU has no FMA rate for the type, or kernels have no room for two blocks.
    """
    if op.dtype not in gpu.sm.fma_ops_per_clk or bytes_of(op.dtype) < bytes_of("fp32"):
        raise SimexploreError(f"{gpu.name} decomposes no matrices of {op.dtype}: take fp32")
    rounds = np.maximum(ceil_div(column(op.short), BLOCK) - 1.0, 1.0) * column(op.sweeps) * column(op.times)
    return _small(op, rounds, gpu), _columns(op, rounds, gpu)


def _small(op: Svd, rounds: FloatArray, gpu: Gpu) -> KernelDemand:
    """Two blocks' product with themselves, and its rotations, which wait for one another."""
    m, element, sm = column(op.long), bytes_of(op.dtype), gpu.sm
    ctas = _pairs(op)
    side = np.minimum(2.0 * BLOCK, column(op.short))
    sweeps = np.maximum(np.ceil(np.log2(side)), 1.0)
    steps = sweeps * np.maximum(side - 1.0, 1.0)
    of_step = (
        ROUND_BARRIERS * (gpu.library.barrier_cycles + sm.latency.shared_cycles)
        + 2.0 * sm.latency.fma_cycles
        + 2.0 * sm.latency.special_function_cycles
    )
    rotated = sweeps * PAIR_FLOPS * side * side * side
    read = m * side * element
    return KernelDemand(
        kernel="rotations",
        grid=Grid(ctas, constant(WARPS), constant(REGISTERS), 2.0 * side**2 * element),
        work=Work(
            fma_dtype=op.dtype,
            fma_ops=rounds * (2.0 * m * side**2 + rotated),
            special_ops=rounds * 2.0 * steps * side,
            shared_bytes=rounds * element * rotated / 2.0,
            l2_read_bytes=rounds * read,
            l2_write_bytes=rounds * side**2 * element,
            dram_read_bytes=rounds * read * (1.0 - _warm(op, gpu)),
        ),
        latency=Latency(
            bytes_in_flight=np.minimum(read, sm.shared_memory_per_cta_bytes),
            chain_cycles=rounds * (steps * of_step + gpu.l2.mean_latency_cycles),
            extra_launches=np.maximum(rounds - 1.0, 0.0),
        ),
    )


def _columns(op: Svd, rounds: FloatArray, gpu: Gpu) -> KernelDemand:
    """Columns of the matrix and of its right vectors, times the rotations of their two blocks; read and written."""
    element, side = bytes_of(op.dtype), np.minimum(2.0 * BLOCK, column(op.short))
    rows = column(op.long) + column(op.short)
    tiles = ceil_div(rows, TILE_ROWS)
    ctas, high = _pairs(op) * tiles, rows / tiles
    moved = high * side * element
    back = written_back_share(2.0 * rows * column(op.short) * element, gpu)
    return KernelDemand(
        kernel="columns",
        grid=Grid(ctas, constant(WARPS), constant(REGISTERS), side**2 * element),
        work=Work(
            fma_dtype=op.dtype,
            fma_ops=rounds * 2.0 * high * side**2,
            shared_bytes=rounds * 2.0 * side * moved / REUSED,
            l2_read_bytes=rounds * (moved + side**2 * element),
            l2_write_bytes=rounds * moved,
            dram_read_bytes=rounds * moved * (1.0 - _warm(op, gpu)),
            dram_write_bytes=rounds * moved * back,
        ),
        latency=Latency(
            bytes_in_flight=moved,
            chain_cycles=rounds * gpu.l2.mean_latency_cycles,
            extra_launches=np.maximum((KERNELS_OF_ROUND - 1.0) * rounds - 1.0, 0.0),
        ),
    )


def _pairs(op: Svd) -> FloatArray:
    """Pairs of blocks that meet in a round."""
    return np.maximum(np.floor(ceil_div(column(op.short), BLOCK) / 2.0), 1.0)


def _warm(op: Svd, gpu: Gpu) -> FloatArray:
    """Share of what a round reads that L2 holds from the round before, which touched all of it."""
    held = bytes_of(op.dtype) * (column(op.long) + column(op.short)) * column(op.short)
    return warm_share(held, 1.0, 0.0 * held, gpu)
