"""Convolutions that multiply less: Winograd's minimal filtering and Fourier transforms, on the FMA pipes.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308: F(m x m, 3 x 3) computes a patch of
m**2 outputs from (m + 2)**2 products for each pair of channels; the products of all patches are (m + 2)**2 GEMMs.
Mathieu, Henaff and LeCun, arXiv 1312.5851, for the Fourier transforms. cuDNN has the transforms as kernels of their
own (`WINOGRAD_NONFUSED`, with m = 4; `FFT`, `FFT_TILING`), and F(2 x 2, 3 x 3) in one kernel with them (`WINOGRAD`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.library import Tile
from simexplore.archs.schema import Gpu
from simexplore.sim.demand import WARM, Algorithm, Conditions, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import ceil_div, column, constant, row
from simexplore.sim.mapping.gemm import gemm_demands
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Conv2d, Gemm

TAPS = 3.0
"""Rows and columns of the filters that cuDNN's Winograd kernels take."""
FUSED_OUTPUTS = 2.0
"""m of the fused kernel, F(2 x 2, 3 x 3)."""
SEPARATE_OUTPUTS = 4.0
"""m of the kernels with separate transforms, F(4 x 4, 3 x 3)."""
CHANNELS_OF_STEP = 8.0
"""Input channels of one step of the fused kernel's main loop."""
COMPLEX_PARTS = 2
"""A complex product is a real one of matrices twice as deep and twice as wide."""


def with_simt_tiles(gpu: Gpu, *tiles: Tile) -> Gpu:
    """The GPU with these tiles as its library's only kernels on the FMA pipes, k not split."""
    gemm = gpu.library.gemm.model_copy(update={"simt_tiles": tiles, "split_k": (1,)})
    return gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})


def winograd(op: Conv2d, gpu: Gpu, conditions: Conditions) -> Algorithm:
    """Transforms of filters and image, 36 products for each pair of channels and patch, and the transform back."""
    conv = gpu.library.conv
    points = (SEPARATE_OUTPUTS + TAPS - 1.0) ** 2
    batch = ceil_div(column(op.batch), conv.image_group) * conv.image_group
    patches = batch * ceil_div(column(op.out), SEPARATE_OUTPUTS) ** 2
    products = _products(op, gpu, conditions, patches, points, parts=1)
    return Algorithm(_between_transforms(op, gpu, conditions, products, patches, points), _has_three_taps(op))


