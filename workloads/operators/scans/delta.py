"""Delta rules: attention whose memory is one matrix a head, corrected by each token and forgotten at a rate.

    S_t = a_t S_(t-1) + b_t k_t (v_t - S_(t-1)^T k_t)^T,  o_t = S_t^T q_t

with S of key_dim x value_dim. a_t is a number a head in gated delta networks (Yang et al., arXiv 2412.06464, eq. 10),
one for each feature of a key in Kimi's delta attention (Kimi Linear, arXiv 2510.26692, eq. 1).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of

STATE_FLOPS = 6.0
"""Of a token and an element of the state: one multiply-add each for S^T k, for k u^T, and for S^T q."""
CORRECTION_FLOPS = 2.0
"""Of a token and a feature of a value: v - S^T k, times b."""
NORM_FLOPS = 3.0
"""Of an element of a query or key that is normalised: square and add, times 1 / length."""
NUMBER = bytes_of("fp32")


class DeltaRule(Operator):
    """What all four have in common."""

    __slots__ = ()

    batch: Count
    heads: Count
    seq_q: Count
    key_dim: Count
    value_dim: Count
    state_dtype: str

    @property
    @abstractmethod
    def query_heads(self) -> Count:
        """Heads of queries and of keys."""

    @property
    @abstractmethod
    def decays(self) -> Amount:
        """Rates of forgetting of a token."""

    @property
    @abstractmethod
    def gate_bytes(self) -> Amount:
        """What rates of forgetting and of learning are told by, of a token [B]."""

    @property
    def tokens(self) -> Amount:
        """Tokens of all sequences."""
        return 1.0 * self.batch * self.seq_q

    @property
    def state_elements(self) -> Amount:
        """Elements of the states of all sequences and heads."""
        return 1.0 * self.batch * self.heads * self.key_dim * self.value_dim

    @property
    def read_elements(self) -> Amount:
        """Elements of a token's queries, keys and values."""
        return 2.0 * self.query_heads * self.key_dim + 1.0 * self.heads * self.value_dim

    @property
    def token_bytes(self) -> Amount:
        """What a token reads and writes: queries, keys, values, gates, and the result [B]."""
        result = 1.0 * self.heads * self.value_dim
        return bytes_of(self.dtype) * (self.read_elements + result) + self.gate_bytes

    @property
    @abstractmethod
    def kept_bytes(self) -> Amount:
        """The states, as they are read and written [B]."""

    @property
    def min_bytes(self) -> Amount:
        return self.tokens * self.token_bytes + self.kept_bytes

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.tokens * self.heads * self.value_dim

    @property
    def special_ops(self) -> Amount:
        return self.tokens * self.decays

    @property
    def corrections(self) -> Amount:
        """Flops of v - S^T k and of its product with b."""
        return CORRECTION_FLOPS * self.tokens * self.heads * self.value_dim

    def check_relations(self) -> None:
        if np.any(np.mod(self.heads, self.query_heads) != 0):
            raise ParameterError(self.op, "heads", f"a multiple of key_heads = {self.query_heads}", str(self.heads))


class DeltaPrefill(DeltaRule):
    """A delta rule over prompts, as its chunked form computes it: by products of matrices.

    flops = tokens heads (6 key_dim value_dim + 2 value_dim), and 6 tokens key_heads key_dim where queries and keys are
    normalised. Decays are folded into products of a chunk, so they do not count by element of the state.
    min_bytes = tokens token_bytes + 2 carried state_elements b(state_dtype).
    """

    __slots__ = ()

    carried: Count
    normalized: Count

    @property
    def flops(self) -> Amount:
        norms = 2.0 * NORM_FLOPS * self.normalized * self.tokens * self.query_heads * self.key_dim
        return self.matmul_flops + self.corrections + norms

    @property
    def matmul_flops(self) -> Amount:
        return STATE_FLOPS * self.seq_q * self.state_elements

    @property
    def carried_bytes(self) -> Amount:
        """The states that a prompt begins with, or leaves [B]."""
        return bytes_of(self.state_dtype) * self.carried * self.state_elements

    @property
    def written_bytes(self) -> Amount:
        """Results and the states that are left [B]."""
        return self.output_bytes + self.carried_bytes

    @property
    def kept_bytes(self) -> Amount:
        return 2.0 * self.carried_bytes

    def check_relations(self) -> None:
        DeltaRule.check_relations(self)
        for name in ("carried", "normalized"):
            if np.any(np.greater(getattr(self, name), 1)):
                raise ParameterError(self.op, name, "0 or 1", str(getattr(self, name)))


class DeltaDecode(DeltaRule):
    """A delta rule's next tokens, one after another.

    flops = tokens heads (7 key_dim value_dim + 2 value_dim): a decay of each element of the state beside its products.
    min_bytes = tokens token_bytes + state_elements (b(state_dtype) + kept b(new_state_dtype)): states are read once and
    written once, or after each of `kept` tokens, as drafts that may be refused need them.
    """

    __slots__ = ()

    kept: Count
    new_state_dtype: str | None

    @property
    def flops(self) -> Amount:
        return (STATE_FLOPS + 1.0) * self.seq_q * self.state_elements + self.corrections

    @property
    def read_state_bytes(self) -> Amount:
        """The states before [B]."""
        return bytes_of(self.state_dtype) * self.state_elements

    @property
    def written_state_bytes(self) -> Amount:
        """The states after, all that are kept [B]."""
        return bytes_of(self.new_state_dtype or self.state_dtype) * self.kept * self.state_elements

    @property
    def written_bytes(self) -> Amount:
        """Results and states [B]."""
        return self.output_bytes + self.written_state_bytes

    @property
    def kept_bytes(self) -> Amount:
        return self.read_state_bytes + self.written_state_bytes

    def check_relations(self) -> None:
        DeltaRule.check_relations(self)
        if np.any(np.greater(self.kept, self.seq_q)):
            raise ParameterError(self.op, "kept", f"at most seq_q = {self.seq_q}", str(self.kept))


