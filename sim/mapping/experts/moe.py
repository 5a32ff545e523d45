"""A layer of experts → kernel demands: routing, tokens brought together by expert, two grouped products, their sum.

Which kernels there are beside the products is the engine's (`libraries.experts`).
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm
from simexplore.sim.libraries.experts import expert_rules
from simexplore.sim.mapping.experts.between import before_demands, gate_demand, sizes_of, sum_demand, zero_demand
from simexplore.sim.mapping.experts.grouped import Group, grouped_demand
from simexplore.sim.mapping.traffic import MOST_COPIES
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Moe

FEWEST_PAIRS = 1e-9
"""Stands for none, where a GPU's experts get no token: so its products take no time, and nothing is divided by 0."""


def moe_algorithms(op: Moe, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """A kernel adds up each token's results, or the second product's epilogue does; engines time both beforehand.

    Raises SimexploreError where the GPU has no unit for the operator's type.
    """
    up, down = _products(op, gpu, conditions)
    first = (*before_demands(op, gpu, conditions), grouped_demand(up, gpu), gate_demand(op, gpu))
    ways = [Algorithm((*first, grouped_demand(down, gpu), sum_demand(op, gpu)), ANY_ROW)]
    if expert_rules(gpu).sums_in_epilogue(op, gpu):
        added = grouped_demand(down._replace(added_to=column(op.num_tokens)), gpu)
        ways.append(Algorithm((*first, zero_demand(op, gpu), added), ANY_ROW))
    return tuple(ways)


def _products(op: Moe, gpu: Gpu, conditions: Conditions) -> tuple[Group, Group]:
    """Both grouped products: gate and up together, and down."""
    size, cache = sizes_of(op), conditions.cache
    load = op.load(tuple(float(tile.m) for tile in gpu.expert_kernels.tiles))
    halves, active = 1.0 + column(op.gated), column(load.active)
    weights = active * size.hidden * size.inner * bytes_of(op.stored)
    copies = np.minimum(column(cache.weight_copies), MOST_COPIES)
    flowing = (size.tokens + size.pairs) * size.hidden * bytes_of(op.output_dtype)
    as_given = not expert_rules(gpu).gathers_before(op) and op.output_dtype == op.dtype
    up = Group(
        name="gate_up",
        pairs=np.maximum(size.pairs, FEWEST_PAIRS),
        active=active,
        tiles=np.maximum(np.atleast_2d(load.tiles), 1.0),
        n=halves * size.inner,
        k=size.hidden,
        dtype=op.dtype,
        weight_dtype=op.stored,
        output_dtype=op.output_dtype,
        input_copies=cache.activation_copies if as_given else 1.0,
        weight_copies=cache.weight_copies,
        between_bytes=copies * weights + flowing,
    )
    down = up._replace(
        name="down", n=size.hidden, k=size.inner, input_copies=1.0, between_bytes=copies * halves * weights + flowing
    )
    return up, down
