"""Backward attention and optimizer steps → kernel demands.

Nothing here was fitted: no table of measured kernels has backward passes. A backward kernel is its forward one with the
products and the traffic that its algorithm has, at the same share of the tensor cores' rate.
"""

from __future__ import annotations

from typing import NamedTuple

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.attention.prefill import encoder_demands, prefill_demands
from simexplore.sim.mapping.streaming import moving, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.training.backward import PRODUCTS
from simexplore.workloads.ops import AttentionBackward, AttentionPrefill, OptimizerStep

INSTRUCTIONS = 2.0
"""assumed: of the forward pass's instructions of a score: exp again, and dS = P (dP - D), rounded each."""
FLOPS_OF_SUM = 2.0
"""Of an element of the result: multiplied with its gradient, and added to the sum of its row."""


def attention_backward_demands(op: AttentionBackward, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Three kernels: a sum for each row of dO O; the products; dQ, which was added up in fp32, narrowed.

    Source: Dao, arXiv:2307.08691, algorithm 2; flash-attention, csrc/flash_attn/src/flash_bwd_preprocess_kernel.h.
    """
    kernel = _forward(op, gpu, Conditions(cache=conditions.cache, launch=conditions.launch))
    queries, wide = column(op.query_bytes), bytes_of("fp32") / bytes_of(op.dtype)
    copies, flops = conditions.cache.activation_copies, FLOPS_OF_SUM * queries / bytes_of(op.dtype)
    sums = moving(2.0 * queries, 0.0 * queries, gpu, copies=copies, flops=flops)
    narrow = moving(wide * queries, queries, gpu, copies=copies)
    return (
        stream_demand("attention_sums", sums, gpu),
        _products(op, kernel, gpu, conditions),
        stream_demand("attention_narrow", narrow, gpu),
    )


def _forward(op: AttentionBackward, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """The kernel of the forward pass alone, without an engine's module around it."""
    forward = op.forward
    if isinstance(forward, AttentionPrefill):
        return prefill_demands(forward, gpu, conditions)[0]
    return encoder_demands(forward, gpu, conditions)[0]


def _products(op: AttentionBackward, kernel: KernelDemand, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    queries, keys, wide = column(op.query_bytes), column(op.key_bytes), bytes_of("fp32") / bytes_of(op.dtype)
    stored, added_up = kernel.work.l2_write_bytes, kernel.work.l2_read_bytes * wide / 2.0
    moved = Moved(2.0 * queries + keys, wide * queries + keys, stored + added_up)
    return products_demand(kernel, PRODUCTS, moved, gpu, conditions)


class Moved(NamedTuple):
    """What the products of a backward pass move [B]."""

    read: FloatArray
    written: FloatArray
    """All gradients, those of queries in fp32."""
    stored: FloatArray
    """Of one CTA to L2: gradients of its keys, and those of queries at each tile of keys."""


def products_demand(
    kernel: KernelDemand, products: float | FloatArray, moved: Moved, gpu: Gpu, conditions: Conditions
) -> KernelDemand:
    """The kernel of the forward pass with `products` times its products, and the traffic of the backward pass.

    A CTA keeps a tile of keys and loops over queries, whose gradients are added up in L2 in fp32.
    """
    work, ctas = kernel.work, kernel.grid.ctas
    missing = 1.0 - warm_share(moved.read, conditions.cache.activation_copies, moved.written, gpu)
    written_back = written_back_share(moved.read + moved.written, gpu)
    return kernel.but(
        work={
            "tensor_ops": products * work.tensor_ops,
            "fma_ops": INSTRUCTIONS * work.fma_ops,
            "shared_bytes": products * work.shared_bytes,
            "l2_write_bytes": moved.stored,
            "dram_read_bytes": moved.read * missing / ctas,
            "dram_write_bytes": moved.written * written_back / ctas,
        },
        latency={"chain_cycles": products * kernel.latency.chain_cycles},
    )


def optimizer_step_demand(op: OptimizerStep, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One pass over gradients, tensors and states, as fused optimizers make it."""
    written, copies = column(op.written_bytes), conditions.cache.activation_copies
    stream = moving(column(op.min_bytes) - written, written, gpu, copies=copies, flops=column(op.flops))
    return (stream_demand(op.op, stream, gpu),)
