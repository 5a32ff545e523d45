"""Operators as beginners write their kernels, which studies measure. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import count_of, dtype_of


@dataclass(frozen=True, slots=True)
class NaiveTiledGemm(Operator):
    """C[m,n] = A[m,k] B[k,n] by the textbook kernel: a thread for each result, tiles of A and B in shared memory.

    flops = 2 m n k.  min_bytes = (m k + k n + m n) b.
    """

    op: ClassVar[str] = "gemm_naive_tiled"
    example: ClassVar[str] = "gemm_naive_tiled(m=4096,n=4096,k=4096,tile=16,dtype=fp32)"

    m: Count = field(metadata=count_of("rows of A and C"))
    n: Count = field(metadata=count_of("columns of B and C"))
    k: Count = field(metadata=count_of("columns of A, rows of B"))
    tile: Count = field(metadata=count_of("rows and columns of a tile; its CTA has tile**2 threads, so at most 32"))
    dtype: str = field(default="fp32", metadata=dtype_of("type of every matrix"))

    @property
    def flops(self) -> Amount:
        return 2.0 * self.m * self.n * self.k

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.m * self.n

    @property
    def min_bytes(self) -> Amount:
        return bytes_of(self.dtype) * (1.0 * self.m * self.k + 1.0 * self.k * self.n) + self.output_bytes
