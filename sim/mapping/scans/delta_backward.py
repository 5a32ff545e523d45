"""Gradients of delta rules → the kernels of their chunked form.

Counted in flash-linear-attention (fla-org, MIT, at bc3b101d): ops/gated_delta_rule/chunk.py and wy_fast.py
(`chunk_gated_delta_rule_bwd`), ops/common/chunk_o.py and chunk_delta_h.py, ops/kda/chunk_bwd.py and chunk_intra.py.
With chunks of C tokens, keys of K and values of V a head, A the inverted products that the forward pass kept:

    w, u           A (b K), A (b V), once more
    states         once more, for they are not kept
    dv             tril(K Q^T) dO of a chunk; with fine decays also dO V^T
    dstates        from the last chunk to the first: dV += K dS, dS = a dS + Q^T dO - w^T dV
    dq, dk, dw     dO S, V dS and dV S; with one decay a head also dO V^T, and its products with K and Q
    inverse        gradients through A: dw K^T, A dw, dV V^T, A dV, A dA A; then through b K K^T
    within         with fine decays the gradients through products of a chunk, for queries and for keys

Nothing here was fitted: what kernels of a chain have in common is what the forward pass's have.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import Algorithm, FloatArray, KernelDemand
from simexplore.sim.mapping.columns import ceil_div
from simexplore.sim.mapping.scans.delta import (
    BLOCK,
    GATE_INSTRUCTIONS,
    NORM_INSTRUCTIONS,
    NORM_ROWS,
    OUTPUT_WARPS,
    Sizes,
    factors_demand,
    sequential,
    sizes_of,
    states_demand,
)
from simexplore.sim.mapping.scans.stages import (
    DECAYED,
    FEW_REGISTERS,
    NUMBER,
    WARPS,
    Compute,
    Ctas,
    Told,
    Traffic,
    chain_library,
    stage,
)
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import DeltaBackward

OF_STATES = 3.0
"""Products of a chunk with its state, or with its gradient: for queries, for keys and for w."""
OF_PAIRS = 3.0
"""Products of keys with keys in the backward pass: made again, and the gradient of either side."""
SUMMED = 3.0
"""Gradients that become those of queries and keys: dQ, and two parts of dK."""
WITHIN = 4.0
"""Products of a chunk's gradients with queries or keys: as rows and as columns, of queries' and of keys' products."""


