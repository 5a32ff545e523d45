"""Multi-head latent attention as a module: projections, rotation, attention over latents, and the projection out.

The sizes are DeepSeek-V3's (arXiv 2412.19437, 4.2) unless others are given. Queries and latents are projected by one
matrix; queries then go through their norm and a second matrix. Prefill expands keys and values from the latents;
decode has that matrix absorbed: its query half before attention, its value half after it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.latent.mla import MlaDecode, MlaPrefill
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of

TOKEN_BYTES = bytes_of("bf16")
"""Of a feature of the module's input and output."""


class Projection(NamedTuple):
    """One of the module's products with weights."""

    rows: Any
    """Tokens."""
    n: Any
    k: Any
    heads: Any = 1
    """Products of this size, one a head."""
    expands: bool = False
    """Whether it is one with the expansion of latents, which engines keep in 16 bits (`kv_b_proj`)."""

    @property
    def weights(self) -> Amount:
        """Elements of the matrix, or of those of all heads."""
        elements: Amount = 1.0 * self.heads * self.n * self.k
        return elements


class LatentModule(Operator):
    """What both phases share.

    flops = those of attention + 2 rows n k heads of every projection.
    min_bytes = 2 tokens hidden 2 B + the weights' + batch seq_kv (kv_lora_rank + rope_dim) b(kv_dtype).
    """

    __slots__ = ()

    batch: Count
    heads: Count
    seq_kv: Count
    hidden: Count
    q_rank: Count
    nope_dim: Count
    rope_dim: Count
    v_dim: Count
    kv_lora_rank: Count
    kv_dtype: str | None

    @property
    @abstractmethod
    def tokens(self) -> Amount:
        """Query tokens of all sequences."""

    @property
    @abstractmethod
    def core(self) -> MlaPrefill | MlaDecode:
        """The attention itself."""

    @property
    @abstractmethod
    def expansions(self) -> tuple[Projection, ...]:
        """Products with the matrix that expands latents, in order."""

    @property
    def entering(self) -> Projection:
        """Hidden features to compressed queries and latents."""
        return Projection(self.tokens, np.add(self.q_rank, self.latent_width), self.hidden)

    @property
    def queries(self) -> Projection:
        """Compressed queries to those of all heads."""
        return Projection(self.tokens, np.multiply(self.heads, np.add(self.nope_dim, self.rope_dim)), self.q_rank)

    @property
    def leaving(self) -> Projection:
        """Values of all heads to hidden features."""
        return Projection(self.tokens, self.hidden, np.multiply(self.heads, self.v_dim))

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All of them, in order."""
        return (self.entering, self.queries, *self.expansions, self.leaving)

    @property
    def latent_width(self) -> Any:
        """Features of a token's cache."""
        return np.add(self.kv_lora_rank, self.rope_dim)

    def type_of(self, projection: Projection) -> str:
        """What a projection multiplies."""
        return self.wide if projection.expands else self.dtype

    @property
    def wide(self) -> str:
        """What is multiplied in 16 bits at least."""
        return self.dtype if bytes_of(self.dtype) >= TOKEN_BYTES else "bf16"

    @property
    def weight_bytes(self) -> Amount:
        """Bytes of all weights [B]."""
        total: Amount = sum(bytes_of(self.type_of(each)) * each.weights for each in self.projections)
        return total

    @property
    def cache_bytes(self) -> Amount:
        """Latents of all tokens, which are read or written [B]."""
        held: Amount = 1.0 * bytes_of(self.kv_dtype or self.wide) * self.batch * self.seq_kv * self.latent_width
        return held

    @property
    def flops(self) -> Amount:
        products: Amount = sum(2.0 * each.rows * each.weights for each in self.projections)
        return products + self.core.flops

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return self.core.special_ops

    @property
    def output_bytes(self) -> Amount:
        return TOKEN_BYTES * self.tokens * self.hidden

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + self.weight_bytes + self.cache_bytes


