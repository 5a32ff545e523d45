"""Transposed convolution → kernel demands: the convolution that it is, all positions within a stride side by side.

A result belongs to one of stride x stride x … phases, and those of one phase are a convolution of the image with every
stride-th tap of the filter. So the kernels are those of a convolution of stride 1 whose filters for each phase lie side
by side (Shi et al., 'Is the deconvolution layer the same as a convolutional layer?', arXiv:1609.07009); a library does
so too (NVIDIA CUTLASS, implicit_gemm_convolution.md, strided Dgrad).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Algorithm, FloatArray, KernelDemand
from simexplore.sim.mapping.conv.algorithms import conv_algorithms
from simexplore.workloads.operators.base import Count
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import ConvDilated, ConvTranspose

Whole = NDArray[np.int64]


def transposed_algorithms(op: ConvTranspose, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """What the library has for the convolution that it is; phases with fewer taps than others multiply less.

    Raises SimexploreError where the GPU has no unit for the type.
    """
    conv = side_by_side(op)
    return tuple(
        way._replace(kernels=(*way.kernels[:-1], _of_phases(way.kernels[-1], op, conv)))
        for way in conv_algorithms(conv, gpu, conditions)
    )


class _Axis(NamedTuple):
    """An axis of the convolution; arrays of shape (rows,) or (1,)."""

    phases: Whole
    size: Whole
    taps: Whole
    end: Whole


def _axis(size: Count, taps: Count, out: Count, stride: Count) -> _Axis:
    """What an axis becomes: each phase has every `stride`-th tap, and makes every `stride`-th result."""
    size, taps, out, stride = (np.atleast_1d(np.asarray(value, dtype=np.int64)) for value in (size, taps, out, stride))
    phases = np.minimum(stride, out)
    of_phase, results = -(-taps // phases), -(-out // phases)
    reached = results + of_phase - 1
    return _Axis(phases, np.minimum(size, reached), of_phase, np.maximum(reached - size, 0))


def side_by_side(op: ConvTranspose) -> ConvDilated:
    """The convolution of stride 1 whose channels are those of the result times the phases."""
    layers = _axis(op.depth, op.layers, op.out_depth, op.stride)
    rows = _axis(op.height, op.rows, op.out_height, op.stride)
    cols = _axis(op.width, op.cols, op.out_width, op.stride)
    return ConvDilated(
        batch=op.batch,
        cin=op.cin,
        cout=op.cout * layers.phases * rows.phases * cols.phases,
        width=cols.size,
        height=rows.size,
        depth=layers.size,
        cols=cols.taps,
        rows=rows.taps,
        layers=layers.taps,
        groups=op.groups,
        dtype=op.dtype,
        accumulate=op.accumulate,
        end_cols=cols.end,
        end_rows=rows.end,
        end_layers=layers.end,
    )


def _of_phases(demand: object, op: ConvTranspose, conv: ConvDilated) -> KernelDemand:
    """The kernel with the products and the bytes that there are: phases at the end of a filter have fewer taps."""
    assert isinstance(demand, KernelDemand), "convolutions are kernels"
    work = demand.work
    products = column(op.flops) / column(conv.flops)
    read = _ratio(op.image_bytes + op.filter_bytes, conv.image_bytes + conv.filter_bytes)
    written = _ratio(op.output_bytes, conv.output_bytes)
    demand = demand.but(
        work={
            "tensor_ops": work.tensor_ops * products,
            "padding_ops": work.padding_ops * products,
            "fma_ops": work.fma_ops * products,
            "dram_read_bytes": work.dram_read_bytes * read,
            "dram_write_bytes": work.dram_write_bytes * written,
        }
    )
    unread = demand.choice.reckoned_read_bytes * read
    return replace(demand, choice=replace(demand.choice, reckoned_read_bytes=unread))


def _ratio(own: object, of_conv: object) -> FloatArray:
    return column(own) / column(of_conv)
