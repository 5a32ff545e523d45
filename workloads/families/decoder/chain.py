"""Nodes of a language model in the making."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simexplore.workloads.families.decoder.options import Options
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.graph import Node
from simexplore.workloads.ops import AllReduce, Attention, Gemm, MlaDecode, MlaPrefill, Operator


@dataclass(frozen=True, slots=True)
class Parts:
    """A model's share and how many tokens go through it."""

    share: Decoder
    options: Options
    tokens: int

    def gemm(self, out_features: int, in_features: int, *, wide: bool = False, heads: int = 1) -> Gemm:
        """A layer's GEMM, or one a head; what it reads is narrow already, where a norm or an activation wrote it so,
        unless `wide`."""
        dtype, activation = self.options.dtype, self.options.activation_dtype
        narrow = activation == dtype or (self.options.written_dtype is not None and not wide)
        quantised = None if narrow else activation
        return Gemm(
            m=self.tokens,
            n=out_features,
            k=in_features,
            batch=heads,
            dtype=dtype,
            weight_dtype=self.options.weight_dtype,
            activation_dtype=quantised,
        )

    def all_reduce(self) -> AllReduce:
        """The sum over GPUs of what they make of each token."""
        elements = self.tokens * self.share.hidden
        return AllReduce(elements, self.options.tensor_parallel, self.options.activation_dtype)


class Chain:
    """Nodes in the making, each after the one before and after what else it is told."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.last: tuple[str, ...] = ()
        self.residual: str | None = None
        """The node whose result holds the sum that the next residual addition needs."""

    def add(self, name: str, op: Operator, group: str, *also_after: str | None) -> str:
        """A node, and its name."""
        after = tuple(dict.fromkeys((*self.last, *(other for other in also_after if other is not None))))
        node = Node.of(name, op, after, group)
        self.nodes.append(replace(node, module=isinstance(op, Attention | MlaPrefill | MlaDecode)))
        self.last = (name,)
        return name
