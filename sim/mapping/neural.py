"""Neural graphics on a GPU: grid encodings, fused networks, per-ray kernels, as tiny-cuda-nn and instant-ngp do them.

**Encoding** (tiny-cuda-nn, encodings/grid.h, `kernel_grid`): one thread for each query and level, the levels one after
another, so a level's table is what the caches have to hold. A warp's gather of one corner takes the L1 one clock for
each line that it touches. Neighbouring rays share cells at coarse levels: 32 points in a row, each `1 / spacing` from
the next, lie in 1 + 31 resolution / spacing cells. The two corners along x are neighbours in memory, also when hashed
(its prime for x is 1), and share a sector but at its edge.

**Fused network** (fully_fused_mlp.cu, `kernel_mlp_fused`): a CTA takes 128 queries through all layers, a warp for each
16 neurons; activations stay in shared memory, which every warp reads whole for each layer; weights come through L1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, LinkDemand, Work
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import FusedMlp, GridEncoding, HostRead, RayKernel

OPS_PER_INSTRUCTION = 2.0
"""An instruction holds a lane of the FMA pipes as long as an FMA, which counts as two operations."""

ENCODING_THREADS = 512.0
LEVEL_INSTRUCTIONS = 24.0
COORDINATE_INSTRUCTIONS = 7.0
"""Load, scale, floor, cast, subtract, and the cell's integer."""
CORNER_INSTRUCTIONS = 22.0
"""Modulo by the table's size (about 14), address, load, and loop-free selects."""
CORNER_INSTRUCTIONS_PER_DIM = 7.0
"""Weight: select, multiply; position: select, add; index: compare, multiply, add."""
HASH_INSTRUCTIONS_PER_DIM = 2.0
FEATURE_INSTRUCTIONS = 2.0
"""Convert and multiply-add."""
MODULO_SPECIAL_OPS = 3.0
"""An integer modulo by a variable converts, takes a reciprocal and converts back."""
LINE_BYTES = 128.0
VECTOR_BYTES = 16.0
"""Of the widest load of a thread; a larger entry takes several."""
AXES_OF_SPACE = 3.0
ENCODING_REGISTERS = 40.0
"""Of a thread of the encoding kernel: a position, a corner's index and weight, the features' sums."""

MLP_ROWS = 128.0
MLP_NEURONS_PER_WARP = 16.0
MLP_ROW_PADDING = 8.0
MMA_DEPTH = 16.0
"""Elements of k of one tensor instruction at 16 bits (PTX ISA, mma.m16n8k16)."""
MLP_REGISTERS = 128.0

RAY_THREADS = 128.0
RAY_REGISTERS = 64.0
HOST_STEPS = 2.0
"""The copy to the host, and the host's next command."""


