"""Gradients of scans along tokens: delta rules, state spaces, and the short convolutions before them. See `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of
from simexplore.workloads.operators.scans.convolution import SILU_FLOPS, CausalConv1d
from simexplore.workloads.operators.scans.delta import NUMBER, DeltaPrefill, GdnPrefill, KdaPrefill
from simexplore.workloads.operators.scans.statespace import SsdPrefill

TWICE = 2.0
"""Gradients of a product over the product: one for each of what was multiplied."""
CHUNK = 64.0
"""Tokens of a chunk whose inverted products the forward pass keeps (flash-linear-attention, `chunk_size`)."""
SLOPE_FLOPS = 6.0
"""Of an element: s (1 + x (1 - s)) of SiLU's s = 1 / (1 + exp(-x)), times the gradient; s itself is counted apart."""


@dataclass(frozen=True, slots=True)
class DeltaBackward(Operator):
    """Gradients of `gdn_prefill`, or with `fine=1` of `kda_prefill`, whose states are computed again.

    flops = tokens heads (16 key_dim value_dim + 4 value_dim), and 12 tokens key_heads key_dim where queries and keys
    are normalised: twice those of the forward pass, and the states once more, of which S^T k and k u^T are needed.
    min_bytes = what the forward pass reads of tokens, the gradient of its result, and gradients of all that was read;
    no state is carried. Kernels: flash-linear-attention, ops/gated_delta_rule and ops/kda, `chunk_*_bwd`.
    """

    op: ClassVar[str] = "delta_backward"
    example: ClassVar[str] = "delta_backward(batch=1,heads=32,key_heads=16,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("value heads, each with a state"))
    key_heads: Count = field(metadata=count_of("heads of queries and of keys; a divisor of heads"))
    seq_q: Count = field(metadata=count_of("tokens of a sequence"))
    key_dim: Count = field(default=128, metadata=count_of("elements of a key"))
    value_dim: Count = field(default=128, metadata=count_of("elements of a value"))
    fine: Count = field(default=0, metadata=count_of("1: a decay for each feature of a key; 0: one a head", minimum=0))
    normalized: Count = field(default=1, metadata=count_of("1: queries and keys are normalised too", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries, keys, values and gradients"))

    @property
    def forward(self) -> DeltaPrefill:
        """The operator whose gradients these are, which begins with zeros and leaves no state."""
        ends = {"carried": 0, "normalized": self.normalized, "dtype": self.dtype}
        if np.any(self.fine):
            sizes = (self.batch, self.heads, self.seq_q, self.key_dim, self.value_dim)
            return KdaPrefill(*sizes, **ends)  # type: ignore[arg-type]  # counts and a type
        sizes_of_few = (self.batch, self.heads, self.key_heads, self.seq_q, self.key_dim, self.value_dim)
        return GdnPrefill(*sizes_of_few, **ends)  # type: ignore[arg-type]

    @property
    def flops(self) -> Amount:
        of_products = self.forward.matmul_flops
        return TWICE * self.forward.flops + of_products * 2.0 / 3.0

    @property
    def matmul_flops(self) -> Amount:
        return (TWICE + 2.0 / 3.0) * self.forward.matmul_flops

    @property
    def special_ops(self) -> Amount:
        return self.forward.special_ops

    @property
    def gradient_bytes(self) -> Amount:
        """Gradients of queries, keys, values and rates, which are as wide as they are [B]."""
        op = self.forward
        return op.tokens * (bytes_of(self.dtype) * op.read_elements + op.gate_bytes)

    @property
    def written(self) -> tuple[Amount, ...]:
        """Elements of the gradients of queries, keys, values, and of both rates."""
        op = self.forward
        keys = op.tokens * op.query_heads * op.key_dim
        return keys, keys, op.tokens * op.heads * op.value_dim, op.tokens * op.heads, op.tokens * op.decays

    @property
    def output_bytes(self) -> Amount:
        """What operators before it read: gradients narrowed to `dtype` [B]."""
        return bytes_of(self.dtype) * sum(self.written)

    @property
    def min_bytes(self) -> Amount:
        op = self.forward
        return op.min_bytes + self.gradient_bytes

    def check_relations(self) -> None:
        if np.any(np.greater(self.fine, 1)):
            raise ParameterError(self.op, "fine", "0 or 1", str(self.fine))
        if np.any(self.fine) and not np.all(np.equal(self.key_heads, self.heads) & np.equal(self.fine, 1)):
            raise ParameterError(self.op, "key_heads", "as many as heads, with fine=1", str(self.key_heads))
        self.forward.check_relations()


@dataclass(frozen=True, slots=True)
class SsdBackward(Operator):
    """Gradients of `ssd_prefill`, whose states are computed again.

    flops = tokens heads (10 head_dim state_dim + 6 head_dim): twice those of the forward pass, and x B^T once more.
    min_bytes = what the forward pass reads of tokens, the gradient of its result, and gradients of all that was read.
    Kernels: state-spaces/mamba, ops/triton/ssd_combined.py, `_mamba_chunk_scan_combined_bwd`.
    """

    op: ClassVar[str] = "ssd_backward"
    example: ClassVar[str] = "ssd_backward(batch=1,heads=128,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    heads: Count = field(metadata=count_of("heads, each with a state"))
    seq_q: Count = field(metadata=count_of("tokens of a sequence"))
    head_dim: Count = field(default=64, metadata=count_of("elements of a head's x"))
    state_dim: Count = field(default=128, metadata=count_of("elements of B and of C"))
    groups: Count = field(default=8, metadata=count_of("B and C of a token; a divisor of heads"))
    chunk: Count = field(default=256, metadata=count_of("tokens of a chunk, which the model's file tells"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of x, B, C and gradients"))

    @property
    def forward(self) -> SsdPrefill:
        """The operator whose gradients these are."""
        sizes = (self.batch, self.heads, self.seq_q, self.head_dim, self.state_dim, self.groups, self.chunk)
        return SsdPrefill(*sizes, dtype=self.dtype)

    @property
    def flops(self) -> Amount:
        return self.matmul_flops + TWICE * self.forward.skips

    @property
    def matmul_flops(self) -> Amount:
        return (TWICE + 0.5) * self.forward.matmul_flops

    @property
    def special_ops(self) -> Amount:
        return self.forward.special_ops

    @property
    def written(self) -> tuple[Amount, ...]:
        """Elements of the gradients of x, B, C and dt."""
        op = self.forward
        shared = op.tokens * op.groups * op.state_dim
        return op.tokens * op.inner, shared, shared, op.tokens * op.heads

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * sum(self.written)

    @property
    def min_bytes(self) -> Amount:
        return self.forward.tokens * self.forward.token_bytes + self.output_bytes

    def check_relations(self) -> None:
        self.forward.check_relations()


@dataclass(frozen=True, slots=True)
class CausalConv1dBackward(Operator):
    """Gradients of `causal_conv1d`, of its input and of its filters, in one kernel (Dao-AILab/causal-conv1d).

    flops = elements (6 width + 10): the convolution and SiLU again, SiLU's slope, and a multiply-add a tap for either
    gradient.  min_bytes = b(dtype) (3 elements + 2 channels width): input and gradient in, gradient out, filters.
    """

    op: ClassVar[str] = "causal_conv1d_backward"
    example: ClassVar[str] = "causal_conv1d_backward(batch=1,channels=8192,seq_q=4096,dtype=bf16)"

    batch: Count = field(metadata=count_of("sequences"))
    channels: Count = field(metadata=count_of("channels, each filtered by itself"))
    seq_q: Count = field(metadata=count_of("tokens of a sequence"))
    width: Count = field(default=4, metadata=count_of("taps of a filter"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of input, filters and gradients"))

    @property
    def forward(self) -> CausalConv1d:
        """The operator whose gradients these are."""
        return CausalConv1d(self.batch, self.channels, self.seq_q, self.width, dtype=self.dtype)

    @property
    def flops(self) -> Amount:
        return self.forward.elements * (6.0 * self.width + SILU_FLOPS + SLOPE_FLOPS)

    @property
    def special_ops(self) -> Amount:
        return self.forward.special_ops

    @property
    def output_bytes(self) -> Amount:
        return self.forward.output_bytes

    @property
    def written_bytes(self) -> Amount:
        """The gradients of the input and of the filters [B]."""
        return self.output_bytes + self.forward.weight_bytes

    @property
    def min_bytes(self) -> Amount:
        return 3.0 * self.forward.output_bytes + 2.0 * self.forward.weight_bytes


def kept_bytes(op: DeltaPrefill) -> float:
    """What a forward pass keeps beside its result for `delta_backward` [B].

    The inverted products of each chunk, with fine decays those with queries too, the sums of decays in fp32, and where
    it normalises, queries and keys as they then are (flash-linear-attention, `save_for_backward`).
    """
    products = CHUNK * (2.0 if isinstance(op, KdaPrefill) else 1.0) * op.heads
    normalized = 2.0 * op.query_heads * op.key_dim * op.normalized
    return float(op.tokens * (bytes_of(op.dtype) * (products + normalized) + NUMBER * op.decays))