class _Gated(DeltaRule):
    """A rate of forgetting a head: gated delta networks."""

    __slots__ = ()

    key_heads: Count

    @property
    def query_heads(self) -> Count:
        return self.key_heads

    @property
    def decays(self) -> Amount:
        return 1.0 * self.heads

    @property
    def gate_bytes(self) -> Amount:
        return 2.0 * NUMBER * self.heads


class _FineGated(DeltaRule):
    """A rate of forgetting a feature of a key: Kimi's delta attention."""

    __slots__ = ()

    @property
    def query_heads(self) -> Count:
        return self.heads

    @property
    def decays(self) -> Amount:
        return 1.0 * self.heads * self.key_dim

    @property
    def gate_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.heads * (1.0 * self.key_dim + 1.0)


_BATCH, _HEADS = count_of("sequences"), count_of("value heads, each with a state")
_KEY_HEADS = count_of("heads of queries and of keys; a divisor of heads")
_KEY_DIM, _VALUE_DIM = count_of("elements of a key"), count_of("elements of a value")
_TOKENS = count_of("tokens of a sequence")
_CARRIED = count_of("1: begins with a state and leaves one; 0: begins with zeros and leaves none", minimum=0)
_NORMALIZED = count_of("1: queries and keys are normalised too; 0: they come normalised", minimum=0)
_KEPT = count_of("states that are written of each sequence")
_DTYPE, _STATE = dtype_of("type of queries, keys, values and results"), dtype_of("type of the states")
_NEW_STATE = dtype_of("type of the states that are written; none: state_dtype")


@dataclass(frozen=True, slots=True)
class GdnPrefill(_Gated, DeltaPrefill):
    """A gated delta network over prompts: `DeltaPrefill` with one decay a head; gates are two fp32 numbers."""

    op: ClassVar[str] = "gdn_prefill"
    example: ClassVar[str] = "gdn_prefill(batch=1,heads=32,key_heads=16,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=_BATCH)
    heads: Count = field(metadata=_HEADS)
    key_heads: Count = field(metadata=_KEY_HEADS)
    seq_q: Count = field(metadata=_TOKENS)
    key_dim: Count = field(default=128, metadata=_KEY_DIM)
    value_dim: Count = field(default=128, metadata=_VALUE_DIM)
    carried: Count = field(default=1, metadata=_CARRIED)
    normalized: Count = field(default=1, metadata=_NORMALIZED)
    dtype: str = field(default="bf16", metadata=_DTYPE)
    state_dtype: str = field(default="fp32", metadata=_STATE)


@dataclass(frozen=True, slots=True)
class KdaPrefill(_FineGated, DeltaPrefill):
    """Kimi's delta attention over prompts: `DeltaPrefill` with a decay for each feature of a key, in `dtype`."""

    op: ClassVar[str] = "kda_prefill"
    example: ClassVar[str] = "kda_prefill(batch=1,heads=32,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=_BATCH)
    heads: Count = field(metadata=_HEADS)
    seq_q: Count = field(metadata=_TOKENS)
    key_dim: Count = field(default=128, metadata=_KEY_DIM)
    value_dim: Count = field(default=128, metadata=_VALUE_DIM)
    carried: Count = field(default=1, metadata=_CARRIED)
    normalized: Count = field(default=1, metadata=_NORMALIZED)
    dtype: str = field(default="bf16", metadata=_DTYPE)
    state_dtype: str = field(default="fp32", metadata=_STATE)


@dataclass(frozen=True, slots=True)
class GdnDecode(_Gated, DeltaDecode):
    """A gated delta network's next tokens: `DeltaDecode` with one decay a head; gates are two fp32 numbers."""

    op: ClassVar[str] = "gdn_decode"
    example: ClassVar[str] = "gdn_decode(batch=64,heads=32,key_heads=16,dtype=bf16)"

    batch: Count = field(metadata=_BATCH)
    heads: Count = field(metadata=_HEADS)
    key_heads: Count = field(metadata=_KEY_HEADS)
    seq_q: Count = field(default=1, metadata=_TOKENS)
    key_dim: Count = field(default=128, metadata=_KEY_DIM)
    value_dim: Count = field(default=128, metadata=_VALUE_DIM)
    kept: Count = field(default=1, metadata=_KEPT)
    dtype: str = field(default="bf16", metadata=_DTYPE)
    state_dtype: str = field(default="fp32", metadata=_STATE)
    new_state_dtype: str | None = field(default=None, metadata=_NEW_STATE)


@dataclass(frozen=True, slots=True)
class KdaDecode(_FineGated, DeltaDecode):
    """Kimi's delta attention, its next tokens: `DeltaDecode` with a decay for each feature of a key, in `dtype`."""

    op: ClassVar[str] = "kda_decode"
    example: ClassVar[str] = "kda_decode(batch=64,heads=32,dtype=bf16)"

    batch: Count = field(metadata=_BATCH)
    heads: Count = field(metadata=_HEADS)
    seq_q: Count = field(default=1, metadata=_TOKENS)
    key_dim: Count = field(default=128, metadata=_KEY_DIM)
    value_dim: Count = field(default=128, metadata=_VALUE_DIM)
    kept: Count = field(default=1, metadata=_KEPT)
    dtype: str = field(default="bf16", metadata=_DTYPE)
    state_dtype: str = field(default="fp32", metadata=_STATE)
    new_state_dtype: str | None = field(default=None, metadata=_NEW_STATE)
