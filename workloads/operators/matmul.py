"""Operators of the tensor cores: matrix multiplication and fused attention. Conventions: see `ops`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import (
    ParameterError,
    accumulate_of,
    check_accumulate,
    count_of,
    dtype_of,
)


@dataclass(frozen=True, slots=True)
class Gemm(Operator):
    """C[m,n] = A[m,k] B[k,n], `batch` independent ones. A holds activations, B weights.

    flops = 2 batch m n k.  min_bytes = batch (m k b(input) + k n b(weight) + m n b(output)), where the output of a
    GEMM on operands narrower than 16 bits is written in the activations' type (bf16 when that is not given).
    Scales of quantised operands are not counted.
    """

    op: ClassVar[str] = "gemm"
    example: ClassVar[str] = "gemm(m=4096,n=4096,k=4096,dtype=bf16)"

    m: Count = field(metadata=count_of("rows of A and C: tokens"))
    n: Count = field(metadata=count_of("columns of B and C: output features"))
    k: Count = field(metadata=count_of("columns of A, rows of B: input features"))
    batch: Count = field(default=1, metadata=count_of("independent products of this shape"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that is multiplied"))
    weight_dtype: str | None = field(default=None, metadata=dtype_of("type B is stored in; none: dtype"))
    activation_dtype: str | None = field(
        default=None, metadata=dtype_of("type A arrives in, quantised to dtype by a kernel of its own; none: dtype")
    )
    accumulate: str | None = field(default=None, metadata=accumulate_of())

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.m * self.n * self.k

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def output_dtype(self) -> str:
        """Type of C: `dtype`, but never narrower than 16 bits."""
        return self.dtype if bytes_of(self.dtype) >= 2 else self.activation_dtype or "bf16"

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.output_dtype) * self.batch * self.m * self.n

    @property
    def min_bytes(self) -> Amount:
        a_bytes = bytes_of(self.activation_dtype or self.dtype) * self.batch * self.m * self.k
        b_bytes = bytes_of(self.weight_dtype or self.dtype) * self.batch * self.k * self.n
        return a_bytes + b_bytes + self.output_bytes

    def check_relations(self) -> None:
        check_accumulate(self.op, self.dtype, self.accumulate)


@dataclass(frozen=True, slots=True)
class Bmm(Gemm):
    """C[m,n] = A[m,k] B[k,n], `batch` independent ones, where other operators made both A and B.

    As `gemm` but for B, which no framework keeps: scores of attention that is not fused, or products of one head each.
    """

    op: ClassVar[str] = "bmm"
    example: ClassVar[str] = "bmm(m=128,n=512,k=128,batch=16,dtype=bf16)"


def causal_pairs(seq_q: Count, seq_kv: Count, window: Count) -> Amount:
    """(query, key) pairs of causal attention whose queries are the last `seq_q` of `seq_kv` tokens.

    The token at position j (from 1) sees min(j, w) keys, itself among them, where w is the window (0: all). With
    S(x) = sum of min(j, w) over j = 1..x = c (c + 1) / 2 + (x - c) w and c = min(x, w), the count is
    S(seq_kv) - S(seq_kv - seq_q). Exact up to 10**7 tokens.
    """
    tokens, width = np.asarray(seq_kv, dtype=np.float64), _window_keys(seq_kv, window)

    def seen_by_first(count: Amount) -> Amount:
        ramp = np.minimum(count, width)
        return ramp * (ramp + 1.0) / 2.0 + (count - ramp) * width

    return _plain(seen_by_first(tokens) - seen_by_first(tokens - seq_q))


def _window_keys(seq_kv: Count, window: Count) -> Amount:
    """Most keys that one query sees: the window, or all tokens."""
    return np.where(np.equal(window, 0), seq_kv, np.minimum(window, seq_kv)) * 1.0


def _plain(amount: Amount) -> Amount:
    """A float in place of numpy's scalar or 0-d array."""
    return amount if np.ndim(amount) else float(amount)


class Attention(Operator):
    """What prefill and decode share. Rotary embedding and the append to the KV cache come with it in a node's `module`.

    flops = 4 head_dim batch heads pairs: 2 for Q K^T and 2 for P V. The softmax is in `special_ops`, one exp per pair.
    min_bytes: Q and O once, and the keys and values that some query sees.
    """

    __slots__ = ()

    batch: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    seq_kv: Count
    window: Count
    kv_dtype: str | None

    @property
    @abstractmethod
    def pairs(self) -> Amount:
        """(query, key) pairs of one head of one sequence."""

    @property
    @abstractmethod
    def visible_tokens(self) -> Amount:
        """Tokens of one sequence whose key some query sees."""

    @property
    def flops(self) -> Amount:
        return 4.0 * self.head_dim * self.batch * self.heads * self.pairs

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.batch * self.heads * self.pairs

    @property
    def kv_bytes(self) -> Amount:
        """Bytes of the keys and values that are read [B]."""
        element_bytes = bytes_of(self.kv_dtype or self.dtype)
        return _plain(2.0 * element_bytes * self.batch * self.kv_heads * self.head_dim * self.visible_tokens)

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + self.kv_bytes

    def check_relations(self) -> None:
        if np.any(np.remainder(self.heads, self.kv_heads)):
            raise ParameterError(self.op, "kv_heads", f"a divisor of heads = {self.heads}", str(self.kv_heads))


