"""Convolution → kernel demands: the library's algorithms, each as its kernels in order.

The implicit GEMM (`implicit`) runs for every shape and type but depthwise convolutions, which have a kernel of their
own. On the FMA pipes cuDNN also has Winograd's minimal filtering and Fourier transforms of square images
(`transforms`). Which algorithm is the fastest is for the estimate to find, row by row.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, BoolArray, KernelDemand
from simexplore.sim.libraries import conv_rules
from simexplore.sim.mapping.conv.implicit import on_fma_pipes, on_tensor_cores, patch_voxels, vector_channels
from simexplore.sim.mapping.conv.transforms import fft, fused_winograd, winograd
from simexplore.sim.mapping.streaming import Stream, moving, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Conv, Conv2d

AnyConv = TypeVar("AnyConv", bound=Conv | Conv2d)


def conv_algorithms(op: Conv2d | Conv, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """Every algorithm that the library has for the operator's type; rows that one can't serve never pick it.

    Raises SimexploreError where the GPU has no unit for the type.
    """
    op = _as_columns(op)
    general = op if isinstance(op, Conv) else op.general
    algorithms = _direct(general, gpu, conditions)
    if isinstance(op, Conv2d) and conv_rules(gpu).transforms(op, gpu):
        algorithms += (fused_winograd(op, gpu, conditions), winograd(op, gpu, conditions))
        algorithms += tuple(fft(op, gpu, conditions, points) for points in conv_rules(gpu).FFT_POINTS)
    return algorithms


def _as_columns(op: AnyConv) -> AnyConv:
    """All counts as columns of one length, so that the kernels of an algorithm have as many rows as each other."""
    names = [each.name for each in fields(op) if each.name not in ("dtype", "accumulate")]
    columns: Any = np.broadcast_arrays(*(np.atleast_1d(getattr(op, name)) for name in names))
    return replace(op, **dict(zip(names, columns, strict=True)))


def _direct(op: Conv, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The implicit GEMM, and the kernel of depthwise rows."""
    alone: BoolArray = (np.asarray(op.groups) == np.asarray(op.cin)) & (np.asarray(op.groups) > 1)
    ways: tuple[Algorithm, ...] = ()
    if np.any(alone):
        ways += (Algorithm((_depthwise(op, gpu, conditions),), ANY_ROW if np.all(alone) else alone),)
    if np.all(alone):
        return ways
    if op.dtype not in gpu.sm.tensor_ops_per_clk:
        kernels = (on_fma_pipes(op, gpu, conditions.cache),)
        return (*ways, Algorithm(kernels, ~alone if np.any(alone) else ANY_ROW))
    odd = (vector_channels(op) * column(op.groups) != column(op.cin))[:, 0]
    for served, padded in ((~alone & ~odd, False), (~alone & odd, True)):
        if np.any(served):
            way = _with_padding(op, gpu, conditions) if padded else (on_tensor_cores(op, gpu, conditions),)
            ways += (Algorithm(way, ANY_ROW if np.all(served) else served),)
    return ways


def _with_padding(op: Conv, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The image copied with its channels filled up to whole vectors (cuDNN's nhwcAddPaddingKernel), then the GEMM."""
    image = column(op.image_bytes)
    filled = image * vector_channels(op) * column(op.groups) / column(op.cin)
    copy = moving(image, filled, gpu, copies=conditions.cache.activation_copies)
    channels = (vector_channels(op) * column(op.groups))[:, 0].astype(np.int64)
    written = replace(conditions, cache=replace(conditions.cache, activation_copies=WARM.activation_copies))
    kernel = on_tensor_cores(replace(op, cin=channels), gpu, written)
    wanted = np.maximum(kernel.work.tensor_ops - column(op.flops) / kernel.grid.ctas, 0.0)
    return stream_demand("pad_channels", copy, gpu), kernel.but(work={"padding_ops": wanted})


def _depthwise(op: Conv, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """Each channel by itself: no reuse for tensor cores, so the FMA pipes multiply what streams past.

    A CTA reads the voxels under its results from L2 once, and every tap of each result from its L1.
    """
    image, filters, result = (column(x) for x in (op.image_bytes, op.filter_bytes, op.output_bytes))
    element, taps = bytes_of(op.dtype), column(op.taps)
    results = result / element
    shared = float(gpu.library.elementwise.threads_per_cta)
    of_result = patch_voxels(op, np.minimum(shared, column(op.batch) * column(op.positions)))
    read = results / np.minimum(shared, column(op.batch) * column(op.positions)) * of_result * element
    read = np.maximum(read * column(op.cin) / column(op.cout), image) + filters
    warm = warm_share(image, conditions.cache.activation_copies, filters + result, gpu)
    cold = image * (1.0 - warm) + filters
    stream = Stream(
        read_bytes=read,
        write_bytes=result,
        flops=2.0 * taps * results,
        special_ops=np.zeros_like(image),
        warm_share=1.0 - cold / read,
        written_back_share=written_back_share(image + filters + result, gpu),
    )
    demand = stream_demand("depthwise", stream, gpu)
    return demand.but(work={"shared_bytes": taps * result / demand.grid.ctas})
