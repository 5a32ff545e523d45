"""Gradients of latent attention over expanded keys and values. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.latent.mla import MlaPrefill
from simexplore.workloads.operators.parameters import count_of, dtype_of


@dataclass(frozen=True, slots=True)
class MlaBackward(Operator):
    """Gradients of `mla_prefill`: as those of fused attention, with keys wider than values.

    With d = nope_dim + rope_dim, three of the five products are d wide (Q K^T again, dS^T Q and dS K) and two v_dim
    (dO V^T and P^T dO); Dao, FlashAttention-2, arXiv:2307.08691, algorithm 2.

    flops = 2 batch heads pairs (3 d + 2 v_dim).
    min_bytes: Q, O, dO, K and V are read, dQ, dK and dV written, and one fp32 number a row; the rotated part of keys
    and its gradient once for all heads.
    """

    op: ClassVar[str] = "mla_backward"
    example: ClassVar[str] = "mla_backward(batch=1,heads=128,seq_q=4096,seq_kv=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads on this GPU"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence; at most seq_kv"))
    seq_kv: Count = field(metadata=count_of("tokens of a sequence, earlier ones included"))
    nope_dim: Count = field(default=128, metadata=count_of("features of a head's queries and keys without rotation"))
    rope_dim: Count = field(default=64, metadata=count_of("features that are rotated; keys share them"))
    v_dim: Count = field(default=128, metadata=count_of("features of a head's values"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, keys, values and gradients"))

    @property
    def forward(self) -> MlaPrefill:
        """The operator whose gradients these are."""
        sizes = (self.batch, self.heads, self.seq_q, self.seq_kv, self.nope_dim, self.rope_dim, self.v_dim)
        return MlaPrefill(*sizes, dtype=self.dtype)

    @property
    def key_dim(self) -> Amount:
        """Features of a head's queries and keys."""
        return 1.0 * self.nope_dim + self.rope_dim

    @property
    def products(self) -> Amount:
        """Flops of the backward pass over those of the forward pass."""
        return (3.0 * self.key_dim + 2.0 * self.v_dim) / (self.key_dim + self.v_dim)

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.heads * self.forward.pairs * (3.0 * self.key_dim + 2.0 * self.v_dim)

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return self.forward.special_ops

    @property
    def query_bytes(self) -> Amount:
        """Bytes of the queries, or of their gradient [B]."""
        return self.forward.query_bytes

    @property
    def result_bytes(self) -> Amount:
        """Bytes of the result, or of its gradient [B]."""
        return self.forward.output_bytes

    @property
    def key_bytes(self) -> Amount:
        """Bytes of keys and values, or of their gradients [B]."""
        return self.forward.kv_bytes

    @property
    def output_bytes(self) -> Amount:
        return self.query_bytes + self.key_bytes

    @property
    def min_bytes(self) -> Amount:
        sums = bytes_of("fp32") * self.batch * self.heads * self.seq_q
        return 2.0 * (self.query_bytes + self.result_bytes + self.key_bytes) + sums

    def check_relations(self) -> None:
        self.forward.check_relations()
