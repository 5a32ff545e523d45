"""Collective operators over the links between GPUs. Conventions: see `ops`.

`elements` is the size of the whole tensor, as nccl-tests prints it: what every GPU holds after an all-gather and
before a reduce-scatter. Bytes over the links are those of the ring algorithm, from NVIDIA, nccl-tests,
doc/PERFORMANCE.md (github.com/NVIDIA/nccl-tests), where "bus bandwidth" is defined by the same factors.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of


@dataclass(frozen=True, slots=True)
class Collective(Operator):
    """An exchange among `num_gpus` GPUs, as one of them sees it: its flops, its memory traffic, its link traffic."""

    elements: Count = field(metadata=count_of("elements of the whole tensor"))
    num_gpus: Count = field(metadata=count_of("GPUs that take part"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the elements"))

    @property
    def size_bytes(self) -> Amount:
        """Bytes of the whole tensor [B]."""
        return bytes_of(self.dtype) * self.elements

    @property
    def link_bytes(self) -> Amount:
        """Bytes that each GPU sends over its links in the ring algorithm [B]."""
        return self.size_bytes * self.link_factor

    @property
    def link_factor(self) -> Amount:
        """Bytes sent by each GPU per byte of the whole tensor: (n - 1) / n."""
        return (self.num_gpus - 1.0) / self.num_gpus

    @property
    @abstractmethod
    def min_bytes(self) -> Amount: ...


class AllReduce(Collective):
    """Every GPU gets the sum of all GPUs' tensors: a reduce-scatter and an all-gather.

    link_bytes = 2 (n - 1) / n size.  flops = (n - 1) / n elements.  min_bytes = 2 size.
    """

    __slots__ = ()
    op = "all_reduce"
    example = "all_reduce(elements=1048576,num_gpus=8,dtype=bf16)"

    @property
    def link_factor(self) -> Amount:
        return 2.0 * (self.num_gpus - 1.0) / self.num_gpus

    @property
    def flops(self) -> Amount:
        return (self.num_gpus - 1.0) / self.num_gpus * self.elements

    @property
    def output_bytes(self) -> Amount:
        return self.size_bytes

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.size_bytes


ENGINES = ("trtllm", "vllm", "sglang")
"""Serving engines that have an all-reduce of their own."""


@dataclass(frozen=True, slots=True)
class CustomAllReduce(AllReduce):
    """An all-reduce by the kernel of a serving engine, whose GPUs read each other's memory; above a size it is NCCL's.

    Counts are those of `all_reduce`: what a kernel moves more, reading all tensors whole, is the mapping's business.
    """

    engine: str = field(default="trtllm", metadata=label_of(f"whose kernel: {', '.join(ENGINES)}"))
    op = "custom_all_reduce"
    example = "custom_all_reduce(elements=1048576,num_gpus=8,dtype=bf16,engine=trtllm)"

    def check_relations(self) -> None:
        if self.engine not in ENGINES:
            raise ParameterError(self.op, "engine", f"one of {', '.join(ENGINES)}", repr(self.engine))


class AllGather(Collective):
    """Every GPU gets all GPUs' parts, `elements` / n from each.

    link_bytes = (n - 1) / n size.  flops = 0.  min_bytes = size / n + size.
    """

    __slots__ = ()
    op = "all_gather"
    example = "all_gather(elements=1048576,num_gpus=8,dtype=bf16)"

    @property
    def flops(self) -> Amount:
        return 0.0 * self.elements

    @property
    def output_bytes(self) -> Amount:
        return self.size_bytes

    @property
    def min_bytes(self) -> Amount:
        return self.size_bytes / self.num_gpus + self.size_bytes


class ReduceScatter(Collective):
    """Every GPU gets its part, `elements` / n, of the sum of all GPUs' tensors.

    link_bytes = (n - 1) / n size.  flops = (n - 1) / n elements.  min_bytes = size + size / n.
    """

    __slots__ = ()
    op = "reduce_scatter"
    example = "reduce_scatter(elements=1048576,num_gpus=8,dtype=bf16)"

    @property
    def flops(self) -> Amount:
        return self.link_factor * self.elements

    @property
    def output_bytes(self) -> Amount:
        return self.size_bytes / self.num_gpus

    @property
    def min_bytes(self) -> Amount:
        return self.size_bytes + self.size_bytes / self.num_gpus


class AllToAll(Collective):
    """Every GPU sends a different n-th part of its tensor to each other GPU.

    link_bytes = (n - 1) / n size.  flops = 0.  min_bytes = 2 size.
    """

    __slots__ = ()
    op = "alltoall"
    example = "alltoall(elements=1048576,num_gpus=8,dtype=bf16)"

    @property
    def flops(self) -> Amount:
        return 0.0 * self.elements

    @property
    def output_bytes(self) -> Amount:
        return self.size_bytes

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.size_bytes
