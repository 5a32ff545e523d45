"""Nodes of a language model in the making."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simexplore.workloads.families.decoder.options import Options, Sizes
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.graph import Node
from simexplore.workloads.operators.base import Count
from simexplore.workloads.ops import AllReduce, Attention, CustomAllReduce, Gemm, MlaDecode, MlaPrefill, Operator

ATTENTION, PREFILL, DECODE = "attention", "prefill_attention", "decode_attention"
"""A layer's nodes of attention: of a prefill or a decode step, and the two of a step of both."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A model's share and how many tokens go through it."""

    share: Decoder
    options: Options
    tokens: Count
    sampled: Count
    """Tokens that go through the output head."""
    sizes: Sizes | None = None
    """Of a step of sequences and pieces of prompts."""

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
        elements, dtype = self.tokens * self.share.hidden, self.options.activation_dtype
        engine = self.options.summed_by
        if engine is None:
            return AllReduce(elements, self.options.tensor_parallel, dtype)
        return CustomAllReduce(elements, self.options.tensor_parallel, dtype, engine)


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

    def beside(self, name: str, op: Operator, group: str) -> None:
        """A node that needs none before it, and that only those need which say so."""
        self.nodes.append(Node.of(name, op, group=group))
