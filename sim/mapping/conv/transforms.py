"""Convolutions that multiply less: Winograd's minimal filtering and Fourier transforms, on the FMA pipes.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308: F(m x m, 3 x 3) computes a patch of
m**2 outputs from (m + 2)**2 products for each pair of channels; the products of all patches are (m + 2)**2 GEMMs.
Mathieu, Henaff and LeCun, arXiv 1312.5851, for the Fourier transforms. cuDNN has the transforms as kernels of their
own (`WINOGRAD_NONFUSED`, with m = 4; `FFT`, `FFT_TILING`), and F(2 x 2, 3 x 3) in one kernel with them (`WINOGRAD`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Tile
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.demand import Algorithm, Choice, FloatArray, Grid, KernelDemand, Latency, Work
from simexplore.sim.libraries import conv_rules
from simexplore.sim.libraries.cudnn import TAPS
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Conv2d, Gemm

FUSED_OUTPUTS = 2.0
"""m of the fused kernel, F(2 x 2, 3 x 3)."""
SEPARATE_OUTPUTS = 4.0
"""m of the kernels with separate transforms, F(4 x 4, 3 x 3)."""
CHANNELS_OF_STEP = 8.0
"""Input channels of one step of the fused kernel's main loop."""
FUSED_WARPS = 8.0
"""Of a CTA of the fused kernel."""
FUSED_REGISTERS = 255.0
"""Of a thread of it, which needs all that there are: transforms, sums and operands."""
COMPLEX_PARTS = 2
"""A complex product is a real one of matrices twice as deep and twice as wide."""


def with_simt_tiles(gpu: Gpu, *tiles: Tile) -> Gpu:
    """The GPU with these tiles as its library's only kernels on the FMA pipes, k not split."""
    gemm = gpu.library.gemm
    simt, split = gemm.simt.model_copy(update={"tiles": tiles}), gemm.split.model_copy(update={"counts": (1,)})
    gemm = gemm.model_copy(update={"simt": simt, "split": split})
    return gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})


class _Separate(NamedTuple):
    """How a library computes products between transforms that are kernels of their own."""

    tiles: tuple[Tile, ...]
    efficiency: float
    """Share of the FMA peak that the products reach."""
    use: float
    """Share of the bytes that transforms move which is of use."""
    parts: int
    """Real numbers of one value."""


def winograd(op: Conv2d, gpu: Gpu, conditions: Conditions) -> Algorithm:
    """Transforms of filters and image, 36 products for each pair of channels and patch, and the transform back."""
    conv = gpu.conv_kernels
    points = (SEPARATE_OUTPUTS + TAPS - 1.0) ** 2
    batch = ceil_div(column(op.batch), conv.winograd.separate.image_group) * conv.winograd.separate.image_group
    patches = batch * ceil_div(column(op.out), SEPARATE_OUTPUTS) ** 2
    separate = conv.winograd.separate
    way = _Separate((separate.tile,), separate.efficiency, conv.winograd.transform_efficiency, parts=1)
    return Algorithm(_separate(op, gpu, conditions, way, patches, points), conv_rules(gpu).serves_winograd(op))


