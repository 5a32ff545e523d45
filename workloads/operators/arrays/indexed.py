"""Operators that go by an index: gathers and scatters. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import INDEX_BYTES, ArrayOperator, least
from simexplore.workloads.operators.base import Amount, Count
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of


class Indexed(ArrayOperator):
    """What a gather and a scatter share: `indices` pieces of `run` neighbouring elements, of a table."""

    __slots__ = ()

    indices: Count
    table: Count
    run: Count

    @property
    def elements(self) -> Amount:
        """Elements that are moved."""
        return 1.0 * self.indices * self.run

    @property
    def touched(self) -> Amount:
        """Elements of the table that are moved, each once."""
        return least(self.elements, 1.0 * self.table)

    @property
    def index_bytes(self) -> Amount:
        """Bytes of the indices [B]."""
        return INDEX_BYTES * self.indices

    @property
    def flops(self) -> Amount:
        return 0.0 * self.indices

    def check_relations(self) -> None:
        if np.any(np.greater(self.run, self.table)):
            raise ParameterError(self.op, "run", f"at most table = {self.table}", str(self.run))


@dataclass(frozen=True, slots=True)
class Gather(Indexed):
    """Pieces of a table by index: index_select, gather, take, x[i].

    flops = 0.  min_bytes = indices 8 B + min(indices run, table) b + indices run b.
    """

    op: ClassVar[str] = "gather"
    example: ClassVar[str] = "gather(indices=65536,table=16777216,run=128,dtype=bf16)"

    indices: Count = field(metadata=count_of("pieces that are taken"))
    table: Count = field(metadata=count_of("elements of the table"))
    run: Count = field(default=1, metadata=count_of("neighbouring elements of a piece"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the elements"))

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.elements

    @property
    def min_bytes(self) -> Amount:
        return self.index_bytes + bytes_of(self.dtype) * self.touched + self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (1.0 * self.table,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.elements,)


@dataclass(frozen=True, slots=True)
class Scatter(Indexed):
    """Pieces written into a table in place by index, or added to what is there (`adds`).

    flops = adds indices run.
    min_bytes = indices (8 B + run b) + (1 + adds) min(indices run, table) b: what is added to is read first.
    """

    op: ClassVar[str] = "scatter"
    example: ClassVar[str] = "scatter(indices=65536,table=16777216,run=128,dtype=bf16)"

    indices: Count = field(metadata=count_of("pieces that are written"))
    table: Count = field(metadata=count_of("elements of the table"))
    run: Count = field(default=1, metadata=count_of("neighbouring elements of a piece"))
    adds: Count = field(default=0, metadata=count_of("1: pieces are added to the table; 0: they replace", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the elements"))

    @property
    def flops(self) -> Amount:
        return self.elements * self.adds

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.touched

    @property
    def min_bytes(self) -> Amount:
        return self.index_bytes + bytes_of(self.dtype) * self.elements + (1.0 + self.adds) * self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (self.elements, 1.0 * self.table)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (1.0 * self.table,)

    def check_relations(self) -> None:
        Indexed.check_relations(self)  # not super(): a slotted dataclass is not the class that super() remembers
        if np.any(np.greater(self.adds, 1)):
            raise ParameterError(self.op, "adds", "0 or 1", str(self.adds))
