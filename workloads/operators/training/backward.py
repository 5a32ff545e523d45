"""Operators of the backward pass and of the optimizer. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.hints import found
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.matmul import AttentionPrefill, EncoderAttention
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of

MASKS = ("causal", "none")
PRODUCTS = 5.0 / 2.0
"""Products of the backward pass over those of the forward pass."""


@dataclass(frozen=True, slots=True)
class AttentionBackward(Operator):
    """Gradients of fused attention, whose scores are computed again (Dao, FlashAttention-2, arXiv:2307.08691, alg. 2).

    flops = 10 head_dim batch heads pairs: five products, Q K^T again, dO V^T, P^T dO, dS^T Q and dS K, where the
    forward pass has two.  min_bytes: Q, O, dO, K and V are read, dQ, dK and dV written, and one fp32 number a row.
    """

    op: ClassVar[str] = "attention_backward"
    example: ClassVar[str] = (
        "attention_backward(batch=1,heads=32,kv_heads=8,head_dim=128,seq_q=2048,seq_kv=2048,dtype=bf16)"
    )

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads"))
    kv_heads: Count = field(metadata=count_of("key and value heads; divides heads"))
    head_dim: Count = field(metadata=count_of("width of one head"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence; under a causal mask at most seq_kv"))
    seq_kv: Count = field(metadata=count_of("tokens of a sequence, earlier ones included"))
    window: Count = field(default=0, metadata=count_of("keys a query sees, itself included; 0: all", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, keys, values and gradients"))
    mask: str = field(default="causal", metadata=label_of(f"which keys a query sees: {', '.join(MASKS)}"))

    @property
    def forward(self) -> AttentionPrefill | EncoderAttention:
        """The operator whose gradients these are."""
        sizes = (self.batch, self.heads, self.kv_heads, self.head_dim, self.seq_q, self.seq_kv)
        if self.mask == "none":
            return EncoderAttention(*sizes, dtype=self.dtype)
        return AttentionPrefill(*sizes, window=self.window, dtype=self.dtype)

    @property
    def flops(self) -> Amount:
        return PRODUCTS * self.forward.flops

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return self.forward.special_ops

    @property
    def query_bytes(self) -> Amount:
        """Bytes of the queries, of the result or of a gradient of either [B]."""
        return 1.0 * self.forward.output_bytes

    @property
    def key_bytes(self) -> Amount:
        """Bytes of keys and values that are read, or of their gradients [B]."""
        return 1.0 * self.forward.kv_bytes

    @property
    def output_bytes(self) -> Amount:
        return self.query_bytes + self.key_bytes

    @property
    def min_bytes(self) -> Amount:
        sums = bytes_of("fp32") * self.batch * self.heads * self.seq_q
        return 4.0 * self.query_bytes + 2.0 * self.key_bytes + sums

    def check_relations(self) -> None:
        if self.mask not in MASKS:
            raise ParameterError(self.op, "mask", f"one of {', '.join(MASKS)}", found(self.mask))
        if self.mask == "none" and np.any(self.window):
            raise ParameterError(self.op, "window", "0, since there is no mask", str(self.window))
        self.forward.check_relations()


@dataclass(frozen=True, slots=True)
class OptimizerStep(Operator):
    """A fused update of trained tensors: their gradients and states are read, tensors and states written in place.

    flops = elements flops_per_element.  min_bytes = elements (b(gradient_dtype) + 2 b(dtype)) + 2 state_bytes.
    """

    op: ClassVar[str] = "optimizer_step"
    example: ClassVar[str] = "optimizer_step(elements=16777216,state_bytes=134217728,dtype=bf16)"

    elements: Count = field(metadata=count_of("elements that are updated"))
    state_bytes: Count = field(metadata=count_of("bytes of states, read and written", minimum=0))
    flops_per_element: Count = field(default=12, metadata=count_of("flops for each element", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the tensors"))
    gradient_dtype: str | None = field(default=None, metadata=dtype_of("type of the gradients; none: dtype"))
    function: str = field(default="adamw", metadata=label_of("which optimizer"))

    @property
    def flops(self) -> Amount:
        return 1.0 * self.elements * self.flops_per_element

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.elements

    @property
    def written_bytes(self) -> Amount:
        """Bytes that the kernel writes: tensors and states [B]."""
        return self.output_bytes + 1.0 * self.state_bytes

    @property
    def min_bytes(self) -> Amount:
        gradients = bytes_of(self.gradient_dtype or self.dtype) * self.elements
        return gradients + 2.0 * self.written_bytes
