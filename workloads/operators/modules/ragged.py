"""Attention of sequences that have lengths of their own, as serving engines call it. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import ArrayOperator
from simexplore.workloads.operators.base import Amount, Count
from simexplore.workloads.operators.matmul import causal_pairs
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, lengths_of


@dataclass(frozen=True, slots=True)
class RaggedAttention(ArrayOperator):
    """Causal attention of sequences of several lengths in one call: `attention_prefill` of each, added up.

    `q_lengths` are the new tokens of each sequence, `kv_lengths` all of its tokens; a sequence with one new token is
    decoded. flops = 4 head_dim heads Σ pairs.  min_bytes = 2 heads head_dim b Σ q + 2 kv_heads head_dim b(KV) Σ kv.
    """

    op: ClassVar[str] = "ragged_attention"
    example: ClassVar[str] = (
        "ragged_attention(heads=32,kv_heads=8,head_dim=128,q_lengths=512+77+1,kv_lengths=512+1024+900,dtype=bf16)"
    )

    heads: Count = field(metadata=count_of("query heads"))
    kv_heads: Count = field(metadata=count_of("key and value heads; divides heads"))
    head_dim: Count = field(metadata=count_of("width of one head"))
    q_lengths: tuple[int, ...] = field(metadata=lengths_of("new tokens of each sequence"))
    kv_lengths: tuple[int, ...] = field(metadata=lengths_of("tokens of each sequence, earlier ones included"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, products and output"))
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the KV cache; none: dtype"))

    @property
    def pairs(self) -> float:
        """(query, key) pairs of one head of all sequences."""
        both = zip(self.q_lengths, self.kv_lengths, strict=True)
        return sum(float(causal_pairs(queries, keys, 0)) for queries, keys in both)

    @property
    def flops(self) -> Amount:
        return 4.0 * self.head_dim * self.heads * self.pairs

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.heads * self.pairs

    @property
    def kv_bytes(self) -> Amount:
        """Bytes of the keys and values that are read [B]."""
        element = bytes_of(self.kv_dtype or self.dtype)
        return 2.0 * element * self.kv_heads * self.head_dim * sum(self.kv_lengths)

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.heads * self.head_dim * sum(self.q_lengths)

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + self.kv_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        tokens, width = 1.0 * sum(self.q_lengths), self.head_dim
        new, every = tokens * self.kv_heads * width, 1.0 * sum(self.kv_lengths) * self.kv_heads * width
        return (tokens * self.heads * width, new, new, every, every)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (1.0 * sum(self.q_lengths) * self.heads * self.head_dim,)

    def check_relations(self) -> None:
        if np.any(np.remainder(self.heads, self.kv_heads)):
            raise ParameterError(self.op, "kv_heads", f"a divisor of heads = {self.heads}", str(self.kv_heads))
        if len(self.q_lengths) != len(self.kv_lengths):
            expected = f"a length for each of the {len(self.q_lengths)} sequences of q_lengths"
            raise ParameterError(self.op, "kv_lengths", expected, str(len(self.kv_lengths)))
        for queries, keys in zip(self.q_lengths, self.kv_lengths, strict=True):
            if queries > keys:
                raise ParameterError(self.op, "q_lengths", f"at most the sequence's {keys} tokens", str(queries))