@dataclass(frozen=True, slots=True)
class MlaPrefillModule(LatentModule):
    """The module over many query tokens; latents of all `seq_kv` tokens are expanded."""

    op: ClassVar[str] = "mla_prefill_module"
    example: ClassVar[str] = "mla_prefill_module(batch=1,heads=128,seq_q=4096,seq_kv=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads on this GPU"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence; at most seq_kv"))
    seq_kv: Count = field(metadata=count_of("tokens of a sequence, earlier ones included"))
    hidden: Count = field(default=7168, metadata=count_of("width of a token"))
    q_rank: Count = field(default=1536, metadata=count_of("width that queries are projected through"))
    nope_dim: Count = field(default=128, metadata=count_of("features of a head's query and key that are not rotated"))
    rope_dim: Count = field(default=64, metadata=count_of("features that are rotated; keys share them"))
    v_dim: Count = field(default=128, metadata=count_of("features of a head's values"))
    kv_lora_rank: Count = field(default=512, metadata=count_of("features of the compressed keys and values"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that projections multiply"))
    kv_dtype: str | None = field(
        default=None, metadata=dtype_of("type of the cache; none: dtype, or bf16 where that is narrower")
    )
    attention_dtype: str | None = field(
        default=None, metadata=dtype_of("type that attention multiplies; none: dtype, or bf16 where that is narrower")
    )

    @property
    def tokens(self) -> Amount:
        return 1.0 * self.batch * self.seq_q

    @property
    def core(self) -> MlaPrefill:
        sizes = (self.nope_dim, self.rope_dim, self.v_dim, self.kv_lora_rank)
        types = (self.attention_dtype or self.wide, self.kv_dtype or self.wide)
        return MlaPrefill(self.batch, self.heads, self.seq_q, self.seq_kv, *sizes, *types)

    @property
    def expansions(self) -> tuple[Projection, ...]:
        wide = np.multiply(self.heads, np.add(self.nope_dim, self.v_dim))
        return (Projection(1.0 * self.batch * self.seq_kv, wide, self.kv_lora_rank, expands=True),)

    def check_relations(self) -> None:
        if np.any(np.greater(self.seq_q, self.seq_kv)):
            raise ParameterError(self.op, "seq_q", f"at most seq_kv = {self.seq_kv}", str(self.seq_q))


@dataclass(frozen=True, slots=True)
class MlaDecodeModule(LatentModule):
    """The module over one new token of each sequence."""

    op: ClassVar[str] = "mla_decode_module"
    example: ClassVar[str] = "mla_decode_module(batch=128,heads=16,seq_kv=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads on this GPU"))
    seq_kv: Count = field(metadata=count_of("tokens in the cache of a sequence, the new one included"))
    hidden: Count = field(default=7168, metadata=count_of("width of a token"))
    q_rank: Count = field(default=1536, metadata=count_of("width that queries are projected through"))
    nope_dim: Count = field(default=128, metadata=count_of("features of a head's query and key that are not rotated"))
    rope_dim: Count = field(default=64, metadata=count_of("features that are rotated; keys share them"))
    v_dim: Count = field(default=128, metadata=count_of("features of a head's values"))
    kv_lora_rank: Count = field(default=512, metadata=count_of("features of the compressed keys and values"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that projections multiply"))
    kv_dtype: str | None = field(
        default=None, metadata=dtype_of("type of the cache; none: dtype, or bf16 where that is narrower")
    )

    @property
    def tokens(self) -> Amount:
        return 1.0 * self.batch

    @property
    def core(self) -> MlaDecode:
        width = (self.kv_lora_rank, self.rope_dim)
        return MlaDecode(self.batch, self.heads, self.seq_kv, *width, self.wide, self.kv_dtype or self.wide)

    @property
    def expansions(self) -> tuple[Projection, ...]:
        rows, heads = self.tokens, self.heads
        return (
            Projection(rows, self.kv_lora_rank, self.nope_dim, heads, expands=True),
            Projection(rows, self.v_dim, self.kv_lora_rank, heads, expands=True),
        )