def grid_encoding_demands(op: GridEncoding, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The encoding kernel: its levels' work averaged over their equally many CTAs."""
    queries, levels = column(op.queries), column(op.levels)
    ctas = ceil_div(queries, ENCODING_THREADS) * levels
    threads = queries * levels / ctas
    gathers, stride = _gathers(op, gpu), column(op.stride_bytes)
    written = column(op.features) * bytes_of(op.dtype)
    hit = gpu.l2.mean_latency_cycles
    work = Work(
        fma_ops=threads * _instructions(op) * OPS_PER_INSTRUCTION,
        special_ops=threads * (1.0 + column(op.corners) * MODULO_SPECIAL_OPS),
        shared_bytes=threads * gathers.l1_bytes,
        l2_read_bytes=threads * (gathers.l2_bytes + stride),
        l2_write_bytes=threads * written,
        dram_read_bytes=threads * (gathers.dram_bytes + _points_missed(op, gpu, conditions, written)),
        dram_write_bytes=threads * written * written_back_share(queries * levels * written, gpu),
    )
    latency = Latency(
        bytes_in_flight=threads * np.maximum(gathers.l2_bytes, stride),
        exposed_cycles=constant(hit),
        setup_cycles=constant(hit),
    )
    warps, registers = constant(ENCODING_THREADS / gpu.sm.warp_size), constant(ENCODING_REGISTERS)
    return (KernelDemand("encode", Grid(ctas, warps, registers, constant(0.0)), work, latency),)


class _Gathers(NamedTuple):
    """What a thread draws of a level's table, the mean over levels; arrays of shape (rows, 1)."""

    l1_bytes: FloatArray
    """Lines that L1 serves [B]."""
    l2_bytes: FloatArray
    dram_bytes: FloatArray


def _gathers(op: GridEncoding, gpu: Gpu) -> _Gathers:
    grid, warp, levels = op.grid, float(gpu.sm.warp_size), column(op.levels)
    corners, dims, entry, spacing = (column(x) for x in (op.corners, op.dims, op.entry_bytes, op.spacing))
    here = grid.entries != 0.0
    per_cell = np.where(spacing > 0.0, grid.resolution / np.maximum(spacing, 1.0), 1.0)
    entries_per_sector = np.maximum(gpu.l2.sector_bytes / entry, 1.0)
    sector_share = _touched(per_cell, dims, entries_per_sector, spacing, warp)
    line_share = _touched(per_cell, dims, np.maximum(LINE_BYTES / entry, 1.0), spacing, warp)
    table = grid.entries * entry
    in_l1 = np.minimum(gpu.sm.shared_memory_bytes / np.maximum(table, 1.0), 1.0)
    sectors = corners / 2.0 * (1.0 + 1.0 / entries_per_sector) * sector_share
    gathered = np.where(here, sectors * (1.0 - in_l1) * gpu.l2.sector_bytes, 0.0)
    missed = gathered * (1.0 - cache.hit_share(table, gpu))
    lines = corners * np.maximum(1.0, entry / VECTOR_BYTES) * np.where(here, line_share, 0.0)

    def mean(of_levels: FloatArray) -> FloatArray:
        total: FloatArray = of_levels.sum(axis=1, keepdims=True)
        return total / levels

    return _Gathers(LINE_BYTES * mean(lines), mean(gathered), mean(missed))


def _instructions(op: GridEncoding) -> FloatArray:
    """Instructions of a thread: its point, and each corner of its cell."""
    dims = column(op.dims)
    hashed = op.grid.hashed.sum(axis=1, keepdims=True) / column(op.levels)
    corner = CORNER_INSTRUCTIONS + dims * (CORNER_INSTRUCTIONS_PER_DIM + HASH_INSTRUCTIONS_PER_DIM * hashed)
    of_point = LEVEL_INSTRUCTIONS + dims * COORDINATE_INSTRUCTIONS
    instructions: FloatArray = of_point + column(op.corners) * (corner + column(op.features) * FEATURE_INSTRUCTIONS)
    return instructions


def _points_missed(op: GridEncoding, gpu: Gpu, conditions: Conditions, written: FloatArray) -> FloatArray:
    """Bytes of a point that come from DRAM for a thread, the mean over levels: each passes over all points again."""
    queries, levels, stride = column(op.queries), column(op.levels), column(op.stride_bytes)
    points = queries * stride
    first_miss = 1.0 - warm_share(points, conditions.cache.activation_copies, queries * levels * written, gpu)
    again_miss = 1.0 - cache.hit_share(points, gpu)
    return stride * (first_miss + (levels - 1.0) * again_miss) / levels


def _touched(
    per_cell: FloatArray, dims: FloatArray, entries: FloatArray, spacing: FloatArray, warp: float
) -> FloatArray:
    """Sectors (or lines) of so many entries that a warp's gather of one corner touches, per lane.

    In images neighbouring threads are neighbours along x, so that entries side by side are gathered together; in space
    they are so for a third of their way.
    """
    along_x = np.where(dims == 2.0, 1.0, 1.0 / AXES_OF_SPACE)
    apart = np.where(spacing > 0.0, per_cell * (along_x / entries + 1.0 - along_x), 1.0)
    return np.minimum(warp, 1.0 + (warp - 1.0) * apart) / warp


def fused_mlp_demands(op: FusedMlp, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The whole network as one kernel."""
    queries, inputs, width = column(op.queries), column(op.inputs), column(op.width)
    layers, outputs, weights = column(op.layers), column(op.padded_outputs), column(op.weights)
    element = bytes_of(op.dtype)
    ctas = ceil_div(queries, MLP_ROWS)
    warps = np.maximum(width / MLP_NEURONS_PER_WARP, 1.0)
    inner = inputs + (layers - 1.0) * width
    activations = warps * inner + layers * width  # read by every warp, written once
    read, write = inputs * element, outputs * element
    warm = warm_share(queries * read, conditions.cache.activation_copies, queries * write, gpu)
    steps = inner / MMA_DEPTH
    barriers = layers * (2.0 * gpu.library.barrier_cycles + gpu.sm.latency.l1_cycles + gpu.sm.latency.shared_cycles)
    hit = gpu.l2.mean_latency_cycles
    on_tensor = op.dtype in gpu.sm.tensor_ops_per_clk
    operations = 2.0 * MLP_ROWS * weights
    return (
        KernelDemand(
            kernel="mlp_fused",
            grid=Grid(
                ctas=ctas,
                warps_per_cta=warps + 0.0 * ctas,
                registers_per_thread=constant(MLP_REGISTERS),
                shared_bytes_per_cta=MLP_ROWS * (width + MLP_ROW_PADDING) * element,
            ),
            work=Work(
                tensor_dtype=op.dtype,
                tensor_ops=operations if on_tensor else constant(0.0),
                fma_ops=constant(0.0) if on_tensor else operations,
                shared_bytes=(MLP_ROWS * activations + weights) * element,
                l2_read_bytes=MLP_ROWS * read + 0.0 * ctas,
                l2_write_bytes=MLP_ROWS * write,
                dram_read_bytes=MLP_ROWS * read * (1.0 - warm) * queries / (ctas * MLP_ROWS),
                dram_write_bytes=MLP_ROWS * write * written_back_share(queries * (read + write), gpu),
                epilogue_bytes=MLP_ROWS * write,
            ),
            latency=Latency(
                bytes_in_flight=MLP_ROWS * read,
                chain_cycles=barriers + steps * gpu.sm.latency.tensor_cycles,
                exposed_cycles=constant(hit),
                setup_cycles=constant(hit),
            ),
        ),
    )


def ray_kernel_demands(op: RayKernel, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One thread a ray: structures are read whole, each load waits for L1 where one depends on another."""
    rays, read, write = column(op.rays), column(op.read_bytes), column(op.write_bytes)
    ctas = ceil_div(rays, RAY_THREADS)
    threads = rays / ctas
    warm = warm_share(rays * read, conditions.cache.activation_copies, rays * write, gpu)
    hit = gpu.l2.mean_latency_cycles
    return (
        KernelDemand(
            kernel=op.function,
            grid=Grid(
                ctas=ctas,
                warps_per_cta=constant(RAY_THREADS / gpu.sm.warp_size),
                registers_per_thread=constant(RAY_REGISTERS),
                shared_bytes_per_cta=constant(0.0),
            ),
            work=Work(
                fma_ops=threads * column(op.instructions) * OPS_PER_INSTRUCTION,
                l2_read_bytes=threads * read,
                l2_write_bytes=threads * write,
                dram_read_bytes=threads * read * (1.0 - warm),
                dram_write_bytes=threads * write * written_back_share(rays * (read + write), gpu),
            ),
            latency=Latency(
                bytes_in_flight=threads * read,
                chain_cycles=column(op.dependent_loads) * gpu.sm.latency.l1_cycles,
                exposed_cycles=constant(hit),
                setup_cycles=constant(hit),
            ),
        ),
    )


def host_read_demands(op: HostRead, gpu: Gpu, conditions: Conditions) -> tuple[LinkDemand, ...]:  # noqa: ARG001
    """A copy over PCIe that the host waits for, and its answer."""
    size = column(op.output_bytes)[:, 0]
    return (LinkDemand(kernel=op.op, link="pcie", bytes=size, steps=HOST_STEPS + 0.0 * size),)
