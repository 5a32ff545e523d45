"""The textbook's tiled matrix multiplication → one kernel demand.

A CTA of tile x tile threads walks over k in steps of `tile`: every thread loads one element of A and one of B into
shared memory, a barrier, `tile` products of two loads each, a barrier (CUDA C++ Programming Guide, section on shared
memory). The compiler knows no tile size, so addresses and the loop cost instructions. Nothing is prefetched: loads,
products and barriers of a CTA take turns, and only other CTAs fill in. Shared memory and L1 are one unit, which serves
a warp one line of memory, or its 32 words of shared memory, at a time: narrow tiles have a line for each row.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.traffic import passes, warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import NaiveTiledGemm

LARGEST_TILE = 32.0
"""A CTA has at most 32 x 32 threads (CUDA C++ Programming Guide, technical specifications)."""
INSTRUCTIONS_OF_PRODUCT = 10.0
"""Issue slots of one product: two loads, multiply-add, their addresses, counter, compare, branch."""
INSTRUCTIONS_OF_STEP = 10.0
"""Issue slots of one step beside its products: two loads, two stores, two barriers, their addresses."""
TURNS = 1.35
"""Exponent of the overlap within a CTA: little. This and the two counts are those that fit 30 of the 60 large runs of
GPPerf best (`sim/studies/gpperf.py`, seed 0), rounded."""
REGISTERS = 40.0


def naive_gemm_demand(op: NaiveTiledGemm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The kernel. Raises SimexploreError for tiles of more threads than a CTA has, and types without an FMA rate."""
    sm, element = gpu.sm, bytes_of(op.dtype)
    m, n, k, tile = (column(x) for x in (op.m, op.n, op.k, op.tile))
    if np.any(tile > LARGEST_TILE):
        raise SimexploreError(
            f"{op.op}: tile: expected at most 32, a CTA has at most 1024 threads, found {np.max(op.tile)}"
        )
    if op.dtype not in sm.fma_ops_per_clk:
        known = ", ".join(sorted(sm.fma_ops_per_clk))
        raise SimexploreError(f"{gpu.name} multiplies no {op.dtype} on its FMA pipes; it has rates for {known}")
    rows, columns, steps = ceil_div(m, tile), ceil_div(n, tile), ceil_div(k, tile)
    ctas, warps = rows * columns, ceil_div(tile**2, float(sm.warp_size))
    products = steps * tile
    slots = warps * (products * INSTRUCTIONS_OF_PRODUCT + steps * INSTRUCTIONS_OF_STEP)
    row_bytes = np.maximum(tile * element, gpu.l2.sector_bytes)
    lines = np.minimum(tile, np.maximum(sm.warp_size / tile, 1.0))
    turns = 2.0 * (products + steps) + 2.0 * steps * lines
    loaded = 2.0 * steps * tile * row_bytes
    read, write = _dram_bytes(op, gpu, conditions, rows, columns)
    hit = gpu.l2.mean_latency_cycles
    return (
        KernelDemand(
            kernel=op.op,
            grid=Grid(
                ctas=ctas,
                warps_per_cta=warps,
                registers_per_thread=constant(REGISTERS),
                shared_bytes_per_cta=2.0 * tile**2 * element,
            ),
            work=Work(
                fma_dtype=op.dtype,
                fma_ops=slots * 2.0 * sm.warp_size,
                shared_bytes=warps * turns * sm.shared_bandwidth_bytes_per_clk,
                l2_read_bytes=loaded,
                l2_write_bytes=tile * row_bytes,
                dram_read_bytes=read / ctas,
                dram_write_bytes=write / ctas,
                epilogue_bytes=tile * row_bytes,
            ),
            latency=Latency(
                bytes_in_flight=2.0 * tile * row_bytes,
                chain_cycles=steps * _waiting_cycles(op, gpu)
                + steps * 2.0 * (gpu.library.barrier_cycles + sm.latency.shared_cycles)
                + products * sm.latency.fma_cycles,
                setup_cycles=constant(hit),
            ),
            overlap=Overlap(
                within_sm=TURNS,
            ),
            choice=Choice(
                label=(tile,),
            ),
        ),
    )


def _waiting_cycles(op: NaiveTiledGemm, gpu: Gpu) -> FloatArray:
    """Latency of a step beyond that of L2 [clk]: neighbouring CTAs walk in step and wait for the same lines of B, so
    where B is too large for L2 all of them wait for DRAM, though few of their bytes come from there."""
    b = column(op.k) * column(op.n) * bytes_of(op.dtype)
    return (1.0 - cache.hit_share(b, gpu)) * (gpu.dram_latency_cycles - gpu.l2.mean_latency_cycles)


def _dram_bytes(
    op: NaiveTiledGemm, gpu: Gpu, conditions: Conditions, rows: FloatArray, columns: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """DRAM bytes read and written. CTAs start row by row: each row of them passes over the whole of B.

    Rows that run at once share a pass; B is read again from DRAM as far as L2 does not hold it.
    """
    element = bytes_of(op.dtype)
    m, n, k, tile = (column(x) for x in (op.m, op.n, op.k, op.tile))
    a, b, c = m * k * element, k * n * element, m * n * element
    warps = ceil_div(tile**2, float(gpu.sm.warp_size))
    at_once = gpu.sm.count * np.maximum(np.minimum(np.floor(gpu.sm.max_warps / warps), gpu.sm.max_ctas), 1.0)
    cold = 1.0 - warm_share(a + b, conditions.cache.activation_copies, c, gpu)
    again = b * (passes(rows, columns, at_once) - 1.0) * (1.0 - cache.hit_share(b, gpu))
    return (a + b) * cold + again, c * written_back_share(a + b + c, gpu)
