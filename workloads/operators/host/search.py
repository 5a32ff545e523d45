"""Search among the keys of attention that a CPU's memory holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import count_of, dtype_of


@dataclass(frozen=True, slots=True)
class GraphSearch(Operator):
    """One query of each head walks a graph over that head's keys, from key to key, and visits some of them.

    flops = 2 heads visited head_dim.  min_bytes = heads visited head_dim b(dtype): a visit reads a key anywhere in
    memory.  A head is the work of one core.
    """

    op: ClassVar[str] = "graph_search"
    example: ClassVar[str] = "graph_search(heads=32,visited=2000,head_dim=128,dtype=fp32)"

    heads: Count = field(metadata=count_of("query heads, each with a graph of its own"))
    visited: Count = field(metadata=count_of("keys that a query visits"))
    head_dim: Count = field(metadata=count_of("elements of a key"))
    dtype: str = field(default="fp32", metadata=dtype_of("type of the keys"))

    @property
    def flops(self) -> Amount:
        return 2.0 * self.heads * self.visited * self.head_dim

    @property
    def output_bytes(self) -> Amount:
        return 0.0 * self.heads

    @property
    def min_bytes(self) -> Amount:
        return 1.0 * self.heads * self.visited * self.head_dim * bytes_of(self.dtype)
