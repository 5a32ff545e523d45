"""A library of which nothing but its menu is known: any kernel of the menu may serve any shape, and k may be split."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Gemm


def takes_two_stages(op: Gemm, gpu: Gpu) -> BoolArray:  # noqa: ARG001 - of no shape is it known
    """No rows: which kernels are older is not known."""
    return np.zeros(1, dtype=np.bool_)


def takes_matrix_vector(op: Gemm, gpu: Gpu) -> BoolArray:
    """Rows of one row of C, where the menu has such a kernel."""
    single: BoolArray = np.atleast_1d(op.m) == 1
    return single & np.bool_(gpu.library.gemm.gemv.used and op.dtype in gpu.sm.tensor_ops_per_clk)


def offers_tiles(op: Gemm, tile: tuple[FloatArray, FloatArray], gpu: Gpu) -> BoolArray:  # noqa: ARG001
    """All tiles for all rows: which are not considered is not known."""
    return np.ones((1, 1), dtype=np.bool_)


def splits_k(op: Gemm, gpu: Gpu) -> BoolArray:  # noqa: ARG001
    """All rows: nothing is known to keep the library from it."""
    return np.ones_like(column(op.m), dtype=np.bool_)
