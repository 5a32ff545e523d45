"""cuDNN: which convolutions its algorithms serve, and what finding a plan costs the host."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Conv, Conv2d

TAPS = 3.0
"""Rows and columns of the filters that its Winograd kernels take."""
FFT_POINTS: tuple[int, ...] = (16, 32)
"""Pixels along a side of the tiles of its Fourier transforms."""


def transforms(op: Conv2d | Conv, gpu: Gpu) -> bool:
    """Whether it has Winograd's and Fourier's algorithms for an operator: square images on the FMA pipes."""
    return isinstance(op, Conv2d) and op.dtype not in gpu.sm.tensor_ops_per_clk


def serves_winograd(op: Conv2d) -> BoolArray:
    """Rows that Winograd's kernels serve; shape (rows,) or (1,)."""
    return np.atleast_1d((np.asarray(op.ksize) == TAPS) & (np.asarray(op.stride) == 1))


def serves_fft(op: Conv2d, points: int) -> BoolArray:
    """Rows that Fourier transforms of `points` x `points` pixels serve; shape (rows,) or (1,)."""
    return np.atleast_1d((np.asarray(op.ksize) < points) & (np.asarray(op.stride) == 1))


def call_seconds(gpu: Gpu, conditions: Conditions) -> FloatArray:
    """Host time of an eager call up to its first launch [s], t_call (1 + (n / n_2)^2); shape (rows, 1) or (1, 1).

    n counts the other shapes called before (`docs/studies/convolutions.md`, from NeuSight's sweep): the library looks
    through what it keeps of them, and the more that is, the less of it the host's caches hold.
    """
    conv = gpu.conv_kernels
    seconds: FloatArray = conv.call_s * (1.0 + (column(conditions.cache.earlier_shapes) / conv.call_doubling) ** 2)
    return seconds
