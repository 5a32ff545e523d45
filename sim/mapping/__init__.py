"""Operator physics: one module a family, from operator to kernel demands. A family is registered by one line below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, Demand
from simexplore.sim.mapping.arrays.indexed import gather_demands, scatter_demands
from simexplore.sim.mapping.arrays.order import sort_algorithms, top_k_algorithms
from simexplore.sim.mapping.arrays.rows import group_norm_demands, reduce_demands, scan_demands
from simexplore.sim.mapping.arrays.windows import pool_demands, resample_demands
from simexplore.sim.mapping.attention.decode import decode_algorithms
from simexplore.sim.mapping.attention.latent_backward import mla_backward_demands
from simexplore.sim.mapping.attention.latent_decode import mla_decode_demands
from simexplore.sim.mapping.attention.latent_module import mla_decode_module_demands, mla_prefill_module_demands
from simexplore.sim.mapping.attention.latent_prefill import mla_prefill_demands
from simexplore.sim.mapping.attention.prefill import encoder_demands, prefill_demands
from simexplore.sim.mapping.attention.ragged import ragged_algorithms
from simexplore.sim.mapping.attention.sparse import sparse_attention_demands
from simexplore.sim.mapping.attention.tiled_decode import prefill_algorithms
from simexplore.sim.mapping.collective import collective_algorithms
from simexplore.sim.mapping.conv.algorithms import conv_algorithms
from simexplore.sim.mapping.conv.transposed import transposed_algorithms
from simexplore.sim.mapping.experts.backward import moe_backward_demands
from simexplore.sim.mapping.experts.moe import moe_algorithms
from simexplore.sim.mapping.host import called
from simexplore.sim.mapping.matmul.gemm import gemm_candidates, gemm_demands
from simexplore.sim.mapping.matmul.gemv import bmm_algorithms, gemm_algorithms
from simexplore.sim.mapping.matmul.naive import naive_gemm_demand
from simexplore.sim.mapping.matmul.svd import svd_demands
from simexplore.sim.mapping.neural import (
    fused_mlp_demands,
    grid_encoding_demands,
    host_read_demands,
    ray_kernel_demands,
)
from simexplore.sim.mapping.rowwise import (
    elementwise_demand,
    embedding_demand,
    quantize_demand,
    rope_demand,
    rowwise_demand,
)
from simexplore.sim.mapping.scans.convolution import convolution_backward_demands, convolution_demands, update_demands
from simexplore.sim.mapping.scans.delta import delta_algorithms, delta_demands
from simexplore.sim.mapping.scans.delta_backward import delta_backward_algorithms, delta_backward_demands
from simexplore.sim.mapping.scans.statespace import ssd_demands
from simexplore.sim.mapping.scans.statespace_backward import ssd_backward_demands
from simexplore.sim.mapping.scans.step import delta_step_demands, ssd_step_demands
from simexplore.sim.mapping.training import attention_backward_demands, optimizer_step_demand
from simexplore.workloads import ops
from simexplore.workloads.operators.scans.delta import DeltaDecode, DeltaPrefill

Mapping = Callable[[Any, Gpu, Conditions], tuple[Demand, ...]]

MAPPINGS: dict[type, Mapping] = {
    ops.Gemm: gemm_demands,
    ops.NaiveTiledGemm: naive_gemm_demand,
    ops.AttentionPrefill: prefill_demands,
    ops.MlaPrefill: mla_prefill_demands,
    ops.MlaDecode: mla_decode_demands,
    ops.MlaPrefillModule: mla_prefill_module_demands,
    ops.MlaDecodeModule: mla_decode_module_demands,
    ops.EncoderAttention: encoder_demands,
    ops.AttentionBackward: attention_backward_demands,
    ops.MoeBackward: moe_backward_demands,
    ops.MlaBackward: mla_backward_demands,
    ops.DeltaBackward: delta_backward_demands,
    ops.SsdBackward: ssd_backward_demands,
    ops.CausalConv1dBackward: convolution_backward_demands,
    ops.OptimizerStep: optimizer_step_demand,
    ops.Svd: svd_demands,
    ops.SparseAttention: sparse_attention_demands,
    ops.CausalConv1d: convolution_demands,
    ops.CausalConv1dUpdate: update_demands,
    DeltaPrefill: delta_demands,
    DeltaDecode: delta_step_demands,
    ops.SsdPrefill: ssd_demands,
    ops.SsdDecode: ssd_step_demands,
    ops.Quantize: quantize_demand,
    ops.Rope: rope_demand,
    ops.Elementwise: elementwise_demand,
    ops.Softmax: rowwise_demand,
    ops.LayerNorm: rowwise_demand,
    ops.RmsNorm: rowwise_demand,
    ops.Embedding: embedding_demand,
    ops.Pool: pool_demands,
    ops.Resample: resample_demands,
    ops.GroupNorm: group_norm_demands,
    ops.Reduce: reduce_demands,
    ops.Scan: scan_demands,
    ops.Gather: gather_demands,
    ops.Scatter: scatter_demands,
    ops.GridEncoding: grid_encoding_demands,
    ops.FusedMlp: fused_mlp_demands,
    ops.RayKernel: ray_kernel_demands,
    ops.HostRead: host_read_demands,
}
"""By class; a subclass is mapped as its nearest ancestor here."""

ALGORITHMS: dict[type, Callable[[Any, Gpu, Conditions], tuple[Algorithm, ...]]] = {
    ops.AttentionDecode: decode_algorithms,
    ops.AttentionPrefill: prefill_algorithms,
    ops.RaggedAttention: ragged_algorithms,
    ops.Collective: collective_algorithms,
    ops.Conv2d: conv_algorithms,
    ops.Conv: conv_algorithms,
    ops.ConvTranspose: transposed_algorithms,
    ops.Sort: sort_algorithms,
    ops.TopK: top_k_algorithms,
    ops.Gemm: gemm_algorithms,
    ops.Moe: moe_algorithms,
    ops.Bmm: bmm_algorithms,
    DeltaPrefill: delta_algorithms,
    ops.DeltaBackward: delta_backward_algorithms,
}
"""Families for which the library has several algorithms, of different kernels."""


CHOICES: dict[type[ops.Operator], Callable[[Any, Gpu], int]] = {
    ops.Moe: lambda _op, gpu: len(gpu.expert_kernels.tiles),
    ops.MoeBackward: lambda _op, gpu: len(gpu.expert_kernels.tiles),
    ops.Conv2d: gemm_candidates,
    ops.Conv: gemm_candidates,
    ops.ConvDilated: gemm_candidates,
    ops.ConvTranspose: gemm_candidates,
    ops.Gemm: gemm_candidates,
    ops.Bmm: gemm_candidates,
}
"""Families whose kernels come with many candidates, and how many at most."""


def candidates_of(op: ops.Operator, gpu: Gpu) -> int:
    """About how many candidates a row of the operator's kernels has at most: how much there is to compute."""
    return CHOICES[type(op)](op, gpu) if type(op) in CHOICES else 1


def algorithms_of(op: ops.Operator, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The algorithms that the library has for an operator; most families have one.

    Raises SimexploreError as `demands_of` does.
    """
    found = next((ALGORITHMS[ancestor] for ancestor in type(op).__mro__ if ancestor in ALGORITHMS), None)
    ways = (Algorithm(demands_of(op, gpu, conditions), ANY_ROW),) if found is None else found(op, gpu, conditions)
    return tuple(called(way, op, gpu, conditions) for way in ways)


def demands_of(op: ops.Operator, gpu: Gpu, conditions: Conditions) -> tuple[Demand, ...]:
    """The kernels of an operator, in order, with the library's candidates along the second axis of each array.

    Raises SimexploreError where the GPU cannot run it or no mapping is registered for its family.
    """
    for ancestor in type(op).__mro__:
        if ancestor in MAPPINGS:
            return MAPPINGS[ancestor](op, gpu, conditions)
    known = ", ".join(sorted(cls.__name__ for cls in MAPPINGS))
    raise SimexploreError(f"no mapping for operator {op.op}; register one in simexplore.sim.mapping beside {known}")
