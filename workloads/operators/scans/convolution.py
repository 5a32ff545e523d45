"""Causal convolutions along the tokens, one filter a channel, with SiLU: what mixes neighbours before a scan."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import count_of, dtype_of

SILU_FLOPS = 4.0
"""Of x / (1 + exp(-x)): exp, addition, reciprocal and product."""
SILU_SPECIAL = 2.0
"""Of these, exp and reciprocal."""


class ShortConvolution(Operator):
    """What prompts and steps share.

    flops = elements (2 width + 4): a multiply-add a tap, and SiLU.
    """

    __slots__ = ()

    batch: Count
    channels: Count
    seq_q: Count
    width: Count

    @property
    def elements(self) -> Amount:
        """Results: a channel of a token each."""
        return 1.0 * self.batch * self.seq_q * self.channels

    @property
    def flops(self) -> Amount:
        return self.elements * (2.0 * self.width + SILU_FLOPS)

    @property
    def special_ops(self) -> Amount:
        return SILU_SPECIAL * self.elements

    @property
    def weight_bytes(self) -> Amount:
        """The filters of all channels [B]."""
        return bytes_of(self.dtype) * self.channels * self.width

    @property
    def window_bytes(self) -> Amount:
        """Of all sequences, the last width - 1 tokens, which the next ones are filtered with [B]."""
        return bytes_of(self.dtype) * self.batch * self.channels * (1.0 * self.width - 1.0)

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.elements

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + self.weight_bytes + self.kept_bytes

    @property
    @abstractmethod
    def kept_bytes(self) -> Amount:
        """The last tokens, as they are read and written [B]."""

    @property
    def written_bytes(self) -> Amount:
        """Results, and the last tokens that are kept [B]."""
        return self.output_bytes + self.window_bytes


@dataclass(frozen=True, slots=True)
class CausalConv1d(ShortConvolution):
    """A causal convolution of each channel over a prompt, with SiLU: y_t = silu(sum_j w_j x_(t - width + 1 + j)).

    min_bytes = b(dtype) (2 elements + channels width + batch channels (width - 1)): in, out, filters, and the last
    tokens, which are kept. Source: Dao-AILab/causal-conv1d.
    """

    op: ClassVar[str] = "causal_conv1d"
    example: ClassVar[str] = "causal_conv1d(batch=1,channels=8192,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    channels: Count = field(metadata=count_of("channels, each filtered by itself"))
    seq_q: Count = field(metadata=count_of("tokens of a sequence"))
    width: Count = field(default=4, metadata=count_of("taps of a filter"))
    calls: Count = field(default=1, metadata=count_of("kernels that channels are divided among: queries, keys, values"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of input, filters and output"))

    @property
    def kept_bytes(self) -> Amount:
        return self.window_bytes


@dataclass(frozen=True, slots=True)
class CausalConv1dUpdate(ShortConvolution):
    """The same for the next tokens of each sequence, whose last ones are kept.

    min_bytes = b(dtype) (2 elements + channels width + 2 batch channels (width - 1)): as a prompt's, and the tokens
    that were kept are read too.
    """

    op: ClassVar[str] = "causal_conv1d_update"
    example: ClassVar[str] = "causal_conv1d_update(batch=64,channels=8192,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    channels: Count = field(metadata=count_of("channels, each filtered by itself"))
    seq_q: Count = field(default=1, metadata=count_of("new tokens of a sequence"))
    width: Count = field(default=4, metadata=count_of("taps of a filter"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of input, filters and output"))

    @property
    def kept_bytes(self) -> Amount:
        return 2.0 * self.window_bytes
