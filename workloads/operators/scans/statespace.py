"""State-space duality of Mamba-2: a state of head_dim x state_dim a head, which decays at a rate that tokens choose.

    h_t = a_t h_(t-1) + dt_t x_t B_t^T,  y_t = h_t C_t + D x_t          (Dao and Gu, arXiv 2405.21060, eq. 5 and 6)

B and C are shared by the heads of a group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of

STATE_FLOPS = 4.0
"""Of a token and an element of the state: one multiply-add each for x B^T and for h C."""
SKIP_FLOPS = 3.0
"""Of a token and an element of x: times dt, and a multiply-add of D x."""


class StateSpace(Operator):
    """What prompts and steps share.

    min_bytes = tokens ((2 heads head_dim + 2 groups state_dim + heads) b(dtype)) + states read and written.
    """

    __slots__ = ()

    batch: Count
    heads: Count
    seq_q: Count
    head_dim: Count
    state_dim: Count
    groups: Count
    state_dtype: str

    @property
    def tokens(self) -> Amount:
        """Tokens of all sequences."""
        return 1.0 * self.batch * self.seq_q

    @property
    def state_elements(self) -> Amount:
        """Elements of the states of all sequences and heads."""
        return 1.0 * self.batch * self.heads * self.head_dim * self.state_dim

    @property
    def state_bytes(self) -> Amount:
        """The states, once [B]."""
        return bytes_of(self.state_dtype) * self.state_elements

    @property
    def inner(self) -> Amount:
        """Elements of x of a token."""
        return 1.0 * self.heads * self.head_dim

    @property
    def token_bytes(self) -> Amount:
        """What a token reads and writes: x, B, C, dt, and the result [B]."""
        return bytes_of(self.dtype) * (2.0 * self.inner + 2.0 * self.groups * self.state_dim + 1.0 * self.heads)

    @property
    def special_ops(self) -> Amount:
        """softplus of dt, two, and exp of the decay."""
        return 3.0 * self.tokens * self.heads

    @property
    def skips(self) -> Amount:
        """Flops of dt x and D x."""
        return SKIP_FLOPS * self.tokens * self.inner

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.tokens * self.inner

    @property
    def written_bytes(self) -> Amount:
        """Results and states [B]."""
        return self.output_bytes + self.state_bytes

    @property
    def kept_bytes(self) -> Amount:
        """The states, as they are read and written [B]."""
        return 2.0 * self.state_bytes

    @property
    def min_bytes(self) -> Amount:
        return self.tokens * self.token_bytes + self.kept_bytes

    def check_relations(self) -> None:
        if np.any(np.mod(self.heads, self.groups) != 0):
            raise ParameterError(self.op, "heads", f"a multiple of groups = {self.groups}", str(self.heads))


_BATCH, _HEADS = count_of("sequences"), count_of("heads, each with a state")
_TOKENS, _HEAD_DIM = count_of("tokens of a sequence"), count_of("elements of a head's x")
_STATE_DIM, _GROUPS = count_of("elements of B and of C"), count_of("B and C of a token; a divisor of heads")
_DTYPE, _STATE = dtype_of("type of x, B, C and results"), dtype_of("type of the states")


@dataclass(frozen=True, slots=True)
class SsdPrefill(StateSpace):
    """Mamba-2 over prompts, in the chunked form that multiplies matrices.

    flops = tokens heads (4 head_dim state_dim + 3 head_dim): decays are folded into products of a chunk.
    """

    op: ClassVar[str] = "ssd_prefill"
    example: ClassVar[str] = "ssd_prefill(batch=1,heads=128,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=_BATCH)
    heads: Count = field(metadata=_HEADS)
    seq_q: Count = field(metadata=_TOKENS)
    head_dim: Count = field(default=64, metadata=_HEAD_DIM)
    state_dim: Count = field(default=128, metadata=_STATE_DIM)
    groups: Count = field(default=8, metadata=_GROUPS)
    chunk: Count = field(default=256, metadata=count_of("tokens of a chunk, which the model's file tells"))
    dtype: str = field(default="bf16", metadata=_DTYPE)
    state_dtype: str = field(default="fp32", metadata=_STATE)

    @property
    def flops(self) -> Amount:
        return self.matmul_flops + self.skips

    @property
    def matmul_flops(self) -> Amount:
        return STATE_FLOPS * self.seq_q * self.state_elements


@dataclass(frozen=True, slots=True)
class SsdDecode(StateSpace):
    """Mamba-2's next tokens.

    flops = tokens heads (5 head_dim state_dim + 3 head_dim): a decay of each element of the state beside its products.
    """

    op: ClassVar[str] = "ssd_decode"
    example: ClassVar[str] = "ssd_decode(batch=64,heads=128,dtype=bf16)"

    batch: Count = field(metadata=_BATCH)
    heads: Count = field(metadata=_HEADS)
    seq_q: Count = field(default=1, metadata=_TOKENS)
    head_dim: Count = field(default=64, metadata=_HEAD_DIM)
    state_dim: Count = field(default=128, metadata=_STATE_DIM)
    groups: Count = field(default=8, metadata=_GROUPS)
    dtype: str = field(default="bf16", metadata=_DTYPE)
    state_dtype: str = field(default="fp32", metadata=_STATE)

    @property
    def flops(self) -> Amount:
        return (STATE_FLOPS + 1.0) * self.seq_q * self.state_elements + self.skips
