"""GEMM → kernel demands: every kernel of the library's menu as a candidate.

A CTA computes a tile of C over its share of k, in steps of `k_tile_bytes` that a pipeline of stages fetches into
shared memory. Split-K CTAs add their partial sums afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import ShapeRange
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import Pairs, ceil_div, column, constant, row
from simexplore.sim.mapping.matmul import operands
from simexplore.sim.mapping.matmul.tiles import Tiles, tiles_of
from simexplore.sim.mapping.rowwise import dynamic_quantize_demands
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Conv2d, Gemm, Quantize

MODEST_TILE = 128.0 * 128.0
"""Elements of C in the largest tile of which two fit an SM's registers."""
PARTIAL_SUM_BYTES = 4.0
"""Split-K partial sums are FP32."""


def gemm_demands(op: Gemm, gpu: Gpu, conditions: Conditions, *, two_stage: bool = False) -> tuple[KernelDemand, ...]:
    """Kernels of a GEMM: the quantisation of its activations, if any, and the GEMM with all its candidates.

    `two_stage`: the candidates are the library's older kernels, which fetch one k-step ahead and no more.
    Raises SimexploreError where the GPU has no unit for the operator's type.
    """
    kernels: tuple[KernelDemand, ...] = ()
    if op.activation_dtype is not None and op.activation_dtype != op.dtype:
        quantize = Quantize(rows=op.batch * op.m, cols=op.k, dtype=op.dtype, input_dtype=op.activation_dtype)
        kernels = dynamic_quantize_demands(quantize, gpu, conditions)
    return (*kernels, _gemm_kernel(op, gpu, conditions, two_stage))


def gemm_candidates(op: Gemm | Conv2d, gpu: Gpu) -> int:
    """How many kernels the menu has for a row: tiles, both ways round for wgmma, times splits of k."""
    library = gpu.library.gemm
    if op.dtype not in gpu.sm.tensor_ops_per_clk:
        return len(library.simt_tiles) * len(library.split_k)
    return len(library.tiles) * len(library.split_k) * (1 if library.instruction == "mma_sync" else 2)


def takes_two_stages(op: Gemm, gpu: Gpu) -> NDArray[np.bool_]:
    """Rows for which the library takes its two-stage kernels (`library.gemm.two_stage`); shape (rows,) or (1,)."""
    return _within(gpu.library.gemm.two_stage if op.dtype in gpu.sm.tensor_ops_per_clk else (), op)


def _within(ranges: tuple[ShapeRange, ...], op: Gemm) -> NDArray[np.bool_]:
    """Rows whose sizes are in one of the ranges; shape (rows,) or (1,)."""
    m, n, k = (column(x)[:, 0] for x in (op.m, op.n, op.k))
    sizes = {"m": m, "n": n, "k": k, "mnk": m * n * k}
    found = np.zeros(np.broadcast_shapes(m.shape, n.shape, k.shape), dtype=np.bool_)
    for shapes in ranges:
        inside = [(sizes[name] >= least) & (sizes[name] <= most) for name, (least, most) in shapes.limits]
        found = found | np.all(np.broadcast_arrays(*inside), axis=0)
    return found


