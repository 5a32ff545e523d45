"""PyTorch: how its own CUDA kernels lay rows out over CTAs, and how often they read them.

Source: aten/src/ATen/native/cuda, SoftMax.cu, PersistentSoftmax.cuh, layer_norm_kernel.cu. Sizes are the machine's:
`library.elementwise`.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import LayerNorm, RmsNorm, Softmax

PASSES = {"softmax": 3.0, "rmsnorm": 2.0}
"""Times that a kernel reads a row: for each result that needs all of it, and to write. Of a layer norm: its file."""


def holds_rows(op: Softmax | LayerNorm | RmsNorm, gpu: Gpu) -> BoolArray:
    """Rows of a softmax so short that a warp holds them in its registers; shape (rows, 1)."""
    most = gpu.library.elementwise.rowwise.softmax_registers if op.op == "softmax" else 0
    return column(op.cols) <= most


def threads_of_row(op: Softmax | LayerNorm | RmsNorm, gpu: Gpu) -> FloatArray:
    """Threads of a CTA, shape (rows, 1) or (1, 1).

    A norm has always as many, a softmax half as many as loads of its row, rounded up to a power of two.
    """
    library = gpu.library.elementwise
    if op.op != "softmax":
        return np.array([[float(library.rowwise.norm_threads)]])
    loads = np.maximum(column(op.cols) * bytes_of(op.dtype) / library.bytes_per_thread, 2.0)
    threads = np.exp2(np.ceil(np.log2(loads)) - 1.0)
    return np.clip(threads, gpu.sm.warp_size, library.rowwise.softmax_threads)


def passes(op: Softmax | LayerNorm | RmsNorm, gpu: Gpu) -> float:
    """How often a row is read that is not held."""
    return float(gpu.library.elementwise.rowwise.layernorm_passes) if op.op == "layernorm" else PASSES[op.op]
