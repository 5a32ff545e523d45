"""A layer of experts → kernel demands: routing, tokens brought together by expert, two grouped products, their sum.

Which kernels there are beside the products is the engine's (`libraries.experts`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.libraries.experts import expert_rules
from simexplore.sim.mapping.columns import constant
from simexplore.sim.mapping.experts.grouped import Group, grouped_demand
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Moe

LOGIT_BYTES = 4.0
"""Of a token's logit of an expert."""
FLOPS_OF_GATE = 4.0
"""Of an inner feature beside the exponential: SiLU's sum and division, and the product with the other half."""
FLOPS_OF_SUM = 2.0
"""Of a feature of a pair: weighted, and added up."""


def moe_demands(op: Moe, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The kernels of the layer in order. Raises SimexploreError where the GPU has no unit for the operator's type."""
    rules = expert_rules(gpu)
    pairs, tokens, hidden, inner = _sizes(op)
    halves = 1.0 + column(op.gated)
    element, result = bytes_of(op.dtype), bytes_of(op.output_dtype)
    up, down = _products(op, gpu, conditions)
    kernels = [_route(op, gpu)]
    if rules.gathers_before(op):
        kernels.append(_stream("expand", tokens * hidden * result, pairs * hidden * element, 0.0 * pairs, gpu))
    elif element < result:
        kernels.append(_stream("quantize", tokens * hidden * result, tokens * hidden * element, 0.0 * pairs, gpu))
    kernels.append(grouped_demand(up, gpu))
    gate = _stream("gate", pairs * inner * halves * result, pairs * inner * element, pairs * inner, gpu)
    kernels.append(gate.with_extra_launches(rules.quantize_kernels(op)))
    kernels.append(grouped_demand(down, gpu))
    if not rules.sums_in_epilogue(op, gpu):
        summed = _stream("sum", pairs * hidden * result, tokens * hidden * result, 0.0 * pairs, gpu)
        kernels.append(summed)
    return tuple(kernels)


def _sizes(op: Moe) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Pairs, tokens, features and inner features, each of shape (rows, 1)."""
    return column(op.pairs), column(op.num_tokens), column(op.hidden_size), column(op.inner)


def _products(op: Moe, gpu: Gpu, conditions: Conditions) -> tuple[Group, Group]:
    """Both grouped products: gate and up together, and down."""
    pairs, tokens, hidden, inner = _sizes(op)
    heights = tuple(float(tile.m) for tile in gpu.expert_kernels.tiles)
    load = op.load(heights)
    halves = 1.0 + column(op.gated)
    active = column(load.active)
    tiles = np.maximum(np.atleast_2d(load.tiles), 1.0)
    weights = active * hidden * inner * bytes_of(op.dtype)
    flowing = (tokens + pairs) * hidden * bytes_of(op.output_dtype)

    def group(name: str, n: FloatArray, k: FloatArray, other_weights: FloatArray, added_up: bool) -> Group:
        return Group(
            name=name,
            pairs=np.maximum(pairs, 1e-9),
            active=active,
            tiles=tiles,
            n=n,
            k=k,
            dtype=op.dtype,
            output_dtype=op.output_dtype,
            weight_copies=conditions.cache.weight_copies,
            added_up=added_up,
            between_bytes=other_weights * np.minimum(column(conditions.cache.weight_copies), 1e9) + flowing,
        )

    up = group("gate_up", halves * inner, hidden, weights, False)
    return up, group("down", hidden, inner, halves * weights, expert_rules(gpu).sums_in_epilogue(op, gpu))


def _route(op: Moe, gpu: Gpu) -> KernelDemand:
    """Each token's experts from its logits, and the kernels that sort tokens by expert: launches and latency alone."""
    library = gpu.expert_kernels
    logits = column(op.num_tokens) * column(op.num_experts) * LOGIT_BYTES
    demand = _stream("route", logits, column(op.num_tokens) * column(op.topk) * 2.0 * LOGIT_BYTES, 0.0 * logits, gpu)
    trips = library.route_round_trips * gpu.l2.mean_latency_cycles
    demand = demand.but(latency={"exposed_cycles": constant(trips), "helper_cycles": trips})
    return demand.with_extra_launches(library.route_kernels - 1.0)


def _stream(name: str, read: FloatArray, write: FloatArray, special: FloatArray, gpu: Gpu) -> KernelDemand:
    """A kernel between the products; what it reads was written just before, so it is in L2 as far as it fits."""
    stream = Stream(
        read_bytes=read,
        write_bytes=write,
        flops=FLOPS_OF_GATE * special + FLOPS_OF_SUM * read / LOGIT_BYTES,
        special_ops=special,
        warm_share=warm_share(read, 1.0, write, gpu),
        written_back_share=written_back_share(read + write, gpu),
    )
    demand, rate = stream_demand(name, stream, gpu), gpu.expert_kernels.stream_rate
    return replace(demand, overlap=replace(demand.overlap, l2_rate=rate * demand.overlap.l2_rate, dram_rate=rate))
