"""cuBLAS: which of its GEMM kernels it considers for a shape, as measured rows show it.

The sizes at which a rule holds are the machine's (`library.gemm` in its file), for the library has other kernels on
other dies. Among the kernels that are left it takes the one that it reckons to be the fastest (`mapping.choice`).
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import ShapeRange
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Gemm

MODEST_TILE = 128.0 * 128.0
"""Elements of C in the largest tile of which two fit an SM's registers."""
TOO_LARGE = 2.0
"""A tile so many times as high or wide as C is not considered where the menu has a smaller one."""


def takes_two_stages(op: Gemm, gpu: Gpu) -> BoolArray:
    """Rows that the older kernels serve, which fetch one k-step ahead and no more; shape (rows,) or (1,)."""
    return _within(gpu.library.gemm.two_stage.sizes if op.dtype in gpu.sm.tensor_ops_per_clk else (), op)


def takes_matrix_vector(op: Gemm, gpu: Gpu) -> BoolArray:
    """Rows that the matrix-vector kernel can serve: those of one row of C, in types that tensor cores take."""
    plain = op.dtype in gpu.sm.tensor_ops_per_clk and (op.activation_dtype or op.dtype) == op.dtype
    single: BoolArray = np.atleast_1d(op.m) == 1
    return single & np.bool_(gpu.library.gemm.gemv.used and plain)


def offers_tiles(op: Gemm, tile: tuple[FloatArray, FloatArray], gpu: Gpu) -> BoolArray:
    """Which tiles (rows and columns of C, broadcast to (rows, tiles)) are kernels to consider for each row."""
    library, (high, wide) = gpu.library.gemm, tile
    m, n = column(op.m), column(op.n)
    offered: BoolArray = np.ones((1, 1), dtype=np.bool_)
    if library.tensor.reads_registers:
        suits_m = high < TOO_LARGE * np.maximum(m, np.min(high))
        offered = suits_m & (wide < TOO_LARGE * np.maximum(n, np.min(wide)))
    if library.tensor.modest_tiles:
        offered = offered & ~(_within(library.tensor.modest_tiles, op)[:, None] & (high * wide > MODEST_TILE))
    return offered


def splits_k(op: Gemm, gpu: Gpu) -> BoolArray:
    """Rows for which splitting k is considered at all: of enough products m n k, or with k so deep; shape (rows, 1)."""
    library = gpu.library.gemm
    m, n, k = (column(size) for size in (op.m, op.n, op.k))
    worth: BoolArray = (m * n * k >= library.split.min_products) | (k >= library.split.always_depth)
    return worth


def _within(ranges: tuple[ShapeRange, ...], op: Gemm) -> BoolArray:
    """Rows whose sizes are in one of the ranges; shape (rows,) or (1,)."""
    m, n, k = (column(size)[:, 0] for size in (op.m, op.n, op.k))
    sizes = {"m": m, "n": n, "k": k, "mnk": m * n * k}
    found = np.zeros(np.broadcast_shapes(m.shape, n.shape, k.shape), dtype=np.bool_)
    for shapes in ranges:
        inside: BoolArray = np.ones(1, dtype=np.bool_)
        for name, (least, most) in shapes.limits:
            inside = inside & (sizes[name] >= least) & (sizes[name] <= most)
        found = found | inside
    return found
