"""The implicit GEMM → kernel demands: m = batch positions, n = cout / groups, k = taps cin / groups, one a group.

Chetlur et al., cuDNN, arXiv 1410.0759, section 3: A is gathered from the image as the kernel goes, and no matrix of
patches is ever in memory, so DRAM and L2 deliver the image and the filters; the multiplications are all there.

On tensor cores it is the library's GEMM with that traffic: same tiles, splits of k, pipeline and efficiency. It walks
tap by tap through the channels in steps of its main loop (NVIDIA CUTLASS, implicit_gemm_convolution.md and
conv2d_problem_size.h: R S ceil(C / kK) steps), so few channels leave most of each step empty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.conv.transforms import with_simt_tiles
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.sim.mapping.matmul.operands import VECTOR_BYTES
from simexplore.sim.mapping.matmul.tiles import SIMT_K_STEP, tiles_of
from simexplore.sim.mapping.traffic import passes, warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Conv, Gemm


def vector_channels(op: Conv) -> FloatArray:
    """Channels of a group as tensor-core kernels fetch them: filled up to vectors of 16 bytes; (rows, 1)."""
    return _in_vectors(column(op.cin) / column(op.groups), op)


def _in_vectors(channels: FloatArray, op: Conv) -> FloatArray:
    vector = VECTOR_BYTES / bytes_of(op.dtype)
    return ceil_div(channels, vector) * vector


def on_tensor_cores(op: Conv, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """The kernel on tensor cores, with all tiles and splits of k as candidates."""
    element, groups, taps = bytes_of(op.dtype), column(op.groups), column(op.taps)
    step = gpu.library.gemm.pipeline.k_tile_bytes / element
    channels = vector_channels(op)
    depth = taps * ceil_div(channels, step) * step
    n = _in_vectors(column(op.cout) / groups, op)
    m = column(op.batch) * column(op.positions)
    gemm = Gemm(
        m=_whole(m), n=_whole(n), k=_whole(depth), batch=_whole(groups), dtype=op.dtype, accumulate=op.accumulate
    )
    (demand,) = gemm_demands(gemm, gpu, conditions)
    assert demand.choice.label is not None
    high, wide, _ = demand.choice.label
    rows, columns, ctas = ceil_div(m, high), ceil_div(n, wide), demand.grid.ctas
    gathered = patch_voxels(op, m / rows) * channels + n / columns * channels * taps
    multiplied = (m / rows + n / columns) * depth
    traffic = _dram_bytes(op, gpu, conditions.cache, rows, columns)
    operations = demand.work.tensor_ops
    choice = replace(demand.choice, reckoned_read_bytes=traffic.unread / ctas)
    return replace(demand, kernel="implicit_gemm", choice=choice).but(
        work={
            "padding_ops": np.maximum(operations - column(op.flops) / ctas, 0.0),
            "l2_read_bytes": demand.work.l2_read_bytes * gathered / multiplied,
            "dram_read_bytes": traffic.read / ctas,
            "dram_write_bytes": traffic.write / ctas,
        },
    )


def _whole(amount: FloatArray) -> NDArray[np.int64]:
    """A column of counts as an operator has it, shape (rows,)."""
    return amount[:, 0].astype(np.int64)


def on_fma_pipes(op: Conv, gpu: Gpu, state: CacheState) -> KernelDemand:
    """The kernel on the FMA pipes, k filled up to the step of the main loop."""
    conv, library = gpu.conv_kernels, gpu.library.gemm
    element, groups = bytes_of(op.dtype), column(op.groups)
    m, n = column(op.batch) * column(op.positions), column(op.cout) / groups
    cin = column(op.cin) / groups
    k = cin * column(op.taps)
    tiles = tiles_of(m, n, op.dtype, with_simt_tiles(gpu, *conv.implicit.simt_tiles))
    rows, columns = ceil_div(m, tiles.m), ceil_div(n, tiles.n)
    steps = ceil_div(k, SIMT_K_STEP)
    ctas = groups * rows * columns
    result = m * n * groups * element / ctas
    traffic = _dram_bytes(op, gpu, state, rows, columns)
    hit = gpu.l2.mean_latency_cycles
    return KernelDemand(
        kernel="implicit_gemm",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=tiles.warps,
            registers_per_thread=tiles.registers,
            shared_bytes_per_cta=tiles.stages * tiles.stage_bytes,
        ),
        work=Work(
            tensor_dtype=op.dtype,
            fma_dtype=op.dtype,
            fma_ops=2.0 * tiles.computed * steps * SIMT_K_STEP / conv.implicit.efficiency,
            shared_bytes=tiles.shared_bytes_per_k * steps * SIMT_K_STEP,
            l2_read_bytes=patch_voxels(op, m / rows) * cin * element + n / columns * k * element,
            l2_write_bytes=result,
            dram_read_bytes=traffic.read / ctas,
            dram_write_bytes=traffic.write / ctas,
            epilogue_bytes=result,
        ),
        latency=Latency(
            bytes_in_flight=(tiles.stages - 1.0) * tiles.stage_bytes,
            chain_cycles=k / (library.pipeline.k_tile_bytes / element) * tiles.chain_cycles,
            exposed_cycles=constant(hit + gpu.library.barrier_cycles),
            setup_cycles=constant(library.setup_round_trips * hit),
        ),
        overlap=Overlap(
            within_sm=library.simt.overlap_exponent,
            wave_exposure=library.wave_exposure,
        ),
        choice=Choice(
            label=(tiles.m, tiles.n),
        ),
    )


def patch_voxels(op: Conv, outputs: FloatArray) -> FloatArray:
    """Voxels of the image under `outputs` neighbouring results: along each axis theirs, with the filter's overhang.

    Never more than the images that the results lie in, nor than one patch for each of them.
    """
    layers, rows, cols = (column(size) for size in op.out)
    strides = [column(stride) for stride in op.strides]
    reaches = [column(reach) for reach in op.reaches]
    of_rows = np.maximum(outputs / cols, 1.0)
    whole = layers > 1.0  # then rows are those of a layer, and layers follow one another
    covered = _reach(np.minimum(outputs, cols), strides[2], reaches[2])
    covered = covered * _reach(np.where(whole, np.minimum(of_rows, rows), of_rows), strides[1], reaches[1])
    of_layers = np.maximum(outputs / (cols * rows), 1.0)
    covered = covered * np.where(whole, _reach(of_layers, strides[0], reaches[0]), reaches[0])
    voxels = column(op.depth) * column(op.height) * column(op.width)
    images = np.ceil(outputs / (layers * rows * cols))
    return np.minimum(np.minimum(covered, images * voxels), outputs * column(op.taps))


def _reach(positions: FloatArray, stride: FloatArray, taps: FloatArray) -> FloatArray:
    """Voxels along an axis under so many positions of the filter."""
    return positions * stride + np.maximum(taps - stride, 0.0)


class _Traffic(NamedTuple):
    """DRAM bytes in all: read, written, and not read because L2 has them."""

    read: FloatArray
    write: FloatArray
    unread: FloatArray


def _dram_bytes(op: Conv, gpu: Gpu, state: CacheState, rows: FloatArray, columns: FloatArray) -> _Traffic:
    """Image and filters where L2 doesn't hold them, one of them again for further passes.

    CTAs that run at once share what they read, so the filters are passed over once for each wave of pixels, or the
    image once for each wave of channels, whichever is cheaper.
    """
    image, filters, result = (column(x) for x in (op.image_bytes, op.filter_bytes, op.output_bytes))
    missing = 1.0 - cache.hit_share(image + filters, gpu)
    at_once = np.maximum(gpu.sm.count, 1.0)  # tiles are large: one CTA an SM
    filters_again = filters * (passes(rows, columns, at_once) - 1.0)
    image_again = image * (passes(columns, rows, at_once) - 1.0)
    warm_image = warm_share(image, state.activation_copies, filters + result, gpu)
    warm_filters = warm_share(filters, state.weight_copies, image + result, gpu)
    read = image * (1.0 - warm_image) + filters * (1.0 - warm_filters)
    read = read + np.minimum(filters_again, image_again) * missing
    write = result * written_back_share(image + filters + result, gpu)
    return _Traffic(read, write, image * warm_image + filters * warm_filters)
