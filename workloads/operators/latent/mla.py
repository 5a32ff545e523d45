"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are kept as one latent a token.

A token's cache is `kv_lora_rank` compressed features and `rope_dim` of its rotated key, for all heads. Prefill
attends to keys and values that were expanded from it; decode absorbs the expansion into query and output, and so
attends with `kv_lora_rank` + `rope_dim` features to the cache itself. Projections are operators of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.matmul import causal_pairs
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of


@dataclass(frozen=True, slots=True)
class MlaPrefill(Operator):
    """Causal attention of many query tokens over expanded keys and values, and their latents' append to the cache.

    flops = 2 batch heads pairs (nope_dim + rope_dim + v_dim), with pairs = `causal_pairs(seq_q, seq_kv)` of one head.
    min_bytes = batch heads b(dtype) (seq_q (nope_dim + rope_dim + v_dim) + seq_kv (nope_dim + v_dim))
              + batch seq_kv rope_dim b(dtype).
    """

    op: ClassVar[str] = "mla_prefill"
    example: ClassVar[str] = "mla_prefill(batch=1,heads=128,seq_q=4096,seq_kv=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads on this GPU"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence; at most seq_kv"))
    seq_kv: Count = field(metadata=count_of("tokens of a sequence, earlier ones included"))
    nope_dim: Count = field(default=128, metadata=count_of("features of a head's query and key that are not rotated"))
    rope_dim: Count = field(default=64, metadata=count_of("features that are rotated; keys share them"))
    v_dim: Count = field(default=128, metadata=count_of("features of a head's values"))
    kv_lora_rank: Count = field(default=512, metadata=count_of("features of the compressed keys and values"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, products and output"))
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the cache; none: dtype"))

    @property
    def pairs(self) -> Amount:
        """(query, key) pairs of one head of one sequence."""
        return causal_pairs(self.seq_q, self.seq_kv, 0)

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.heads * self.pairs * (self.nope_dim + self.rope_dim + self.v_dim)

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.batch * self.heads * self.pairs

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.batch * self.heads * self.seq_q * self.v_dim

    @property
    def query_bytes(self) -> Amount:
        """Bytes of the queries [B]."""
        return 1.0 * bytes_of(self.dtype) * self.batch * self.heads * self.seq_q * (self.nope_dim + self.rope_dim)

    @property
    def kv_bytes(self) -> Amount:
        """Bytes of the expanded keys and values, the rotated part of the keys once for all heads [B]."""
        of_token = 1.0 * self.heads * (self.nope_dim + self.v_dim) + self.rope_dim
        return 1.0 * bytes_of(self.dtype) * self.batch * self.seq_kv * of_token

    @property
    def min_bytes(self) -> Amount:
        return self.query_bytes + self.kv_bytes + self.output_bytes

    def check_relations(self) -> None:
        if np.any(np.greater(self.seq_q, self.seq_kv)):
            raise ParameterError(self.op, "seq_q", f"at most seq_kv = {self.seq_kv}", str(self.seq_q))


@dataclass(frozen=True, slots=True)
class MlaDecode(Operator):
    """Attention of one new token per sequence over its latents, the expansion absorbed into query and output.

    flops = 2 batch heads seq_kv (2 kv_lora_rank + rope_dim): scores over all features, values over the compressed.
    min_bytes = batch seq_kv (kv_lora_rank + rope_dim) b(kv_dtype) + batch heads (2 kv_lora_rank + rope_dim) b(dtype).
    """

    op: ClassVar[str] = "mla_decode"
    example: ClassVar[str] = "mla_decode(batch=128,heads=16,seq_kv=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads on this GPU"))
    seq_kv: Count = field(metadata=count_of("tokens in the cache of a sequence, the new one included"))
    kv_lora_rank: Count = field(default=512, metadata=count_of("features of the compressed keys and values"))
    rope_dim: Count = field(default=64, metadata=count_of("rotated features of a key, which heads share"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries and output"))
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the cache; none: dtype"))

    @property
    def width(self) -> Amount:
        """Features of a score: of a query head, and of a token's cache."""
        return 1.0 * self.kv_lora_rank + self.rope_dim

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.heads * self.seq_kv * (self.width + self.kv_lora_rank)

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.batch * self.heads * self.seq_kv

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.batch * self.heads * self.kv_lora_rank

    @property
    def query_bytes(self) -> Amount:
        """Bytes of the queries [B]."""
        return 1.0 * bytes_of(self.dtype) * self.batch * self.heads * self.width

    @property
    def kv_bytes(self) -> Amount:
        """Bytes of the cache that is read [B]."""
        return 1.0 * bytes_of(self.kv_dtype or self.dtype) * self.batch * self.seq_kv * self.width

    @property
    def min_bytes(self) -> Amount:
        return self.query_bytes + self.kv_bytes + self.output_bytes
