"""The kernels of a layer of experts beside its two products → demands: they move rows, and compute little on them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.libraries.experts import expert_rules
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.experts.grouped import expert_type
from simexplore.sim.mapping.streaming import moving, stream_demand
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Moe

ROUTED_AT_ONCE = 8.0
"""Tokens whose experts a CTA chooses, one a warp."""
LOGIT_BYTES = 4.0
"""Of a token's logit of an expert."""
CHOICE_BYTES = 8.0
"""Of a token's choice: an expert and its weight."""
FLOPS_OF_GATE = 4.0
"""Of an inner feature beside the exponential: SiLU's sum and division, and the product with the other half."""
FLOPS_OF_ELEMENT = 2.0
"""Of an element that is read: scaled, and added up or rounded."""
FLOPS_OF_INSTRUCTION = 2.0


class Rows(NamedTuple):
    """What a kernel with a CTA a row does in all; arrays of shape (rows, 1)."""

    ctas: FloatArray
    elements: FloatArray
    """Elements that it reads, of the tokens' type."""
    write_bytes: FloatArray
    gated: FloatArray | float = 0.0
    """Exponentials of gates."""
    copies: float | FloatArray = 1.0
    """Copies of what it reads that runs rotate over; 1 also of what was written just before."""


class Sizes(NamedTuple):
    """Sizes of a layer, each of shape (rows, 1)."""

    pairs: FloatArray
    tokens: FloatArray
    hidden: FloatArray
    inner: FloatArray


def sizes_of(op: Moe) -> Sizes:
    """The layer's sizes on this GPU."""
    return Sizes(column(op.pairs), column(op.num_tokens), column(op.hidden_size), column(op.inner))


def before_demands(op: Moe, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Routing; then tokens copied by expert, or quantised where they are."""
    size, element = sizes_of(op), bytes_of(op.dtype)
    rows, copies = size.tokens * size.hidden, conditions.cache.activation_copies
    if expert_rules(gpu).gathers_before(op):
        copied = Rows(size.pairs, rows, size.pairs * size.hidden * element, copies=copies)
        return _route(op, gpu), by_rows("expand", copied, op, gpu)
    if element < bytes_of(op.output_dtype):
        return _route(op, gpu), by_rows("quantize", Rows(size.tokens, rows, rows * element, copies=copies), op, gpu)
    return (_route(op, gpu),)


def gate_demand(op: Moe, gpu: Gpu) -> KernelDemand:
    """SiLU of one half times the other, or ReLU squared, and quantised."""
    size, gated = sizes_of(op), column(op.gated)
    inner = size.pairs * size.inner
    rows = Rows(size.pairs, inner * (1.0 + gated), inner * bytes_of(op.dtype), inner * gated)
    return by_rows("gate", rows, op, gpu).with_extra_launches(expert_rules(gpu).quantize_kernels(op))


def zero_demand(op: Moe, gpu: Gpu) -> KernelDemand:
    """The result set to zero, to which an epilogue adds."""
    written = column(op.output_bytes)
    return by_rows("zero", Rows(column(op.num_tokens), 0.0 * written, written), op, gpu)


def sum_demand(op: Moe, gpu: Gpu) -> KernelDemand:
    """The weighted sum of each token's results."""
    size = sizes_of(op)
    return by_rows("sum", Rows(size.tokens, size.pairs * size.hidden, column(op.output_bytes)), op, gpu)


def _route(op: Moe, gpu: Gpu) -> KernelDemand:
    """Each token's experts from its logits; the kernels that sort tokens by expert are launches and latency alone."""
    library, tokens = gpu.expert_kernels, column(op.num_tokens)
    elements = tokens * column(op.num_experts) * LOGIT_BYTES / bytes_of(op.output_dtype)
    rows = Rows(ceil_div(tokens, ROUTED_AT_ONCE), elements, tokens * column(op.topk) * CHOICE_BYTES)
    trips = library.route_round_trips * gpu.l2.mean_latency_cycles
    logits = column(op.num_experts) * np.minimum(tokens, ROUTED_AT_ONCE)
    demand = by_rows("route", rows, op, gpu).but(
        work={"fma_ops": FLOPS_OF_INSTRUCTION * library.route_instructions * logits},
        latency={"exposed_cycles": constant(trips), "helper_cycles": trips},
    )
    return demand.with_extra_launches(library.route_kernels - 1.0 + expert_type((op.dtype, op.stored), gpu).kernels)


def by_rows(name: str, rows: Rows, op: Moe, gpu: Gpu) -> KernelDemand:
    """A kernel with a CTA a row, which streams as others do but for `stream_rate`."""
    read, special = rows.elements * bytes_of(op.output_dtype), rows.gated + 0.0 * rows.ctas
    flops = FLOPS_OF_GATE * special + FLOPS_OF_ELEMENT * rows.elements
    stream = moving(read, rows.write_bytes, gpu, copies=rows.copies, flops=flops, special_ops=special)
    demand = stream_demand(name, stream, gpu, ctas=np.maximum(rows.ctas, 1.0))
    rate = expert_type((op.dtype, op.stored), gpu)
    overlap = replace(demand.overlap, l2_rate=rate.stream_rate * demand.overlap.l2_rate, dram_rate=rate.stream_rate)
    return replace(demand, overlap=overlap)