@dataclass(frozen=True, slots=True)
class AttentionPrefill(Attention):
    """Causal self-attention of many query tokens: softmax(Q K^T / sqrt(head_dim)) V.

    Queries are the last `seq_q` of `seq_kv` tokens; the tokens before them are in the KV cache.
    pairs = `causal_pairs(seq_q, seq_kv, window)`.  visible_tokens = min(seq_kv, window + seq_q - 1), window 0: seq_kv.
    """

    op: ClassVar[str] = "attention_prefill"
    example: ClassVar[str] = (
        "attention_prefill(batch=1,heads=32,kv_heads=8,head_dim=128,seq_q=2048,seq_kv=2048,dtype=bf16)"
    )

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads"))
    kv_heads: Count = field(metadata=count_of("key and value heads; divides heads"))
    head_dim: Count = field(metadata=count_of("width of one head"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence; at most seq_kv"))
    seq_kv: Count = field(metadata=count_of("tokens of a sequence, earlier ones included"))
    window: Count = field(default=0, metadata=count_of("keys a query sees, itself included; 0: all", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, products and output"))
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the KV cache; none: dtype"))

    @property
    def pairs(self) -> Amount:
        return causal_pairs(self.seq_q, self.seq_kv, self.window)

    @property
    def visible_tokens(self) -> Amount:
        return np.minimum(self.seq_kv, _window_keys(self.seq_kv, self.window) + self.seq_q - 1.0)

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.batch * self.heads * self.seq_q * self.head_dim

    def check_relations(self) -> None:
        Attention.check_relations(self)  # not super(): a slotted dataclass is not the class that super() remembers
        if np.any(np.greater(self.seq_q, self.seq_kv)):
            raise ParameterError(self.op, "seq_q", f"at most seq_kv = {self.seq_kv}", str(self.seq_q))


@dataclass(frozen=True, slots=True)
class AttentionDecode(Attention):
    """Attention of one new token per sequence over its KV cache.

    pairs = visible_tokens = min(seq_kv, window), window 0: seq_kv.
    """

    op: ClassVar[str] = "attention_decode"
    example: ClassVar[str] = "attention_decode(batch=8,heads=32,kv_heads=8,head_dim=128,seq_kv=8192,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads"))
    kv_heads: Count = field(metadata=count_of("key and value heads; divides heads"))
    head_dim: Count = field(metadata=count_of("width of one head"))
    seq_kv: Count = field(metadata=count_of("tokens in the KV cache of a sequence, the new one included"))
    window: Count = field(default=0, metadata=count_of("keys a query sees, itself included; 0: all", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, products and output"))
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the KV cache; none: dtype"))

    @property
    def pairs(self) -> Amount:
        return self.visible_tokens

    @property
    def visible_tokens(self) -> Amount:
        return _plain(_window_keys(self.seq_kv, self.window))

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.batch * self.heads * self.head_dim


@dataclass(frozen=True, slots=True)
class EncoderAttention(Attention):
    """Attention without a mask: every query sees every key, softmax(Q K^T / sqrt(head_dim)) V.

    Queries and keys may be those of one sequence (an encoder, a vision transformer, a diffusion model) or of two (cross
    attention); nothing is cached.  pairs = seq_q seq_kv.  visible_tokens = seq_kv.  A mask that is a tensor is added to
    the scores: min_bytes has its elements once.
    """

    op: ClassVar[str] = "encoder_attention"
    example: ClassVar[str] = (
        "encoder_attention(batch=8,heads=16,kv_heads=16,head_dim=64,seq_q=1024,seq_kv=1024,dtype=bf16)"
    )
    window: ClassVar[Count] = 0  # type: ignore[misc]  # no query has one

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("query heads"))
    kv_heads: Count = field(metadata=count_of("key and value heads; divides heads"))
    head_dim: Count = field(metadata=count_of("width of one head"))
    seq_q: Count = field(metadata=count_of("query tokens of a sequence"))
    seq_kv: Count = field(metadata=count_of("tokens whose keys they see"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, keys, values and output"))
    mask_elements: Count = field(
        default=0, metadata=count_of("elements of a mask that is added to the scores; 0: there is none", minimum=0)
    )
    kv_dtype: ClassVar[str | None] = None  # type: ignore[misc]  # keys come as the queries do

    @property
    def pairs(self) -> Amount:
        return 1.0 * self.seq_q * self.seq_kv

    @property
    def visible_tokens(self) -> Amount:
        return 1.0 * self.seq_kv

    @property
    def mask_bytes(self) -> Amount:
        """Bytes of the mask [B]."""
        return 1.0 * bytes_of(self.dtype) * self.mask_elements

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + self.kv_bytes + self.mask_bytes

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.batch * self.heads * self.seq_q * self.head_dim
