"""A layer of experts → kernel demands: routing, tokens brought together by expert, two grouped products, their sum.

Which kernels there are beside the products is the engine's (`libraries.experts`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, FloatArray, KernelDemand
from simexplore.sim.libraries.experts import expert_rules
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.experts.grouped import Group, expert_type, grouped_demand
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Moe

ROUTED_AT_ONCE = 8.0
"""Tokens whose experts a CTA chooses, one a warp."""
LOGIT_BYTES = 4.0
"""Of a token's logit of an expert."""
FLOPS_OF_GATE = 4.0
"""Of an inner feature beside the exponential: SiLU's sum and division, and the product with the other half."""
FLOPS_OF_SUM = 2.0
"""Of a feature of a pair: weighted, and added up."""


def moe_algorithms(op: Moe, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """A kernel adds up each token's results, or the second product's epilogue does; engines time both beforehand.

    Raises SimexploreError where the GPU has no unit for the operator's type.
    """
    up, down = _products(op, gpu, conditions)
    first = (*_before(op, gpu), grouped_demand(up, gpu), _gate(op, gpu))
    ways = [Algorithm((*first, grouped_demand(down, gpu), _sum(op, gpu)), ANY_ROW)]
    if expert_rules(gpu).sums_in_epilogue(op, gpu):
        ways.append(Algorithm((*first, _zero(op, gpu), grouped_demand(down._replace(added_up=True), gpu)), ANY_ROW))
    return tuple(ways)


def _before(op: Moe, gpu: Gpu) -> tuple[KernelDemand, ...]:
    """Routing; then tokens copied by expert, or quantised where they are as they come."""
    pairs, tokens, hidden, _ = _sizes(op)
    element, result = bytes_of(op.dtype), bytes_of(op.output_dtype)
    read = tokens * hidden * result
    if expert_rules(gpu).gathers_before(op):
        return _route(op, gpu), _by_rows(op, "expand", pairs, (read, pairs * hidden * element), 0.0 * pairs, gpu)
    if element < result:
        return _route(op, gpu), _by_rows(op, "quantize", tokens, (read, tokens * hidden * element), 0.0 * tokens, gpu)
    return (_route(op, gpu),)


def _gate(op: Moe, gpu: Gpu) -> KernelDemand:
    """SiLU of one half times the other, or ReLU squared, and quantised."""
    pairs, _, _, inner = _sizes(op)
    read = pairs * inner * (1.0 + column(op.gated)) * bytes_of(op.output_dtype)
    demand = _by_rows(
        op, "gate", pairs, (read, pairs * inner * bytes_of(op.dtype)), pairs * inner * column(op.gated), gpu
    )
    return demand.with_extra_launches(expert_rules(gpu).quantize_kernels(op))


def _zero(op: Moe, gpu: Gpu) -> KernelDemand:
    """The result set to zero, to which an epilogue adds."""
    written = column(op.output_bytes)
    return _by_rows(op, "zero", column(op.num_tokens), (0.0 * written, written), 0.0 * written, gpu)


def _sum(op: Moe, gpu: Gpu) -> KernelDemand:
    """The weighted sum of each token's results."""
    pairs, tokens, hidden, _ = _sizes(op)
    result = bytes_of(op.output_dtype)
    return _by_rows(op, "sum", tokens, (pairs * hidden * result, tokens * hidden * result), 0.0 * pairs, gpu)


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

    def group(name: str, n: FloatArray, k: FloatArray, other_weights: FloatArray) -> Group:
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
            added_up=False,
            between_bytes=other_weights * np.minimum(column(conditions.cache.weight_copies), 1e9) + flowing,
        )

    return group("gate_up", halves * inner, hidden, weights), group("down", hidden, inner, halves * weights)


def _route(op: Moe, gpu: Gpu) -> KernelDemand:
    """Each token's experts from its logits, and the kernels that sort tokens by expert: launches and latency alone."""
    library, tokens = gpu.expert_kernels, column(op.num_tokens)
    traffic = (tokens * column(op.num_experts) * LOGIT_BYTES, tokens * column(op.topk) * 2.0 * LOGIT_BYTES)
    demand = _by_rows(op, "route", ceil_div(tokens, ROUTED_AT_ONCE), traffic, 0.0 * tokens, gpu)
    trips = library.route_round_trips * gpu.l2.mean_latency_cycles
    each = 2.0 * library.route_instructions * column(op.num_experts) * np.minimum(tokens, ROUTED_AT_ONCE)
    demand = demand.but(work={"fma_ops": each}, latency={"exposed_cycles": constant(trips), "helper_cycles": trips})
    return demand.with_extra_launches(library.route_kernels - 1.0 + expert_type(op.dtype, gpu).kernels)


def _by_rows(
    op: Moe, name: str, rows: FloatArray, traffic: tuple[FloatArray, FloatArray], special: FloatArray, gpu: Gpu
) -> KernelDemand:
    """A kernel between the products, with a CTA a row; `traffic` are bytes read and written.

    What it reads was written just before, so it is in L2 as far as it fits.
    """
    read, write = traffic
    stream = Stream(
        read_bytes=read,
        write_bytes=write,
        flops=FLOPS_OF_GATE * special + FLOPS_OF_SUM * read / LOGIT_BYTES,
        special_ops=special,
        warm_share=warm_share(read, 1.0, write, gpu),
        written_back_share=written_back_share(read + write, gpu),
    )
    demand, rate = stream_demand(name, stream, gpu, ctas=np.maximum(rows, 1.0)), expert_type(op.dtype, gpu).stream_rate
    return replace(demand, overlap=replace(demand.overlap, l2_rate=rate * demand.overlap.l2_rate, dram_rate=rate))
