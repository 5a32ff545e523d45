"""The module of multi-head latent attention → its kernels: projections, norms, rotation, attention, and the way out.

Counted from the modules of TensorRT-LLM (_torch/modules/attention.py, MLA) and vLLM
(model_executor/layers/mla.py): one product to compressed queries and latents, their norms, one to queries, then
attention with the kernels of the engine around it (`latent_prefill`, `latent_decode`), and the product out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.attention.latent_decode import mla_decode_demands
from simexplore.sim.mapping.attention.latent_prefill import mla_prefill_demands
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.sim.mapping.streaming import moving, stream_demand
from simexplore.sim.mapping.traffic import MOST_COPIES
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.modules.latent import (
    TOKEN_BYTES,
    LatentModule,
    MlaDecodeModule,
    MlaPrefillModule,
    Projection,
)
from simexplore.workloads.ops import Gemm

NORM_FLOPS = 4.0
"""Of an element of a norm: square and sum, and the products with 1/rms and the scale."""


def mla_prefill_module_demands(op: MlaPrefillModule, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The module's kernels in order. Raises SimexploreError where the GPU has no unit for one of the types."""
    (expansion,) = op.expansions
    within = _within(conditions)
    return (
        *_into(op, gpu, conditions),
        *_product(op, expansion, gpu, conditions),
        *mla_prefill_demands(op.core, gpu, within),
        *_product(op, op.leaving, gpu, conditions),
    )


def mla_decode_module_demands(op: MlaDecodeModule, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The module's kernels in order. Raises SimexploreError where the GPU has no unit for one of the types."""
    before, after = op.expansions
    within = _within(conditions)
    return (
        *_into(op, gpu, conditions),
        *_product(op, before, gpu, conditions),
        *mla_decode_demands(op.core, gpu, within),
        *_product(op, after, gpu, conditions),
        *_product(op, op.leaving, gpu, conditions),
    )


def _within(conditions: Conditions) -> Conditions:
    """Attention with its rotation and append; its queries were written just before."""
    return replace(conditions, attention_module=True, cache=replace(conditions.cache, activation_copies=1.0))


def _into(op: LatentModule, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The product to compressed queries and latents, the norms of both, and the product to queries."""
    normed = column(op.tokens) * (column(op.q_rank) + column(op.kv_lora_rank)) * TOKEN_BYTES
    stream = moving(normed, normed, gpu, flops=NORM_FLOPS * normed / TOKEN_BYTES)
    return (
        *_product(op, op.entering, gpu, conditions),
        stream_demand("norms", stream, gpu),
        *_product(op, op.queries, gpu, conditions),
    )


def _product(op: LatentModule, of: Projection, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A projection. Between two reads of its weights all of the module's are read: that many copies rotate."""
    dtype = op.type_of(of)
    arriving = "bf16" if bytes_of(dtype) < TOKEN_BYTES else None
    own = bytes_of(dtype) * of.weights
    copies: Any = np.minimum(conditions.cache.weight_copies, MOST_COPIES) * op.weight_bytes / own
    given = replace(conditions, cache=replace(conditions.cache, weight_copies=copies))
    gemm = Gemm(of.rows, of.n, of.k, batch=of.heads, dtype=dtype, activation_dtype=arriving)
    return gemm_demands(gemm, gpu, given)
