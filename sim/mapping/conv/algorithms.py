"""Convolution → kernel demands: the library's algorithms, each as its kernels in order.

The implicit GEMM runs for every shape and type. On the FMA pipes cuDNN also has Winograd's minimal filtering and
Fourier transforms (`conv_transforms`). Which algorithm is the fastest is for the estimate to find, row by row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import ceil_div, column, constant
from simexplore.sim.mapping.conv.transforms import fft, fused_winograd, winograd, with_simt_tiles
from simexplore.sim.mapping.matmul.tiles import tiles_of
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Conv2d

SIMT_K_STEP = 8.0
"""Elements of k of one step of the main loop on the FMA pipes (CUTLASS, SIMT configurations: 8)."""


def conv_algorithms(op: Conv2d, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """Every algorithm that the library has for the operator's type; rows that one can't serve never pick it.

    Raises SimexploreError where the GPU has no unit for the type.
    """
    op = _as_columns(op)
    algorithms: tuple[Algorithm, ...] = (Algorithm((implicit_gemm(op, gpu, conditions.cache),), ANY_ROW),)
    if op.dtype not in gpu.sm.tensor_ops_per_clk:
        algorithms += (
            fused_winograd(op, gpu, conditions),
            winograd(op, gpu, conditions),
            fft(op, gpu, conditions, points=16),
            fft(op, gpu, conditions, points=32),
        )
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
    conv, library = gpu.library.conv, gpu.library.gemm
    element = bytes_of(op.dtype)
    m, n, k = (column(x) for x in (op.batch * op.out**2, op.cout, op.cin * op.ksize**2))
    tiles = tiles_of(m, n, op.dtype, with_simt_tiles(gpu, *conv.simt_tiles))
    rows, columns = ceil_div(m, tiles.m), ceil_div(n, tiles.n)
    k_step = library.k_tile_bytes / element if tiles.on_tensor_cores else SIMT_K_STEP
    steps = ceil_div(k, k_step)
    ctas = rows * columns
    result = m * n * bytes_of(op.dtype) / ctas
    operations = 2.0 * tiles.computed * steps * k_step
    on_tensor_cores, nothing = tiles.on_tensor_cores, constant(0.0)
    read, write = _dram_bytes(op, gpu, state, rows, columns)
    hit = cache.mean_latency_cycles(gpu)
    fetched = _patch_pixels(op, m / rows) * column(op.cin) * element + n / columns * k * element
    return KernelDemand(
        kernel="implicit_gemm",
        ctas=ctas,
        warps_per_cta=tiles.warps,
        registers_per_thread=tiles.registers,
        shared_bytes_per_cta=tiles.stages * tiles.stage_bytes,
        overlap_exponent=None if tiles.on_tensor_cores else library.simt_overlap_exponent,
        tensor_dtype=op.dtype,
        fma_dtype="fp32" if on_tensor_cores else op.dtype,
        tensor_ops=operations if on_tensor_cores else nothing,
        fma_ops=nothing if on_tensor_cores else operations / conv.implicit_efficiency,
        shared_bytes=tiles.shared_bytes_per_k * steps * k_step,
        l2_read_bytes=fetched,
        l2_write_bytes=result,
        dram_read_bytes=read / ctas,
        dram_write_bytes=write / ctas,
        bytes_in_flight=(tiles.stages - 1.0) * tiles.stage_bytes,
        chain_cycles=k / (library.k_tile_bytes / element) * tiles.chain_cycles,
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        epilogue_bytes=result,
        wave_exposure=library.wave_exposure,
        setup_cycles=constant(library.setup_round_trips * hit),
        label=(tiles.m, tiles.n),
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
    at_once = np.maximum(gpu.sm.count, 1.0)
    filters_again = filters * np.maximum(rows / np.maximum(at_once / columns, 1.0) - 1.0, 0.0)
    image_again = image * np.maximum(columns / np.maximum(at_once / rows, 1.0) - 1.0, 0.0)
    activations, weights = (np.minimum(column(x), 1e9) for x in (state.activation_copies, state.weight_copies))
    cold_image = 1.0 - cache.hit_share(activations * image + filters + result, gpu)
    cold_filters = 1.0 - cache.hit_share(weights * filters + image + result, gpu)
    read = image * cold_image + filters * cold_filters + np.minimum(filters_again, image_again) * missing
    return read, result * (1.0 - cache.hit_share(image + filters + result, gpu))
