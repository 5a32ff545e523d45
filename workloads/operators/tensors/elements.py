"""The elements of the tensors that an operator reads and writes, for edges of a graph. Fields are numbers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from itertools import combinations

from simexplore.workloads.operators.arrays.base import ArrayOperator
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.collectives import AllGather, Collective, ReduceScatter
from simexplore.workloads.operators.conv import Conv, Conv2d
from simexplore.workloads.operators.experts.moe import Moe
from simexplore.workloads.operators.latent.mla import MlaDecode, MlaPrefill
from simexplore.workloads.operators.matmul import Attention, AttentionPrefill, EncoderAttention, Gemm
from simexplore.workloads.operators.memory import (
    Elementwise,
    Embedding,
    Norm,
    Quantize,
    Rope,
    Softmax,
    StreamFma,
)
from simexplore.workloads.operators.modules.latent import LatentModule
from simexplore.workloads.operators.modules.sparse import SparseAttention
from simexplore.workloads.operators.naive import NaiveTiledGemm
from simexplore.workloads.operators.neural import FusedMlp, GridEncoding
from simexplore.workloads.operators.scans.convolution import ShortConvolution
from simexplore.workloads.operators.scans.delta import DeltaRule
from simexplore.workloads.operators.scans.statespace import StateSpace
from simexplore.workloads.operators.training.backward import AttentionBackward, OptimizerStep
from simexplore.workloads.operators.training.experts import MoeBackward
from simexplore.workloads.operators.training.latent import MlaBackward
from simexplore.workloads.operators.training.scans import CausalConv1dBackward, DeltaBackward, SsdBackward
from simexplore.workloads.operators.training.svd import Svd

Elements = tuple[float, ...]


@singledispatch
def elements_read(op: Operator) -> Elements:  # noqa: ARG001 - of most, sizes say nothing
    """Elements of each tensor that another operator may have made; none where sizes say nothing, as of indices."""
    return ()


@singledispatch
def elements_written(op: Operator) -> Elements:  # noqa: ARG001
    """Elements of each tensor that an operator makes; none where sizes say nothing."""
    return ()


def fit(writer: Operator, reader: Operator) -> bool:
    """Whether what one operator makes is of a size that the other reads: one tensor, or several side by side."""
    made, read = elements_written(writer), elements_read(reader)
    return not made or not read or not _sums(made).isdisjoint(_sums(read))


def _sums(sizes: Elements) -> set[float]:
    return {sum(some) for count in range(1, len(sizes) + 1) for some in combinations(sizes, count)}


def _numbers(amounts: Iterable[object]) -> Elements:
    return tuple(float(amount) for amount in amounts)  # type: ignore[arg-type]  # fields are numbers here


@elements_read.register
def _(op: Gemm) -> Elements:
    return _numbers((op.batch * op.m * op.k, op.batch * op.k * op.n))


@elements_written.register
def _(op: Gemm) -> Elements:
    return _numbers((op.batch * op.m * op.n,))


@elements_read.register
def _(op: NaiveTiledGemm) -> Elements:
    return _numbers((op.m * op.k, op.k * op.n))


@elements_written.register
def _(op: NaiveTiledGemm) -> Elements:
    return _numbers((op.m * op.n,))


@elements_read.register
def _(op: Attention) -> Elements:
    """Queries, and the keys and values of the new tokens or of all."""
    tokens = op.seq_q if isinstance(op, AttentionPrefill) else 1
    of_token, per_token = op.batch * op.heads * op.head_dim, op.batch * op.kv_heads * op.head_dim
    new, every = tokens * per_token, op.seq_kv * per_token
    return _numbers((of_token * tokens, new, new, *((every, every) if every != new else ())))


@elements_read.register
def _(op: EncoderAttention) -> Elements:
    per_token = op.batch * op.kv_heads * op.head_dim
    keys = op.seq_kv * per_token
    return _numbers((op.batch * op.heads * op.head_dim * op.seq_q, keys, keys))


@elements_written.register
def _(op: Attention) -> Elements:
    tokens = op.seq_q if isinstance(op, AttentionPrefill | EncoderAttention) else 1
    return _numbers((op.batch * op.heads * op.head_dim * tokens,))


@elements_read.register
def _(op: MlaPrefill) -> Elements:
    """Queries; keys and values of all heads; the rotated part of keys, which heads share."""
    tokens, queries = op.batch * op.seq_kv, op.batch * op.seq_q * op.heads
    keys, values = tokens * op.heads * op.nope_dim, tokens * op.heads * op.v_dim
    return _numbers((queries * (op.nope_dim + op.rope_dim), keys, values, tokens * op.rope_dim))


@elements_read.register
def _(op: MlaDecode) -> Elements:
    """Queries in the space of the latents and their rotated part; the new tokens' latents, the same two."""
    parts = (op.kv_lora_rank, op.rope_dim)
    return _numbers((*(op.batch * op.heads * part for part in parts), *(op.batch * part for part in parts)))


@elements_written.register
def _(op: MlaPrefill) -> Elements:
    return _numbers((op.batch * op.heads * op.seq_q * op.v_dim,))


@elements_written.register
def _(op: MlaDecode) -> Elements:
    return _numbers((op.batch * op.heads * op.kv_lora_rank,))


@elements_read.register
def _(op: Moe) -> Elements:
    """Tokens, and a logit of each for each expert."""
    return _numbers((op.num_tokens * op.hidden_size, op.num_tokens * op.num_experts))


@elements_written.register
def _(op: Moe) -> Elements:
    return _numbers((op.num_tokens * op.hidden_size,))


