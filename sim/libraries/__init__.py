"""What engines and libraries decide for themselves: one module each, behind one interface a family of operators.

A machine's `library:` names the modules whose rules hold on it. Rules say which kernel serves a row and how its grid is
laid out; what a kernel then does and how long that takes is for `mapping` and `hardware`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.sim.libraries import cublas
from simexplore.workloads.ops import Gemm


class GemmRules(Protocol):
    """What a library of matrix products decides."""

    def takes_two_stages(self, op: Gemm, gpu: Gpu) -> BoolArray:
        """Rows that kernels with one k-step ahead serve; shape (rows,) or (1,)."""

    def takes_matrix_vector(self, op: Gemm, gpu: Gpu) -> BoolArray:
        """Rows that the matrix-vector kernel can serve; shape (rows,) or (1,)."""

    def offers_tiles(self, op: Gemm, tile: tuple[FloatArray, FloatArray], gpu: Gpu) -> BoolArray:
        """Which tiles are kernels to consider for each row; broadcasts to (rows, tiles)."""

    def splits_k(self, op: Gemm, gpu: Gpu) -> BoolArray:
        """Rows for which splitting k is considered; shape (rows, 1)."""


GEMM: Mapping[str, GemmRules] = {"cublas": cublas}


def gemm_rules(gpu: Gpu) -> GemmRules:
    """The rules of the machine's library of matrix products."""
    return GEMM["cublas"]
