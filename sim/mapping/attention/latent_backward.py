"""Gradients of latent attention → kernel demands: those of fused attention, with keys wider than values.

Nothing here was fitted: no table of measured kernels has backward passes. The products are the forward kernel's over
expanded keys and values, at the same share of the tensor cores' rate, whatever the engine's prefill attends to.
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.attention.latent_prefill import expanded_kernel
from simexplore.sim.mapping.streaming import moving, stream_demand
from simexplore.sim.mapping.training import FLOPS_OF_SUM, Moved, products_demand
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import MlaBackward


def mla_backward_demands(op: MlaBackward, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A sum for each row of dO O; the products; dQ narrowed; the rotated keys' gradients of all heads added up.

    Source: Dao, arXiv:2307.08691, algorithm 2; keys of a head are its own and the rotated part that heads share.
    """
    copies, element = conditions.cache.activation_copies, bytes_of(op.dtype)
    queries, results = column(op.query_bytes), column(op.result_bytes)
    wide = bytes_of("fp32") / element
    shared = element * column(op.batch) * column(op.seq_kv) * column(op.rope_dim)
    heads = column(op.heads)
    sums = moving(2.0 * results, 0.0 * results, gpu, copies=copies, flops=FLOPS_OF_SUM * results / element)
    narrow = moving(wide * queries, queries, gpu)
    added = moving(heads * shared, shared, gpu, flops=heads * shared / element)
    return (
        stream_demand("attention_sums", sums, gpu),
        _products(op, gpu, conditions),
        stream_demand("attention_narrow", narrow, gpu),
        stream_demand("rotated_keys", added, gpu),
    )


def _products(op: MlaBackward, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    kernel = expanded_kernel(op.forward, gpu, Conditions(cache=conditions.cache, launch=conditions.launch))
    queries, element, key_dim = column(op.query_bytes), bytes_of(op.dtype), column(op.key_dim)
    wide, width = bytes_of("fp32") / element, key_dim + column(op.v_dim)
    gradients = element * column(op.batch) * column(op.seq_kv) * column(op.heads) * width
    added_up = kernel.work.l2_read_bytes * wide * key_dim / width
    moved = Moved(
        read=queries + column(op.result_bytes) + column(op.key_bytes),
        written=wide * queries + gradients,
        stored=gradients / kernel.grid.ctas + added_up,
    )
    return products_demand(kernel, column(op.products), moved, gpu, conditions)
