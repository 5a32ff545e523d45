"""Copies over a path of links, and work of a CPU; both only run at places that are no GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of

BLOCK_BYTES = 1 << 20
"""A request to a drive, as DeepSpeed's aio makes them by default [B]."""
QUEUE = 32
"""Requests that wait at a drive at once, as DeepSpeed's aio has by default."""


@dataclass(frozen=True, slots=True)
class Transfer(Operator):
    """Bytes from one device to another, over the path that is its place: `cpu->gpu`, `ssd->cpu`.

    flops = 0.  min_bytes = 2 bytes: read at one end, written at the other.  At a drive, `queue` requests of `block`
    bytes are under way at once.
    """

    op: ClassVar[str] = "transfer"
    example: ClassVar[str] = "transfer(bytes=1000000000,dtype=fp16)"

    bytes: Count = field(metadata=count_of("bytes to move [B]"))
    memory: str = field(default="pinned", metadata=label_of("host memory: pinned, or pageable, which drivers stage"))
    block: Count = field(default=BLOCK_BYTES, metadata=count_of("bytes of a request to a drive [B]"))
    queue: Count = field(default=QUEUE, metadata=count_of("requests at a drive at once"))
    dtype: str = field(default="fp16", metadata=dtype_of("type of what is moved, for people"))

    @property
    def flops(self) -> Amount:
        return 0.0 * self.bytes

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * self.bytes

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.bytes

    def check_relations(self) -> None:
        if self.memory not in ("pinned", "pageable"):
            raise ParameterError(self.op, "memory", "pinned or pageable", repr(self.memory))


@dataclass(frozen=True, slots=True)
class HostWork(Operator):
    """What cores of a CPU do: operations and memory traffic, both told.

    flops = operations.  min_bytes = bytes.  It makes nothing that others read: what it leaves in memory is said by its
    node.
    """

    op: ClassVar[str] = "host_work"
    example: ClassVar[str] = "host_work(operations=1000000,bytes=4000000,dtype=fp32)"

    operations: Count = field(metadata=count_of("arithmetic operations; an FMA is two", 0))
    bytes: Count = field(metadata=count_of("memory traffic, reads and writes [B]", 0))
    cores: Count | None = field(default=None, metadata=count_of("cores that it runs on; none: all"))
    dtype: str = field(default="fp32", metadata=dtype_of("type of the operations, for people"))

    @property
    def flops(self) -> Amount:
        return 1.0 * self.operations

    @property
    def output_bytes(self) -> Amount:
        return 0.0 * self.bytes

    @property
    def min_bytes(self) -> Amount:
        return 1.0 * self.bytes
