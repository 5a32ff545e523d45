"""Convolution → kernel demands: the library's algorithms, each as its kernels in order.

The implicit GEMM runs for every shape and type. On the FMA pipes cuDNN also has Winograd's minimal filtering and
Fourier transforms (`conv_transforms`). Which algorithm is the fastest is for the estimate to find, row by row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware import cache
from simexplore.sim.libraries import conv_rules
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.conv.transforms import fft, fused_winograd, winograd, with_simt_tiles
from simexplore.sim.mapping.matmul.tiles import SIMT_K_STEP, tiles_of
from simexplore.sim.mapping.traffic import passes, warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Conv2d


def conv_algorithms(op: Conv2d, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """Every algorithm that the library has for the operator's type; rows that one can't serve never pick it.

    Raises SimexploreError where the GPU has no unit for the type.
    """
    op = _as_columns(op)
    algorithms: tuple[Algorithm, ...] = (Algorithm((implicit_gemm(op, gpu, conditions.cache),), ANY_ROW),)
    if conv_rules(gpu).transforms(op, gpu):
        algorithms += (fused_winograd(op, gpu, conditions), winograd(op, gpu, conditions))
        algorithms += tuple(fft(op, gpu, conditions, points) for points in conv_rules(gpu).FFT_POINTS)
    return algorithms


def _as_columns(op: Conv2d) -> Conv2d:
    """All counts as columns of one length, so that the kernels of an algorithm have as many rows as each other."""
    counts = (op.batch, op.cin, op.cout, op.ksize, op.hw, op.stride, op.pad)
    batch, cin, cout, ksize, hw, stride, pad = np.broadcast_arrays(*(np.atleast_1d(count) for count in counts))
    return replace(op, batch=batch, cin=cin, cout=cout, ksize=ksize, hw=hw, stride=stride, pad=pad)


def implicit_gemm(op: Conv2d, gpu: Gpu, state: CacheState) -> KernelDemand:
    """The GEMM of m = batch out**2 pixels, n = cout, k = cin ksize**2 whose A is gathered from the image as it goes.

    Chetlur et al., cuDNN, arXiv 1410.0759, section 3: no matrix of patches is ever in memory, so DRAM and L2 deliver
    the image and the filters; the multiplications are all there, with k filled up to the step of the main loop.
    """
    conv, library = gpu.conv_kernels, gpu.library.gemm
    element = bytes_of(op.dtype)
    batch, out, n, cin, ksize = (column(x) for x in (op.batch, op.out, op.cout, op.cin, op.ksize))
    m, k = batch * out**2, cin * ksize**2
    tiles = tiles_of(m, n, op.dtype, with_simt_tiles(gpu, *conv.implicit.simt_tiles))
    rows, columns = ceil_div(m, tiles.m), ceil_div(n, tiles.n)
    k_step = library.pipeline.k_tile_bytes / element if tiles.on_tensor_cores else SIMT_K_STEP
    steps = ceil_div(k, k_step)
    ctas = rows * columns
    result = m * n * bytes_of(op.dtype) / ctas
    operations = 2.0 * tiles.computed * steps * k_step
    on_tensor_cores, nothing = tiles.on_tensor_cores, constant(0.0)
    read, write = _dram_bytes(op, gpu, state, rows, columns)
    hit = gpu.l2.mean_latency_cycles
    fetched = _patch_pixels(op, m / rows) * column(op.cin) * element + n / columns * k * element
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
            fma_dtype="fp32" if on_tensor_cores else op.dtype,
            tensor_ops=operations if on_tensor_cores else nothing,
            fma_ops=nothing if on_tensor_cores else operations / conv.implicit.efficiency,
            shared_bytes=tiles.shared_bytes_per_k * steps * k_step,
            l2_read_bytes=fetched,
            l2_write_bytes=result,
            dram_read_bytes=read / ctas,
            dram_write_bytes=write / ctas,
            epilogue_bytes=result,
        ),
        latency=Latency(
            bytes_in_flight=(tiles.stages - 1.0) * tiles.stage_bytes,
            chain_cycles=k / (library.pipeline.k_tile_bytes / element) * tiles.chain_cycles,
            exposed_cycles=constant(hit + gpu.library.barrier_cycles),
            setup_cycles=constant(library.setup_round_trips * hit),
        ),
        overlap=Overlap(
            within_sm=None if tiles.on_tensor_cores else library.simt.overlap_exponent,
            wave_exposure=library.wave_exposure,
        ),
        choice=Choice(
            label=(tiles.m, tiles.n),
        ),
    )


def _patch_pixels(op: Conv2d, outputs: FloatArray) -> FloatArray:
    """Pixels of the image under `outputs` neighbouring results: their rows and columns with the filter's overhang.

    Never more than the images that the results lie in, nor than one patch for each of them.
    """
    out, stride, ksize, hw = (column(x) for x in (op.out, op.stride, op.ksize, op.hw))
    overhang = np.maximum(ksize - stride, 0.0)
    covered = (np.maximum(outputs / out, 1.0) * stride + overhang) * (np.minimum(outputs, out) * stride + overhang)
    return np.minimum(np.minimum(covered, np.ceil(outputs / out**2) * hw**2), outputs * ksize**2)


def _dram_bytes(
    op: Conv2d, gpu: Gpu, state: CacheState, rows: FloatArray, columns: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """DRAM bytes read and written: image and filters where L2 doesn't hold them, one of them again for further passes.

    CTAs that run at once share what they read, so the filters are passed over once for each wave of pixels, or the
    image once for each wave of channels, whichever is cheaper.
    """
    image, filters, result = (column(x) for x in (op.image_bytes, op.filter_bytes, op.output_bytes))
    missing = 1.0 - cache.hit_share(image + filters, gpu)
    at_once = np.maximum(gpu.sm.count, 1.0)  # tiles are large: one CTA an SM
    filters_again = filters * (passes(rows, columns, at_once) - 1.0)
    image_again = image * (passes(columns, rows, at_once) - 1.0)
    cold_image = 1.0 - warm_share(image, state.activation_copies, filters + result, gpu)
    cold_filters = 1.0 - warm_share(filters, state.weight_copies, image + result, gpu)
    read = image * cold_image + filters * cold_filters + np.minimum(filters_again, image_again) * missing
    return read, result * written_back_share(image + filters + result, gpu)
