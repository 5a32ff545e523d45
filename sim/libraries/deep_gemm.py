"""DeepGEMM: which tiles its kernels for 128 x 128 block-scaled fp8 have on Hopper, and what a ragged last tile costs.

TensorRT-LLM and SGLang compile it for each shape (deep_gemm/jit_kernels/gemm.py, get_best_configs). From `SWAPPED` rows
on, a CTA has 64 rows of A where that covers them and else 128; for fewer the operands change places.
"""

from __future__ import annotations

import numpy as np

from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Gemm

SWAPPED = 32.0
"""Rows of A below which its rows are the instruction's columns: read off rows of an H200."""
LOW, HIGH = 64.0, 128.0
"""Rows of a CTA's tile (block_m)."""


def offers_tiles(op: Gemm, tile: tuple[FloatArray, FloatArray]) -> BoolArray:
    """Which tiles (rows and columns of C, broadcast to (rows, tiles)) serve each row."""
    m = column(op.m)
    offered: BoolArray = (m < SWAPPED) | (tile[0] == _rows(m))
    return offered


def missing_rows(op: Gemm) -> FloatArray:
    """Rows of the last tile that A does not have, which are filled with zeros in each k-step; shape (rows, 1)."""
    m = column(op.m)
    high = _rows(m)
    return np.where(m < SWAPPED, 0.0, np.ceil(m / high) * high - m)


def _rows(m: FloatArray) -> FloatArray:
    return np.where(m <= LOW, LOW, HIGH)
