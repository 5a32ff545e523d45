"""Operator families by name: frozen records with the work and the compulsory memory traffic of each.

Conventions: a fused multiply-add is 2 flops; sizes are counts of elements; bytes are compulsory, each operand moved
once (what a kernel moves beyond them is the mapping's business). In the equations `b(dtype)` is `dtypes.bytes_of`.
Fields are python integers, or numpy integer arrays of one shape, in which case every derived amount is an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from simexplore.workloads.hints import did_you_mean, found
from simexplore.workloads.operators.arrays.filters import ConvDilated, ConvTranspose
from simexplore.workloads.operators.arrays.indexed import Gather, Scatter
from simexplore.workloads.operators.arrays.norms import GroupNorm
from simexplore.workloads.operators.arrays.rows import Reduce, Scan, Sort, TopK
from simexplore.workloads.operators.arrays.windows import Pool, Resample
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.collectives import (
    AllGather,
    AllReduce,
    AllToAll,
    Collective,
    CustomAllReduce,
    ReduceScatter,
)
from simexplore.workloads.operators.conv import Conv, Conv2d
from simexplore.workloads.operators.experts.moe import Moe
from simexplore.workloads.operators.host.search import GraphSearch
from simexplore.workloads.operators.host.work import HostWork, Transfer
from simexplore.workloads.operators.latent.mla import MlaDecode, MlaPrefill
from simexplore.workloads.operators.matmul import (
    Attention,
    AttentionDecode,
    AttentionPrefill,
    Bmm,
    EncoderAttention,
    Gemm,
    causal_pairs,
)
from simexplore.workloads.operators.memory import (
    Add,
    Copy,
    Elementwise,
    Embedding,
    Gelu,
    LayerNorm,
    Mul,
    Norm,
    Pointwise,
    Quantize,
    Relu,
    RmsNorm,
    Rope,
    SiluMul,
    Softmax,
    StreamFma,
)
from simexplore.workloads.operators.modules.latent import LatentModule, MlaDecodeModule, MlaPrefillModule
from simexplore.workloads.operators.modules.ragged import RaggedAttention
from simexplore.workloads.operators.modules.sparse import SparseAttention
from simexplore.workloads.operators.naive import NaiveTiledGemm
from simexplore.workloads.operators.neural import FusedMlp, GridEncoding, HostRead, RayKernel
from simexplore.workloads.operators.parameters import ParameterError, from_values
from simexplore.workloads.operators.scans.convolution import CausalConv1d, CausalConv1dUpdate
from simexplore.workloads.operators.scans.delta import GdnDecode, GdnPrefill, KdaDecode, KdaPrefill
from simexplore.workloads.operators.scans.statespace import SsdDecode, SsdPrefill
from simexplore.workloads.operators.text import parse_call
from simexplore.workloads.operators.training.backward import AttentionBackward, OptimizerStep
from simexplore.workloads.operators.training.experts import MoeBackward
from simexplore.workloads.operators.training.latent import MlaBackward
from simexplore.workloads.operators.training.scans import CausalConv1dBackward, DeltaBackward, SsdBackward
from simexplore.workloads.operators.training.svd import Svd

__all__ = [
    "AROUND",
    "FAMILIES",
    "Add",
    "AllGather",
    "AllReduce",
    "AllToAll",
    "Amount",
    "Attention",
    "AttentionBackward",
    "AttentionDecode",
    "AttentionPrefill",
    "Bmm",
    "CausalConv1d",
    "CausalConv1dBackward",
    "CausalConv1dUpdate",
    "Collective",
    "Conv",
    "Conv2d",
    "ConvDilated",
    "ConvTranspose",
    "Copy",
    "Count",
    "CustomAllReduce",
    "DeltaBackward",
    "Elementwise",
    "Embedding",
    "EncoderAttention",
    "FusedMlp",
    "Gather",
    "GdnDecode",
    "GdnPrefill",
    "Gelu",
    "Gemm",
    "GraphSearch",
    "GridEncoding",
    "GroupNorm",
    "HostRead",
    "HostWork",
    "KdaDecode",
    "KdaPrefill",
    "LatentModule",
    "LayerNorm",
    "MlaBackward",
    "MlaDecode",
    "MlaDecodeModule",
    "MlaPrefill",
    "MlaPrefillModule",
    "Moe",
    "MoeBackward",
    "Mul",
    "NaiveTiledGemm",
    "Norm",
    "Operator",
    "OptimizerStep",
    "Pointwise",
    "Pool",
    "Quantize",
    "RaggedAttention",
    "RayKernel",
    "Reduce",
    "ReduceScatter",
    "Relu",
    "Resample",
    "RmsNorm",
    "Rope",
    "Scan",
    "Scatter",
    "SiluMul",
    "Softmax",
    "Sort",
    "SparseAttention",
    "SsdBackward",
    "SsdDecode",
    "SsdPrefill",
    "StreamFma",
    "Svd",
    "TopK",
    "Transfer",
    "causal_pairs",
    "make_operator",
    "parse_operator",
]

_FAMILIES: tuple[type[Operator], ...] = (
    Gemm,
    Bmm,
    NaiveTiledGemm,
    Conv2d,
    Conv,
    AttentionPrefill,
    AttentionDecode,
    MlaPrefill,
    MlaDecode,
    MlaPrefillModule,
    MlaDecodeModule,
    Moe,
    EncoderAttention,
    SparseAttention,
    RaggedAttention,
    CausalConv1d,
    CausalConv1dUpdate,
    GdnPrefill,
    GdnDecode,
    KdaPrefill,
    KdaDecode,
    SsdPrefill,
    SsdDecode,
    AttentionBackward,
    MoeBackward,
    MlaBackward,
    DeltaBackward,
    SsdBackward,
    CausalConv1dBackward,
    Pointwise,
    Add,
    Mul,
    Relu,
    Gelu,
    SiluMul,
    Copy,
    StreamFma,
    Softmax,
    LayerNorm,
    RmsNorm,
    Rope,
    Quantize,
    Embedding,
    ConvDilated,
    ConvTranspose,
    Pool,
    Resample,
    GroupNorm,
    Reduce,
    Scan,
    Sort,
    TopK,
    Gather,
    Scatter,
    OptimizerStep,
    Svd,
    AllReduce,
    CustomAllReduce,
    AllGather,
    ReduceScatter,
    AllToAll,
    GridEncoding,
    FusedMlp,
    RayKernel,
    HostRead,
)

FAMILIES: Mapping[str, type[Operator]] = MappingProxyType({family.op: family for family in _FAMILIES})
"""Class of every operator family, by the name it has on the command line and in tables."""


AROUND: Mapping[str, type[Operator]] = MappingProxyType(
    {family.op: family for family in (Transfer, HostWork, GraphSearch)}
)
"""What runs at places of a system that are no GPU: along a path of links, or on a CPU."""


def parse_operator(text: str) -> Operator:
    """The operator that a text such as `gemm(m=4096,n=4096,k=4096,dtype=bf16)` names.

    Raises:
        OperatorSyntaxError: the text is not of the form `family(name=value,…)`; names the column.
        ParameterError: unknown family, unknown or missing parameter, bad value; names the nearest known one.
    """
    call = parse_call(text)
    return make_operator(call.family, call.values)


def make_operator(family: str, values: Mapping[str, object]) -> Operator:
    """A checked operator from its family's name and a value (text or number) for each parameter.

    Raises:
        ParameterError: unknown family, unknown or missing parameter, bad value, or values that contradict each other.
    """
    record = FAMILIES.get(family) or AROUND.get(family)
    if record is None:
        raise ParameterError(
            "operator",
            None,
            f"one of the families {', '.join(FAMILIES)}",
            f"{found(family)}{did_you_mean(family, FAMILIES)}",
        )
    operator: Operator = from_values(record, family, values, record.example)  # type: ignore[type-var]
    operator.check_relations()
    return operator
