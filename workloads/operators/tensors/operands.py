"""The tensors that an operator reads, by their bytes, for memory over time.

A kind of operator has its lines here where it reads more than one thing, or less than it holds. Fields are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.filters import ConvTranspose
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.conv import Conv, Conv2d
from simexplore.workloads.operators.experts.moe import Moe
from simexplore.workloads.operators.host.search import GraphSearch
from simexplore.workloads.operators.host.work import HostWork, Transfer
from simexplore.workloads.operators.latent.mla import MlaDecode, MlaPrefill
from simexplore.workloads.operators.matmul import Attention, Bmm, EncoderAttention, Gemm
from simexplore.workloads.operators.memory import (
    INDEX_BYTES,
    Embedding,
)
from simexplore.workloads.operators.modules.latent import LatentModule
from simexplore.workloads.operators.modules.ragged import RaggedAttention
from simexplore.workloads.operators.modules.sparse import SparseAttention
from simexplore.workloads.operators.neural import FusedMlp, GridEncoding
from simexplore.workloads.operators.scans.convolution import ShortConvolution
from simexplore.workloads.operators.scans.delta import DeltaRule
from simexplore.workloads.operators.scans.statespace import StateSpace
from simexplore.workloads.operators.training.backward import AttentionBackward, OptimizerStep
from simexplore.workloads.operators.training.experts import MoeBackward
from simexplore.workloads.operators.training.svd import Svd


@singledispatch
def operand_bytes(op: Operator) -> Mapping[str, float]:
    """Bytes of what an operator reads, by what it is: all of it is in memory while the operator runs [B]."""
    return {"inputs": float(op.min_bytes - op.output_bytes)}


@operand_bytes.register(Transfer)
@operand_bytes.register(HostWork)
@operand_bytes.register(GraphSearch)
def _(op: Transfer | HostWork | GraphSearch) -> Mapping[str, float]:  # noqa: ARG001
    """What they read is where other nodes, or the graph itself, have put it."""
    return {}


@operand_bytes.register
def _(op: Gemm) -> Mapping[str, float]:
    weights = bytes_of(op.weight_dtype or op.dtype) * op.batch * op.k * op.n
    return {"activations": float(op.min_bytes - op.output_bytes - weights), "weights": float(weights)}


@operand_bytes.register
def _(op: Bmm) -> Mapping[str, float]:
    return {"inputs": float(op.min_bytes - op.output_bytes)}


@operand_bytes.register
def _(op: Attention | RaggedAttention) -> Mapping[str, float]:
    return {"queries": float(op.output_bytes), "kv_cache": float(op.kv_bytes)}


@operand_bytes.register
def _(op: EncoderAttention) -> Mapping[str, float]:
    mask = {"mask": float(op.mask_bytes)} if op.mask_elements else {}
    return {"queries": float(op.output_bytes), "keys_and_values": float(op.kv_bytes), **mask}


@operand_bytes.register
def _(op: MlaPrefill | MlaDecode) -> Mapping[str, float]:
    """Prefill reads keys and values that were expanded for it; decode reads the cache."""
    keys = "keys_and_values" if isinstance(op, MlaPrefill) else "kv_cache"
    return {"queries": float(op.query_bytes), keys: float(op.kv_bytes)}


@operand_bytes.register
def _(op: Moe) -> Mapping[str, float]:
    return {"tokens": float(op.output_bytes), "weights": float(op.weight_bytes)}


@operand_bytes.register
def _(op: SparseAttention) -> Mapping[str, float]:
    weights = float(bytes_of(op.dtype) * op.weights)
    return {"activations": float(op.output_bytes), "weights": weights, "kv_cache": float(op.cache_bytes)}


@operand_bytes.register
def _(op: LatentModule) -> Mapping[str, float]:
    return {
        "activations": float(op.output_bytes),
        "weights": float(op.weight_bytes),
        "kv_cache": float(op.cache_bytes),
    }


@operand_bytes.register
def _(op: Conv2d | Conv | ConvTranspose) -> Mapping[str, float]:
    return {"images": float(op.image_bytes), "filters": float(op.filter_bytes)}


@operand_bytes.register
def _(op: ShortConvolution | DeltaRule | StateSpace) -> Mapping[str, float]:
    """States count as they are read and as they are written: engines' kernels write them elsewhere, or in place."""
    states = float(op.kept_bytes)
    return {"inputs": float(op.min_bytes - op.output_bytes) - states, "states": states}


@operand_bytes.register
def _(op: Embedding) -> Mapping[str, float]:
    return {
        "tokens": INDEX_BYTES * float(op.tokens),
        "table": bytes_of(op.dtype) * float(op.vocabulary) * float(op.width),
    }


@operand_bytes.register
def _(op: GridEncoding) -> Mapping[str, float]:
    return {"points": float(op.queries * op.stride_bytes), "tables": float(op.table_bytes)}


@operand_bytes.register
def _(op: FusedMlp) -> Mapping[str, float]:
    element = bytes_of(op.dtype)
    return {"inputs": element * float(op.queries * op.inputs), "weights": element * float(op.weights)}


@operand_bytes.register
def _(op: AttentionBackward) -> Mapping[str, float]:
    """Queries, result and its gradient; the sum of each row is among what is left."""
    activations = float(op.min_bytes - op.output_bytes - op.key_bytes)
    return {"activations": activations, "keys_and_values": float(op.key_bytes)}


@operand_bytes.register
def _(op: OptimizerStep) -> Mapping[str, float]:
    gradients = float(op.min_bytes) - 2.0 * float(op.written_bytes)
    return {"gradients": gradients, "weights": float(op.output_bytes), "states": float(op.state_bytes)}


@operand_bytes.register
def _(op: MoeBackward) -> Mapping[str, float]:
    weights = {"weights": float(op.weight_bytes)} if not op.of_weights else {}
    return {"activations": float(op.read_bytes), **weights}


@operand_bytes.register
def _(op: Svd) -> Mapping[str, float]:
    """One matrix at a time, whose vectors are its result."""
    return {"matrix": bytes_of(op.dtype) * float(op.long * op.short)}
