"""Operators along one axis of an array: reductions, running sums, sorting, selection. Conventions: see `ops`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import INDEX_BYTES, ArrayOperator
from simexplore.workloads.operators.base import Amount, Count
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of

STRUCTURE = {
    "rows": "parts of the array before the axis",
    "cols": "elements along the axis",
    "inner": "elements that lie beside each other in memory before the axis goes on; 1: it is the last",
}
"""An array of rows x cols x inner elements, and the axis in its middle."""


@dataclass(frozen=True, slots=True)
class Reduce(ArrayOperator):
    """A sum, mean, largest element or the like of each column of an array of rows x cols x inner elements.

    flops = rows cols inner flops_per_element.
    min_bytes = rows cols inner b(dtype) + rows inner (values b(output_dtype) + indices 8 B); argmax
    gives indices alone.
    """

    op: ClassVar[str] = "reduce"
    example: ClassVar[str] = "reduce(rows=4096,cols=4096,dtype=bf16)"

    rows: Count = field(metadata=count_of(STRUCTURE["rows"]))
    cols: Count = field(metadata=count_of(STRUCTURE["cols"]))
    inner: Count = field(default=1, metadata=count_of(STRUCTURE["inner"]))
    flops_per_element: Count = field(default=1, metadata=count_of("flops for each element", minimum=0))
    values: Count = field(default=1, metadata=count_of("numbers that each result has", minimum=0))
    indices: Count = field(default=0, metadata=count_of("64-bit indices that each result has", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type that is read"))
    output_dtype: str | None = field(default=None, metadata=dtype_of("type of results; none: dtype"))
    function: str = field(default="sum", metadata=label_of("what is computed"))

    @property
    def results(self) -> Amount:
        """Columns, each of which is reduced."""
        return 1.0 * self.rows * self.inner

    @property
    def flops(self) -> Amount:
        return self.results * self.cols * self.flops_per_element

    @property
    def output_bytes(self) -> Amount:
        return self.results * (bytes_of(self.output_dtype or self.dtype) * self.values + INDEX_BYTES * self.indices)

    @property
    def min_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.results * self.cols + self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (self.results * self.cols,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.results,)

    def check_relations(self) -> None:
        if np.any(np.equal(self.values, 0) & np.equal(self.indices, 0)):
            raise ParameterError(self.op, "values", "a number or an index as each result", "neither")


@dataclass(frozen=True, slots=True)
class Scan(ArrayOperator):
    """A running sum, product or maximum along an axis of rows x cols x inner elements.

    flops = rows cols inner.  min_bytes = 2 rows cols inner b.
    """

    op: ClassVar[str] = "scan"
    example: ClassVar[str] = "scan(rows=4096,cols=4096,dtype=bf16)"

    rows: Count = field(metadata=count_of(STRUCTURE["rows"]))
    cols: Count = field(metadata=count_of(STRUCTURE["cols"]))
    inner: Count = field(default=1, metadata=count_of(STRUCTURE["inner"]))
    dtype: str = field(default="bf16", metadata=dtype_of("type of input and output"))
    function: str = field(default="sum", metadata=label_of("what is computed"))

    @property
    def flops(self) -> Amount:
        return 1.0 * self.rows * self.cols * self.inner

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.flops

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (self.flops,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.flops,)


class Ordered(ArrayOperator):
    """What sorting and selection share: of each row so many elements come out in order, with where they lay."""

    __slots__ = ()

    rows: Count
    cols: Count

    @property
    @abstractmethod
    def taken(self) -> Count:
        """Elements of a row that come out."""

    @property
    def flops(self) -> Amount:
        return 0.0 * self.rows

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * self.rows * self.taken * (bytes_of(self.dtype) + INDEX_BYTES)

    @property
    def min_bytes(self) -> Amount:
        return 1.0 * self.rows * self.cols * bytes_of(self.dtype) + self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (1.0 * self.rows * self.cols,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (1.0 * self.rows * self.taken,)


@dataclass(frozen=True, slots=True)
class Sort(Ordered):
    """Each row in order, and where its elements came from.

    flops = 0: keys are looked at bit by bit.  min_bytes = rows cols (2 b + 8 B).
    """

    op: ClassVar[str] = "sort"
    example: ClassVar[str] = "sort(rows=64,cols=128256,dtype=fp32)"

    rows: Count = field(metadata=count_of("rows, each sorted by itself"))
    cols: Count = field(metadata=count_of("elements of a row"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the elements"))

    @property
    def taken(self) -> Count:
        return self.cols


@dataclass(frozen=True, slots=True)
class TopK(Ordered):
    """The k largest elements of each row in order, and where they lay.

    flops = 0: keys are looked at bit by bit.  min_bytes = rows cols b + rows k (b + 8 B).
    """

    op: ClassVar[str] = "top_k"
    example: ClassVar[str] = "top_k(rows=4096,cols=256,k=8,dtype=fp32)"

    rows: Count = field(metadata=count_of("rows, each by itself"))
    cols: Count = field(metadata=count_of("elements of a row"))
    k: Count = field(metadata=count_of("elements that are taken of a row; at most cols"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the elements"))

    @property
    def taken(self) -> Count:
        return self.k

    def check_relations(self) -> None:
        if np.any(np.greater(self.k, self.cols)):
            raise ParameterError(self.op, "k", f"at most cols = {self.cols}", str(self.k))