def fft(op: Conv2d, gpu: Gpu, conditions: Conditions, points: int) -> Algorithm:
    """Transforms of `points` x `points` pixels (half of them redundant), complex products, and the transform back."""
    frequencies = float(points * (points // 2 + 1))
    reach = np.maximum(points - column(op.ksize) + 1.0, 1.0)
    patches = column(op.batch) * ceil_div(column(op.out), reach) ** 2
    products = _products(op, gpu, conditions, patches, frequencies, parts=COMPLEX_PARTS)
    kernels = _between_transforms(op, gpu, conditions, products, patches, frequencies * COMPLEX_PARTS)
    return Algorithm(kernels, np.atleast_1d((np.asarray(op.ksize) < points) & (np.asarray(op.stride) == 1)))


def fused_winograd(op: Conv2d, gpu: Gpu, conditions: Conditions) -> Algorithm:
    """The transform of the filters, then one kernel: a CTA computes a patch of one image for some output channels."""
    conv, sm, element = gpu.library.conv, gpu.sm, bytes_of(op.dtype)
    points = (FUSED_OUTPUTS + TAPS - 1.0) ** 2
    deep, high, wide = (row([float(patch[side]) for patch in conv.winograd_patches]) for side in range(3))
    channels, cin, out = float(conv.winograd_channels), column(op.cin), column(op.out)
    patches = ceil_div(column(op.batch), deep) * ceil_div(out, high) * ceil_div(out, wide)
    whole = column(op.batch) % deep == 0.0  # a kernel that takes images in groups takes no part of one
    ctas = patches * ceil_div(column(op.cout), channels)
    depth = ceil_div(cin, CHANNELS_OF_STEP) * CHANNELS_OF_STEP
    per_channel = points * deep * high * wide / FUSED_OUTPUTS**2
    image, result = column(op.image_bytes), column(op.output_bytes)
    filters = points * column(op.cout) * cin * element
    touched = image + filters + result
    cold = 1.0 - cache.hit_share(
        np.minimum(column(conditions.cache.activation_copies), 1e9) * image + filters + result, gpu
    )
    hit = cache.mean_latency_cycles(gpu)
    stage = (per_channel + points * channels) * CHANNELS_OF_STEP * element
    kernel = KernelDemand(
        kernel="winograd",
        ctas=ctas,
        warps_per_cta=constant(8.0),
        registers_per_thread=constant(255.0),
        shared_bytes_per_cta=np.where(whole, np.minimum(2.0 * stage, sm.shared_memory_per_cta_bytes), np.inf),
        fma_dtype=op.dtype,
        fma_ops=2.0 * per_channel * channels * depth / conv.winograd_efficiency,
        shared_bytes=(per_channel + points * channels) * 2.0 * depth * element,
        l2_read_bytes=(deep * (high + TAPS - 1.0) * (wide + TAPS - 1.0) + points * channels) * depth * element,
        l2_write_bytes=result / ctas,
        dram_read_bytes=(image * cold + filters * (1.0 - cache.hit_share(touched, gpu))) / ctas,
        dram_write_bytes=result * (1.0 - cache.hit_share(touched, gpu)) / ctas,
        bytes_in_flight=stage,
        chain_cycles=depth / CHANNELS_OF_STEP * (gpu.library.barrier_cycles + sm.shared_latency_cycles),
        exposed_cycles=constant(conv.winograd_round_trips * hit),
        epilogue_bytes=result / ctas,
        setup_cycles=constant(gpu.library.gemm.setup_round_trips * hit),
    )
    transform = _transform("filters", column(op.filter_bytes), filters, gpu, conditions.cache.weight_copies)
    return Algorithm((transform, kernel), _has_three_taps(op))


def _products(
    op: Conv2d, gpu: Gpu, conditions: Conditions, patches: FloatArray, points: float, parts: int
) -> KernelDemand:
    """The GEMMs of patches x cout over cin, one for each point of the transform, on operands just written."""
    conv = gpu.library.conv
    tile, efficiency = (
        (conv.product_tile, conv.product_efficiency) if parts == 1 else (conv.fft_tile, conv.fft_efficiency)
    )
    gemm = Gemm(
        m=patches[:, 0].astype(np.int64), n=parts * op.cout, k=parts * op.cin, batch=int(points), dtype=op.dtype
    )
    (demand,) = gemm_demands(gemm, with_simt_tiles(gpu, tile), replace(conditions, cache=WARM))
    return replace(demand, fma_ops=demand.fma_ops / efficiency)


def _between_transforms(
    op: Conv2d, gpu: Gpu, conditions: Conditions, products: KernelDemand, patches: FloatArray, values: float
) -> tuple[KernelDemand, ...]:
    """All kernels: `values` numbers for each patch and input channel, pair of channels, patch and output channel."""
    size = values * bytes_of(op.dtype)
    cin, cout, state = column(op.cin), column(op.cout), conditions.cache
    return (
        _transform("filters", column(op.filter_bytes), size * cin * cout, gpu, state.weight_copies),
        _transform("image", column(op.image_bytes), size * patches * cin, gpu, state.activation_copies),
        products,
        _transform("back", size * patches * cout, column(op.output_bytes), gpu, 1.0),
    )


def _transform(what: str, read: FloatArray, write: FloatArray, gpu: Gpu, copies: float | FloatArray) -> KernelDemand:
    """A kernel that reads and writes each value once, scattered: of the bytes that move only a share is of use."""
    use = gpu.library.conv.transform_efficiency
    stream = Stream(
        read_bytes=read / use,
        write_bytes=write / use,
        flops=0.0 * read,
        special_ops=0.0 * read,
        warm_share=cache.hit_share(np.minimum(column(copies), 1e9) * read + write, gpu),
        written_back_share=1.0 - cache.hit_share(read + write, gpu),
    )
    return stream_demand(f"transform_{what}", stream, gpu)


def _has_three_taps(op: Conv2d) -> NDArray[np.bool_]:
    """Rows that Winograd's kernels serve."""
    return np.atleast_1d((np.asarray(op.ksize) == TAPS) & (np.asarray(op.stride) == 1))
