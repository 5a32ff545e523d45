"""Singular value decomposition of a gradient, of which low-rank methods keep a factor. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import count_of, dtype_of

COLUMN_FLOPS = 6.0
"""Of an element of two columns that a rotation meets: three inner products of two flops each, or what rotates both."""


@dataclass(frozen=True, slots=True)
class Svd(Operator):
    """Singular values and vectors of matrices of m x n by Jacobi rotations, one matrix after the other.

    With n the lesser side and m the other: a sweep meets each of the n (n - 1) / 2 pairs of columns once, with three
    inner products of length m, and rotates both columns, and both columns of the n x n matrix of right vectors
    (Hestenes 1958; Golub and Van Loan, "Matrix Computations", 4th ed., section 8.6.4). Sweeps go on until all columns
    are orthogonal; how many is in proportion to log2 n (Brent and Luk 1985), which is taken as it is (`assumed`).

    flops = batch sweeps (12 m + 6 n) n (n - 1) / 2 / every.
    min_bytes = batch (2 m n + n n + n) b(dtype) / every: the matrix in, its vectors and values out.
    """

    op: ClassVar[str] = "svd"
    example: ClassVar[str] = "svd(rows=4096,cols=4096,dtype=fp32)"

    rows: Count = field(metadata=count_of("rows of a matrix"))
    cols: Count = field(metadata=count_of("columns of a matrix"))
    batch: Count = field(default=1, metadata=count_of("matrices of this size, one after the other"))
    every: Count = field(default=1, metadata=count_of("steps that share it, each of which has a part"))
    dtype: str = field(default="fp32", metadata=dtype_of("type that it is computed in: fp32 or fp64"))

    @property
    def long(self) -> Amount:
        """The greater side, m."""
        return 1.0 * np.maximum(self.rows, self.cols)

    @property
    def short(self) -> Amount:
        """The lesser side, n."""
        return 1.0 * np.minimum(self.rows, self.cols)

    @property
    def sweeps(self) -> Amount:
        """Sweeps over all pairs of columns until they are orthogonal."""
        return np.maximum(np.ceil(np.log2(self.short)), 1.0)

    @property
    def times(self) -> Amount:
        """Decompositions in a step."""
        return 1.0 * self.batch / self.every

    @property
    def flops(self) -> Amount:
        pairs = self.short * (self.short - 1.0) / 2.0
        return self.times * self.sweeps * COLUMN_FLOPS * (2.0 * self.long + self.short) * pairs

    @property
    def output_bytes(self) -> Amount:
        """Vectors of both sides, and the values, of one matrix [B]."""
        return bytes_of(self.dtype) * (self.long * self.short + self.short * self.short + self.short)

    @property
    def min_bytes(self) -> Amount:
        matrix = bytes_of(self.dtype) * self.long * self.short
        return self.times * (matrix + self.output_bytes)
