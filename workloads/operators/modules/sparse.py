"""DeepSeek's sparse attention as a module: latent attention over the keys that a light indexer chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.matmul import causal_pairs
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of

LATENT = 512
"""Width of the latent that stands for a token's keys and values (DeepSeek-V2, arXiv 2405.04434, kv_lora_rank)."""
ROTATED = 64
"""Elements of a key that carry its position (qk_rope_head_dim)."""
INDEX_WIDTH = 128
"""Width of an indexer's head (DeepSeek-V3.2, index_head_dim)."""


@dataclass(frozen=True, slots=True)
class SparseAttention(Operator):
    """The attention of DeepSeek-V3.2 and GLM-5 with its projections: a layer's part between its norms.

    A token sees min(j, top_k) of the j tokens up to it; the indexer scores all of them, with `index_heads` heads of 128
    (0: another layer's choice is taken). Queries and keys meet in the latent of 512, beside 64 rotated elements.

    flops = 2 tokens weights + 2 heads 1088 batch chosen_pairs + 2 index_heads 128 batch pairs, the last for the indexer
    (DeepSeek-V3.2 report, 2025, eq. 1), where weights are hidden (q_rank + 576) + q_rank heads (nope_dim + 64) + 512
    heads (nope_dim + value_dim) + heads value_dim hidden, and of the indexer q_rank index_heads 128 + hidden (128 +
    index_heads).  min_bytes: the module's input and output, its weights, and the cache of tokens that a query may see.
    """

    op: ClassVar[str] = "sparse_attention"
    example: ClassVar[str] = "sparse_attention(batch=1,heads=128,seq_q=4096,seq_kv=4096,dtype=fp8_block)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence; at most seq_kv"))
    seq_kv: Count = field(metadata=count_of("tokens of a sequence, earlier ones included"))
    hidden: Count = field(default=7168, metadata=count_of("width of a token"))
    q_rank: Count = field(default=1536, metadata=count_of("width that queries are projected through"))
    nope_dim: Count = field(default=128, metadata=count_of("elements of a head's query without position"))
    value_dim: Count = field(default=128, metadata=count_of("elements of a head's value"))
    index_heads: Count = field(default=64, metadata=count_of("heads of the indexer; 0: none", minimum=0))
    top_k: Count = field(default=2048, metadata=count_of("keys that a query sees"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that projections multiply"))
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the KV cache; none: bf16"))

    @property
    def tokens(self) -> Amount:
        """Query tokens of all sequences."""
        return 1.0 * self.batch * self.seq_q

    @property
    def pairs(self) -> Amount:
        """(query, key) pairs of a sequence that the indexer scores."""
        return causal_pairs(self.seq_q, self.seq_kv, 0)

    @property
    def chosen_pairs(self) -> Amount:
        """(query, key) pairs of a sequence that attention computes."""
        return causal_pairs(self.seq_q, self.seq_kv, self.top_k)

    @property
    def weights(self) -> Amount:
        """Elements of all projections."""
        heads, into = 1.0 * self.heads, 1.0 * self.hidden * (self.q_rank + LATENT + ROTATED)
        of_head = 1.0 * self.q_rank * (self.nope_dim + ROTATED) + 1.0 * LATENT * (self.nope_dim + self.value_dim)
        indexed = np.minimum(self.index_heads, 1)
        of_indexer = 1.0 * self.index_heads * (self.q_rank * INDEX_WIDTH + self.hidden)
        out = heads * self.value_dim * self.hidden
        return into + heads * of_head + out + of_indexer + indexed * (1.0 * self.hidden * INDEX_WIDTH)

    @property
    def flops(self) -> Amount:
        attention = 2.0 * self.heads * (2 * LATENT + ROTATED) * self.batch * self.chosen_pairs
        scores = 2.0 * self.index_heads * INDEX_WIDTH * self.batch * self.pairs
        return 2.0 * self.tokens * self.weights + attention + scores

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.heads * self.batch * self.chosen_pairs

    @property
    def output_bytes(self) -> Amount:
        return bytes_of("bf16") * self.tokens * self.hidden

    @property
    def cache_bytes(self) -> Amount:
        """Latents of all tokens, and the indexer's keys [B]: a query may choose any."""
        indexed = np.minimum(self.index_heads, 1) * INDEX_WIDTH * bytes_of("fp8")
        token = (LATENT + ROTATED) * bytes_of(self.kv_dtype or "bf16") + indexed
        seen = np.minimum(1.0 * self.seq_kv, 1.0 * self.seq_q * self.top_k)
        return self.batch * seen * token

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + bytes_of(self.dtype) * self.weights + self.cache_bytes

    def check_relations(self) -> None:
        if np.any(np.greater(self.seq_q, self.seq_kv)):
            raise ParameterError(self.op, "seq_q", f"at most seq_kv = {self.seq_kv}", str(self.seq_q))