def delta_backward_algorithms(op: DeltaBackward, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The chain, with kernels for gradients of normalised queries and keys after it, and without.

    Raises SimexploreError where the GPU has no tensor cores for the type.
    """
    chain, normalized = delta_backward_demands(op, gpu, conditions), np.asarray(column(op.normalized)[:, 0] > 0.0)
    if not normalized.any():
        return (Algorithm(chain, ~normalized),)
    s = sizes_of(op.forward, float(gpu.linear_kernels.chunked.chunk), gpu)
    after = tuple(_norm(s, gpu, conditions.cache) for _ in ("queries", "keys"))
    return Algorithm((*chain, *after), normalized), Algorithm(chain, ~normalized)


def delta_backward_demands(op: DeltaBackward, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The chain itself."""
    forward, state = op.forward, conditions.cache
    fine = bool(np.any(op.fine))
    s = sizes_of(forward, float(gpu.linear_kernels.chunked.chunk), gpu)
    last = (_fine_inverse(s), _fine_within(s)) if fine else (_outer(s), _inverse(s), _shared_keys(s))
    told = (_local(s, fine=fine), _states(op, s, gpu), *last, _gates(s, fine=fine))
    chain = tuple(stage(each, chain_library(gpu), gpu, state) for each in told)
    return (factors_demand(s, gpu, state, fine=fine), states_demand(forward, s, gpu, state, fine=fine), *chain)


def _local(s: Sizes, *, fine: bool) -> Told:
    """dV of a chunk's own products; with fine decays these were kept, and their gradient is made beside."""
    ops = s.products(s.chunk, s.value_dim, s.chunk)
    if fine:
        traffic = Traffic(s.values, s.values + s.element * s.square, written=s.values + NUMBER * s.square)
        return Told("dv", Ctas(s.blocks), traffic, Compute(s.dtype, ops + s.products(s.chunk, s.chunk, s.value_dim)))
    pairs = s.blocks * s.chunk**2
    again = 2.0 * (s.keys_of_heads - s.keys)
    traffic = Traffic(2.0 * s.keys + s.values, s.decays(fine=False), again, s.values)
    compute = Compute(s.dtype, ops + s.products(s.chunk, s.chunk, s.key_dim), DECAYED * pairs, pairs)
    return Told("dv", Ctas(s.blocks), traffic, compute)


def _states(op: DeltaBackward, s: Sizes, gpu: Gpu) -> Told:
    """The sequential part: as the forward pass's, with three products a chunk where that has two."""
    ctas, blocks = sequential(op.forward, s, gpu, OF_STATES, 2.0)
    read = OF_STATES * s.keys_of_heads  # queries, keys and w
    traffic = Traffic(s.values, read + s.values, (blocks - 1.0) * read, s.states + s.values)
    return Told("dstates", ctas, traffic, Compute(s.dtype, OF_STATES * s.products(s.chunk, s.key_dim, s.value_dim)))


def _outer(s: Sizes) -> Told:
    """dQ, dK and dw of states, and of a chunk's products."""
    ops = OF_STATES * s.products(s.chunk, s.key_dim, s.value_dim) + s.products(s.chunk, s.chunk, s.value_dim)
    ops = ops + 2.0 * s.products(s.chunk, s.key_dim, s.chunk)
    made = 2.0 * s.values + 2.0 * s.states + s.decays(fine=False)
    again = 2.0 * (s.keys_of_heads - s.keys)
    traffic = Traffic(2.0 * s.keys + s.values, made, again, OF_STATES * s.keys_of_heads + s.decays(fine=False))
    pairs = s.blocks * s.chunk**2
    return Told("dq_dk_dw", Ctas(s.blocks, OUTPUT_WARPS), traffic, Compute(s.dtype, ops, 2.0 * DECAYED * pairs, pairs))


def _through(s: Sizes) -> FloatArray:
    """Products through the inverse: of keys and of values two each, and two of the inverse with its own gradient."""
    of_sides = 2.0 * s.products(s.chunk, s.chunk, s.key_dim + s.value_dim)
    return of_sides + 2.0 * s.products(s.chunk, s.chunk, s.chunk)


def _inverse(s: Sizes) -> Told:
    """Gradients through A, and through products of keys with keys, which are made again."""
    ops = _through(s) + OF_PAIRS * s.products(s.chunk, s.chunk, s.key_dim)
    rates = NUMBER * s.tokens * s.heads
    made = s.element * s.square + 2.0 * s.keys_of_heads + s.values + rates  # A, dw, dK so far, dV
    traffic = Traffic(
        s.keys + s.values + rates, made, s.keys_of_heads - s.keys, s.keys_of_heads + s.values + 2.0 * rates
    )
    pairs = s.blocks * s.chunk**2
    return Told("dinverse", Ctas(s.blocks), traffic, Compute(s.dtype, ops, 2.0 * DECAYED * pairs, pairs))


def _shared_keys(s: Sizes) -> Told:
    """Gradients of queries and keys, added up over the value heads that read them."""
    traffic = Traffic(made=SUMMED * s.keys_of_heads, written=2.0 * s.keys)
    rows = ceil_div(s.tokens * s.query_heads, NORM_ROWS)
    elements = SUMMED * s.keys_of_heads / s.element
    return Told("sum_heads", Ctas(rows, WARPS, FEW_REGISTERS), traffic, Compute(instructions=elements))


def _fine_inverse(s: Sizes) -> Told:
    """dQ, dK and dw of states, and gradients through A, in one kernel."""
    ops = OF_STATES * s.products(s.chunk, s.key_dim, s.value_dim) + _through(s)
    sums, features = s.decays(fine=True), s.tokens * s.heads * s.key_dim
    made = s.element * s.square + 2.0 * s.values + 2.0 * s.states + sums
    written = 2.0 * NUMBER * features + s.values + sums + NUMBER * s.square
    traffic = Traffic(2.0 * s.keys_of_heads + 2.0 * s.values, made, written=written)
    compute = Compute(s.dtype, ops, 2.0 * DECAYED * features, 2.0 * features)
    return Told("dinverse", Ctas(s.blocks, OUTPUT_WARPS), traffic, compute)


def _fine_within(s: Sizes) -> Told:
    """Four products of gradients with scaled queries or keys, over blocks at and below the diagonal."""
    seen = (s.chunk + BLOCK) / 2.0
    sums, features = s.decays(fine=True), s.tokens * s.heads * s.key_dim
    made = 2.0 * NUMBER * s.square + sums + 2.0 * NUMBER * features + sums
    traffic = Traffic(2.0 * s.keys_of_heads, made, written=2.0 * s.keys_of_heads + sums)
    compute = Compute(
        s.dtype, WITHIN * s.products(s.chunk, s.key_dim, seen), WITHIN * DECAYED * features, WITHIN * features
    )
    return Told("within", Ctas(s.blocks * s.chunk / BLOCK), traffic, compute)


def _gates(s: Sizes, *, fine: bool) -> Told:
    """Gradients of decays, summed from the end of a chunk to its beginning."""
    sums = s.decays(fine=fine)
    instructions = GATE_INSTRUCTIONS * sums / NUMBER if fine else 0.0 * sums
    ctas = Ctas(s.blocks, WARPS if fine else 1.0, FEW_REGISTERS)
    return Told("dgates", ctas, Traffic(made=sums, written=sums), Compute(instructions=instructions))


def _norm(s: Sizes, gpu: Gpu, state: CacheState) -> KernelDemand:
    """The gradient of queries, or of keys, before each was divided by its length."""
    rows = s.tokens * s.query_heads
    traffic = Traffic(inputs=s.keys, made=s.keys, written=s.keys)
    compute = Compute(instructions=2.0 * NORM_INSTRUCTIONS * rows * s.key_dim, special_ops=rows)
    told = Told("dnormalize", Ctas(ceil_div(rows, NORM_ROWS), WARPS, FEW_REGISTERS), traffic, compute)
    return stage(told, chain_library(gpu), gpu, state)