@elements_read.register
@elements_written.register
def _(op: SparseAttention | LatentModule) -> Elements:
    return _numbers((op.tokens * op.hidden,))


@elements_read.register
def _(op: Conv2d) -> Elements:
    return _numbers((op.batch * op.cin * op.hw**2, op.cout * op.cin * op.ksize**2))


@elements_written.register
def _(op: Conv2d) -> Elements:
    return _numbers((op.batch * op.cout * op.out**2,))


@elements_read.register
def _(op: Conv) -> Elements:
    voxels = op.depth * op.height * op.width
    return _numbers((op.batch * op.cin * voxels, op.cout * op.cin * op.taps / op.groups))


@elements_written.register
def _(op: Conv) -> Elements:
    return _numbers((op.batch * op.cout * op.positions,))


@elements_read.register
def _(op: ArrayOperator) -> Elements:
    return _numbers(op.elements_in)


@elements_written.register
def _(op: ArrayOperator) -> Elements:
    return _numbers(op.elements_out)


@elements_read.register
@elements_written.register
def _(op: ShortConvolution) -> Elements:
    return _numbers((op.elements,))


@elements_read.register
def _(op: DeltaRule) -> Elements:
    """Queries, keys and values; and for each token and head a rate of learning, and of forgetting."""
    keys, values = op.tokens * op.query_heads * op.key_dim, op.tokens * op.heads * op.value_dim
    return _numbers((keys, keys, values, op.tokens * op.heads, op.tokens * op.decays))


@elements_written.register
def _(op: DeltaRule) -> Elements:
    return _numbers((op.tokens * op.heads * op.value_dim,))


@elements_read.register
def _(op: StateSpace) -> Elements:
    """x, B, C and dt."""
    shared = op.tokens * op.groups * op.state_dim
    return _numbers((op.tokens * op.inner, shared, shared, op.tokens * op.heads))


@elements_written.register
def _(op: StateSpace) -> Elements:
    return _numbers((op.tokens * op.inner,))


@elements_read.register
def _(op: Elementwise) -> Elements:
    return _numbers([op.elements] * min(int(op.inputs), 2))


@elements_written.register
def _(op: Elementwise) -> Elements:
    return _numbers([op.elements] * min(int(op.outputs), 2))


@elements_written.register
def _(op: StreamFma) -> Elements:  # noqa: ARG001 - whatever it reads
    return (1.0,)


@elements_read.register
@elements_written.register
def _(op: Norm) -> Elements:
    return _numbers([op.rows * op.cols] * (1 + int(op.residual)))


@elements_read.register
@elements_written.register
def _(op: Rope) -> Elements:
    """Queries and keys."""
    return _numbers(op.tokens * heads * op.head_dim for heads in (op.heads, op.kv_heads))


@elements_read.register(Softmax)
@elements_read.register(Quantize)
@elements_written.register(Softmax)
@elements_written.register(Quantize)
def _(op: Softmax | Quantize) -> Elements:
    return _numbers((op.rows * op.cols,))


@elements_written.register
def _(op: Embedding) -> Elements:
    return _numbers((op.tokens * op.width,))


@elements_read.register
@elements_written.register
def _(op: Collective) -> Elements:
    return _numbers((op.elements,))


@elements_read.register
def _(op: AllGather) -> Elements:
    """One GPU's part; sizes that do not divide evenly are rounded up."""
    return _numbers((-(-op.elements // op.num_gpus),))


@elements_written.register
def _(op: ReduceScatter) -> Elements:
    return _numbers((-(-op.elements // op.num_gpus),))


@elements_written.register
def _(op: GridEncoding) -> Elements:
    return _numbers((op.queries * op.levels * op.features,))


@elements_read.register
def _(op: FusedMlp) -> Elements:
    return _numbers((op.queries * op.inputs,))


@elements_written.register
def _(op: FusedMlp) -> Elements:
    return _numbers((op.queries * op.padded_outputs,))


@elements_read.register
@elements_written.register
def _(op: AttentionBackward) -> Elements:
    """Queries, keys and values, side by side or apart; the result, and its gradient, which are of one size."""
    queries = op.batch * op.heads * op.head_dim * op.seq_q
    keys = op.batch * op.kv_heads * op.head_dim * op.seq_kv
    return _numbers((queries, keys, keys))


@elements_read.register
@elements_written.register
def _(op: OptimizerStep) -> Elements:
    return _numbers((op.elements,))


@elements_read.register
def _(op: MoeBackward) -> Elements:
    """The result's gradient; what the forward pass kept, or the other half made, by pair."""
    return _numbers((op.num_tokens * op.hidden_size, *op.between_elements))


@elements_read.register
def _(op: MlaBackward) -> Elements:
    """As of the forward pass; the result, and its gradient."""
    return (*elements_read(op.forward), *elements_written(op.forward))


@elements_written.register
def _(op: MlaBackward) -> Elements:
    return elements_read(op.forward)


@elements_read.register
def _(op: DeltaBackward | SsdBackward | CausalConv1dBackward) -> Elements:
    """As of the forward pass; the gradient is of the result's size."""
    return (*elements_read(op.forward), *elements_written(op.forward))


@elements_written.register
def _(op: MoeBackward | DeltaBackward | SsdBackward) -> Elements:
    return _numbers(op.written)


@elements_written.register
def _(op: CausalConv1dBackward) -> Elements:
    return elements_read(op.forward)


@elements_read.register
def _(op: Svd) -> Elements:
    return _numbers((op.long * op.short,))


@elements_written.register
def _(op: Svd) -> Elements:
    """Vectors of the long side, of the short side, and values."""
    return _numbers((op.long * op.short, op.short * op.short, op.short))