def _gemm_kernel(op: Gemm, gpu: Gpu, conditions: Conditions, two_stage: bool) -> KernelDemand:
    """Candidates are pairs of a tile and a split of k: what follows from one of the two is computed once for each."""
    m, n, k, batch = (column(x) for x in (op.m, op.n, op.k, op.batch))
    library, tiles = gpu.library.gemm, tiles_of(m, n, op.dtype, gpu)
    element, hit = bytes_of(op.dtype), cache.mean_latency_cycles(gpu)
    within = None if tiles.on_tensor_cores else library.simt_overlap_exponent
    round_trips = library.setup_round_trips
    if two_stage:
        tiles = replace(tiles, stages=constant(2.0))
        within, round_trips = library.two_stage_overlap_exponent, library.two_stage_round_trips
    rows, columns = ceil_div(m, tiles.m), ceil_div(n, tiles.n)
    of_k = _splits(op, gpu)
    pairs = Pairs(np.broadcast_shapes(tiles.m.shape, tiles.n.shape)[1], of_k.splits.shape[1])
    tile, split = pairs.of_first, pairs.of_second
    splits, steps, result_bytes = split(of_k.splits), split(of_k.steps), split(of_k.result_bytes)
    ctas = tile(batch * rows * columns) * splits
    room = tiles.stages * tiles.stage_bytes
    if library.instruction == "mma_sync":
        room = np.where(tiles.suit(m, n), room, np.inf)
    if library.modest_tiles:
        modest = _within(library.modest_tiles, op)[:, None]
        room = np.where(modest & (tiles.m * tiles.n > MODEST_TILE), np.inf, room)
    results = tile(m * n / (rows * columns))
    traffic = operands.dram_traffic(op, gpu, conditions.cache, (rows, columns), (tiles.m, tiles.n), of_k.splits, pairs)
    width = _fetched_width(tiles, (m / rows, n / columns), (rows, columns), gpu)
    k_of_step = library.k_tile_bytes / element
    operations = tile(2.0 * tiles.computed * k_of_step) * steps
    nothing = constant(0.0)
    return KernelDemand(
        kernel="gemm",
        ctas=ctas,
        warps_per_cta=tile(tiles.warps),
        registers_per_thread=tile(tiles.registers),
        shared_bytes_per_cta=tile(room) * split(np.where(of_k.even, 1.0, np.inf)),
        overlap_exponent=within,
        machine_overlap_exponent=library.overlap_exponent if tiles.on_tensor_cores else None,
        dram_overlap_exponent=library.dram_overlap_exponent if tiles.on_tensor_cores else None,
        tensor_dtype=op.dtype,
        fma_dtype="fp32" if tiles.on_tensor_cores else op.dtype,
        tensor_ops=operations if tiles.on_tensor_cores else nothing,
        fma_ops=nothing if tiles.on_tensor_cores else operations,
        shared_bytes=tile(tiles.shared_bytes_per_k * k_of_step) * steps,
        l2_read_bytes=tile(width) * split(k / of_k.splits * element),
        l2_write_bytes=results * split(of_k.result_bytes + _of_splits(of_k, 2.0 * PARTIAL_SUM_BYTES)),
        dram_read_bytes=traffic.read / ctas,
        dram_write_bytes=traffic.write / ctas,
        bytes_in_flight=tile(library.flight_share * (tiles.stages - 1.0) * tiles.stage_bytes),
        chain_cycles=tile(tiles.chain_cycles) * steps,
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        epilogue_bytes=results * result_bytes,
        tensor_efficiency=library.tensor_efficiency,
        l2_rate=library.l2_rate,
        dram_rate=library.dram_rate,
        helper_cycles=library.reduction_round_trips * hit,
        epilogue_efficiency=library.epilogue_efficiency,
        wave_exposure=library.wave_exposure,
        ramp_cycles=library.cold_round_trips * gpu.dram.latency_cycles,
        setup_cycles=constant(round_trips * hit),
        extra_launches=split(_of_splits(of_k, float(library.split_k_reduction == "kernel"))),
        reckoned_read_bytes=traffic.unread / ctas,
        reckoned_cycles=split(_of_splits(of_k, library.split_reluctance_cycles)),
        reckoned_latency_share=library.reckoned_latency_share,
        label=(tile(tiles.m), tile(tiles.n), splits),
    )


class _Splits(NamedTuple):
    """The ways in which k can be split among CTAs; arrays (rows, splits)."""

    splits: FloatArray
    steps: FloatArray
    """Steps of a CTA's main loop."""
    even: NDArray[np.bool_]
    """Whether it is one to consider: others repeat a smaller split and get no room."""
    result_bytes: FloatArray
    """Of an element of C, or of a partial sum."""


def _splits(op: Gemm, gpu: Gpu) -> _Splits:
    library = gpu.library.gemm
    m, n, k = (column(x) for x in (op.m, op.n, op.k))
    menu = row([float(split) for split in library.split_k])
    steps_of_k = ceil_div(k * bytes_of(op.dtype), library.k_tile_bytes)
    steps = ceil_div(steps_of_k, menu)
    splits = ceil_div(steps_of_k, steps)
    even = (splits == np.minimum(menu, steps_of_k)) & ((splits == 1.0) | _worth_splitting(m * n * k, k, gpu))
    return _Splits(splits, steps, even, np.where(splits > 1.0, PARTIAL_SUM_BYTES, bytes_of(op.output_dtype)))


def _of_splits(of_k: _Splits, value: float | FloatArray) -> FloatArray:
    """What splitting costs, and nothing where k is not split."""
    return np.where(of_k.splits > 1.0, value, 0.0)


def _worth_splitting(products: FloatArray, depth: FloatArray, gpu: Gpu) -> NDArray[np.bool_]:
    """Whether the library considers splitting k at all: for enough products m n k, or for any with a k so deep."""
    library = gpu.library.gemm
    worth: NDArray[np.bool_] = (products >= library.split_min_products) | (depth >= library.split_always_depth)
    return worth


def _fetched_width(
    tiles: Tiles, covered: tuple[FloatArray, FloatArray], grid: tuple[FloatArray, FloatArray], gpu: Gpu
) -> FloatArray:
    """Rows of A and columns of B that a CTA draws from L2: those that exist, the longer side shared in a cluster.

    `covered` are the rows and columns of C that a tile has on average; what lies outside C is not fetched.
    """
    cluster = float(gpu.library.gemm.multicast)
    high, wide = covered
    share_b = np.where((tiles.n >= tiles.m) & (grid[0] >= cluster), cluster, 1.0)
    share_a = np.where((tiles.n < tiles.m) & (grid[1] >= cluster), cluster, 1.0)
    return high / share_a + wide / share_b
