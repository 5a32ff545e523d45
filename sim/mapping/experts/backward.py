"""Gradients of a layer of experts → kernel demands: grouped products as the forward pass's, and rows moved beside them.

Nothing here was fitted: no table of measured kernels has backward passes. Products are those of `experts.grouped` at
the same share of the tensor cores' rate, with every tile of the menu.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.columns import ceil_div
from simexplore.sim.mapping.experts.between import CHOICE_BYTES, LOGIT_BYTES, Rows, by_rows, sizes_of, sum_demand
from simexplore.sim.mapping.experts.grouped import Group, grouped_demand
from simexplore.sim.mapping.traffic import MOST_COPIES
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Moe, MoeBackward

FEWEST = 1e-9
"""Stands for no rows at all, by which nothing can be divided."""


def moe_backward_demands(op: MoeBackward, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Gradients of tokens and logits, or of weights; raises SimexploreError where the GPU has no unit for the type."""
    return _of_weights(op, gpu) if op.of_weights else _of_inputs(op, gpu, conditions)


def _of_inputs(op: MoeBackward, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Gradients brought to their experts; back through the second product, the gate and the first; their sum."""
    forward = op.forward
    size, gated, element = sizes_of(forward), column(op.gated), bytes_of(op.dtype)
    results, inner = size.tokens * size.hidden, size.pairs * size.inner
    expand = Rows(size.pairs, results, size.pairs * size.hidden * element)
    gate = Rows(size.pairs, inner * (2.0 + gated), inner * (1.0 + gated) * element, inner * gated)
    logits = size.tokens * column(op.num_experts)
    chosen = size.tokens * column(op.topk) * CHOICE_BYTES / element
    route = Rows(size.tokens, chosen + logits * LOGIT_BYTES / element, logits * element)
    down, up = _back_through(op, gpu, conditions)
    return (
        by_rows("expand", expand, forward, gpu),
        grouped_demand(down, gpu),
        by_rows("gate", gate, forward, gpu),
        grouped_demand(up, gpu),
        sum_demand(forward, gpu),
        by_rows("route", route, forward, gpu),
    )


def _back_through(op: MoeBackward, gpu: Gpu, conditions: Conditions) -> tuple[Group, Group]:
    """dgrad: rows are those of the forward pass, n and k change places."""
    forward, cache = op.forward, conditions.cache
    size = sizes_of(forward)
    load = forward.load(tuple(float(tile.m) for tile in gpu.expert_kernels.tiles))
    active, halves = column(load.active), 1.0 + column(op.gated)
    weights = active * size.hidden * size.inner * bytes_of(op.dtype)
    copies = np.minimum(column(cache.weight_copies), MOST_COPIES)
    flowing = (size.tokens + size.pairs) * size.hidden * bytes_of(op.dtype)
    down = Group(
        name="down",
        pairs=np.maximum(size.pairs, FEWEST),
        active=active,
        tiles=np.maximum(np.atleast_2d(load.tiles), 1.0),
        n=size.inner,
        k=size.hidden,
        dtype=op.dtype,
        weight_dtype=op.dtype,
        output_dtype=op.dtype,
        input_copies=1.0,
        weight_copies=cache.weight_copies,
        between_bytes=copies * halves * weights + flowing,
    )
    up = down._replace(name="gate_up", n=size.hidden, k=halves * size.inner, between_bytes=copies * weights + flowing)
    return down, up


def _of_weights(op: MoeBackward, gpu: Gpu) -> tuple[KernelDemand, ...]:
    """wgrad: a matrix an expert, added up over the expert's tokens; where loads differ, over the mean of them.

    Experts without a token get zeros, which the same kernels write.
    """
    forward = op.forward
    size, held = sizes_of(forward), column(op.held_experts)
    depth = np.maximum(size.pairs, FEWEST) / held
    halves = 1.0 + column(op.gated)
    return (
        grouped_demand(_matrices("down", size.inner, size.hidden, held, depth, forward, gpu), gpu),
        grouped_demand(_matrices("gate_up", size.hidden, halves * size.inner, held, depth, forward, gpu), gpu),
    )


def _matrices(
    name: str, rows: FloatArray, n: FloatArray, experts: FloatArray, depth: FloatArray, op: Moe, gpu: Gpu
) -> Group:
    """Products of rows x n, one an expert, whose operands kernels before them wrote."""
    heights = np.array([[float(tile.m) for tile in gpu.expert_kernels.tiles]])
    read = experts * depth * (rows + n) * bytes_of(op.dtype)
    return Group(
        name=name,
        pairs=experts * rows,
        active=experts,
        tiles=experts * ceil_div(rows, heights),
        n=n,
        k=depth,
        dtype=op.dtype,
        weight_dtype=op.dtype,
        output_dtype=op.dtype,
        input_copies=1.0,
        weight_copies=1.0,
        between_bytes=read,
    )