def fft(op: Conv2d, gpu: Gpu, conditions: Conditions, points: int) -> Algorithm:
    """Transforms of `points` x `points` pixels (half of them redundant), complex products, and the transform back."""
    conv = gpu.conv_kernels
    frequencies = float(points * (points // 2 + 1))
    reach = np.maximum(points - column(op.ksize) + 1.0, 1.0)
    patches = column(op.batch) * ceil_div(column(op.out), reach) ** 2
    way = _Separate(conv.fft.tiles, conv.fft.efficiency, conv.fft.transform_efficiency, COMPLEX_PARTS)
    kernels = _separate(op, gpu, conditions, way, patches, frequencies)
    return Algorithm(kernels, conv_rules(gpu).serves_fft(op, points))


def fused_winograd(op: Conv2d, gpu: Gpu, conditions: Conditions) -> Algorithm:
    """The transform of the filters, then one kernel: a CTA computes a patch of one image for some output channels."""
    conv, sm, element = gpu.conv_kernels, gpu.sm, bytes_of(op.dtype)
    points = (FUSED_OUTPUTS + TAPS - 1.0) ** 2
    deep, high, wide = np.asarray(conv.winograd.fused.patches, dtype=np.float64).T[:, None, :]
    channels, cin, out = float(conv.winograd.fused.channels), column(op.cin), column(op.out)
    patches = ceil_div(column(op.batch), deep) * ceil_div(out, high) * ceil_div(out, wide)
    whole = column(op.batch) % deep == 0.0  # a kernel that takes images in groups takes no part of one
    ctas = patches * ceil_div(column(op.cout), channels)
    depth = ceil_div(cin, CHANNELS_OF_STEP) * CHANNELS_OF_STEP
    per_channel = points * deep * high * wide / FUSED_OUTPUTS**2
    image, result = column(op.image_bytes), column(op.output_bytes)
    filters = points * column(op.cout) * cin * element
    touched = image + filters + result
    cold = 1.0 - warm_share(image, conditions.cache.activation_copies, filters + result, gpu)
    spilled = written_back_share(touched, gpu)
    hit = gpu.l2.mean_latency_cycles
    stage = (per_channel + points * channels) * CHANNELS_OF_STEP * element
    kernel = KernelDemand(
        kernel="winograd",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=constant(FUSED_WARPS),
            registers_per_thread=constant(FUSED_REGISTERS),
            shared_bytes_per_cta=np.minimum(2.0 * stage, sm.shared_memory_per_cta_bytes),
        ),
        work=Work(
            fma_dtype=op.dtype,
            fma_ops=2.0 * per_channel * channels * depth / conv.winograd.fused.efficiency,
            shared_bytes=(per_channel + points * channels) * 2.0 * depth * element,
            l2_read_bytes=(deep * (high + TAPS - 1.0) * (wide + TAPS - 1.0) + points * channels) * depth * element,
            l2_write_bytes=result / ctas,
            dram_read_bytes=(image * cold + filters * spilled) / ctas,
            dram_write_bytes=result * spilled / ctas,
            epilogue_bytes=result / ctas,
        ),
        latency=Latency(
            bytes_in_flight=stage,
            chain_cycles=depth / CHANNELS_OF_STEP * (gpu.library.barrier_cycles + sm.latency.shared_cycles),
            exposed_cycles=constant(conv.winograd.fused.round_trips * hit),
            setup_cycles=constant(gpu.library.gemm.setup_round_trips * hit),
        ),
        choice=Choice(offered=whole),
    )
    moved, copies = (column(op.filter_bytes), filters), conditions.cache.weight_copies
    transform = _transform("filters", moved, gpu, copies, conv.winograd.transform_efficiency)
    return Algorithm((transform, kernel), conv_rules(gpu).serves_winograd(op))


def _separate(
    op: Conv2d, gpu: Gpu, conditions: Conditions, way: _Separate, patches: FloatArray, points: float
) -> tuple[KernelDemand, ...]:
    """All kernels: `points` values for each patch and input channel, pair of channels, patch and output channel."""
    size = points * way.parts * bytes_of(op.dtype)
    cin, cout, state = column(op.cin), column(op.cout), conditions.cache

    def transform(what: str, read: FloatArray, write: FloatArray, copies: float | FloatArray) -> KernelDemand:
        return _transform(what, (read, write), gpu, copies, way.use)

    return (
        transform("filters", column(op.filter_bytes), size * cin * cout, state.weight_copies),
        transform("image", column(op.image_bytes), size * patches * cin, state.activation_copies),
        _products(op, gpu, conditions, way, patches, points),
        transform("back", size * patches * cout, column(op.output_bytes), 1.0),
    )


def _products(
    op: Conv2d, gpu: Gpu, conditions: Conditions, way: _Separate, patches: FloatArray, points: float
) -> KernelDemand:
    """The GEMMs of patches x cout over cin, one for each point of the transform, on operands just written."""
    rows = patches[:, 0].astype(np.int64)
    gemm = Gemm(m=rows, n=way.parts * op.cout, k=way.parts * op.cin, batch=int(points), dtype=op.dtype)
    (demand,) = gemm_demands(gemm, with_simt_tiles(gpu, *way.tiles), replace(conditions, cache=WARM))
    return demand.but(
        work={"fma_ops": demand.work.fma_ops / way.efficiency},
    )


def _transform(
    what: str, moved: tuple[FloatArray, FloatArray], gpu: Gpu, copies: float | FloatArray, use: float
) -> KernelDemand:
    """A kernel that reads and writes each value once, scattered: of the bytes that move only a share is of use."""
    read, write = moved
    stream = Stream(
        read_bytes=read / use,
        write_bytes=write / use,
        flops=np.zeros_like(read),
        special_ops=np.zeros_like(read),
        warm_share=warm_share(read, copies, write, gpu),
        written_back_share=written_back_share(read + write, gpu),
    )
    return stream_demand(f"transform_{what}", stream, gpu)
