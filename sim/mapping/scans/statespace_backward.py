"""Gradients of Mamba-2 → the kernels of their chunked form.

Counted in state-spaces/mamba (at e9594ce1), ops/triton/ssd_combined.py, `_mamba_chunk_scan_combined_bwd`, with
ssd_chunk_scan.py, ssd_chunk_state.py, ssd_bmm.py and ssd_state_passing.py. First what the forward pass did not keep:
sums of decays, products C B^T, states of chunks, and these passed on. Then gradients of states, passed back; of x; of B
and C by states; of the products, added up over a group's heads, and of B and C by these; and of decays, for which the
products of gradients with x are made once more. Nothing here was fitted.
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.columns import ceil_div
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
from simexplore.sim.mapping.scans.statespace import TILE, WIDE, Sizes, again_demands, passing, sizes_of
from simexplore.workloads.ops import SsdBackward


def ssd_backward_demands(op: SsdBackward, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """All kernels, in order. Raises SimexploreError where the GPU has no tensor cores for the type."""
    s = sizes_of(op.forward, gpu)
    back = passing(op.forward, s, gpu)._replace(kernel="dstates_passed")
    told = (
        _of_states(s),
        back,
        _of_x(s),
        _of_shared("db", s),
        _of_shared("dc", s),
        _of_products(s),
        _of_product_sides("db_within", s),
        _of_product_sides("dc_within", s),
        _of_decays(s),
        _gates(s),
    )
    library = chain_library(gpu)
    return (
        *again_demands(op.forward, s, gpu, conditions),
        *(stage(each, library, gpu, conditions.cache) for each in told),
    )


def _seen(s: Sizes) -> FloatArray:
    """Tokens of a chunk that one takes of, tiles on the diagonal whole."""
    return (s.chunk + TILE) / 2.0


def _of_states(s: Sizes) -> Told:
    """dy^T C of each chunk."""
    columns = ceil_div(s.width, TILE)
    again = s.shared_bytes * (s.of_group * columns - 1.0) + s.x_bytes * (ceil_div(s.state, WIDE) - 1.0)
    traffic = Traffic(s.x_bytes + s.shared_bytes, s.decay_bytes / 2.0, again, NUMBER * s.states)
    compute = Compute(s.dtype, 2.0 * s.chunk * s.states, s.tokens * s.heads * s.width)
    return Told("dstates", Ctas(s.blocks * columns * ceil_div(s.state, WIDE)), traffic, compute)


def _of_x(s: Sizes) -> Told:
    """B times the gradients of states, and the products' upper half times dy; dt beside."""
    rows, columns = ceil_div(s.chunk, TILE), ceil_div(s.width, TILE)
    again = (s.of_group * columns - 1.0) * (s.shared_bytes + s.pair_bytes) + s.x_bytes * (rows - 1.0) / 2.0
    made = s.decay_bytes + s.element * s.states + s.pair_bytes
    traffic = Traffic(2.0 * s.x_bytes + s.shared_bytes, made, again, s.x_bytes + s.decay_bytes / 2.0)
    factors = s.blocks * s.chunk * _seen(s)
    ops = 2.0 * s.blocks * s.chunk * s.width * (s.state + _seen(s))
    return Told("dx", Ctas(s.blocks * rows * columns), traffic, Compute(s.dtype, ops, DECAYED * factors, factors))


def _of_shared(name: str, s: Sizes) -> Told:
    """x times the gradients of states, or dy times states: B's gradient, or C's, and decays' part of either."""
    rows = ceil_div(s.chunk, TILE)
    made = s.decay_bytes + s.element * s.states
    again = s.element * s.states * (rows - 1.0)
    traffic = Traffic(s.x_bytes + s.shared_bytes, made, again, NUMBER * s.shared_bytes / s.element + s.decay_bytes / 2)
    ctas = Ctas(s.chunks * s.groups * rows * ceil_div(s.state, WIDE))
    compute = Compute(s.dtype, 2.0 * s.chunk * s.states, 2.0 * s.tokens * s.heads * s.state)
    return Told(name, ctas, traffic, compute)


def _dy_x(s: Sizes) -> Compute:
    """dy x^T of each head and chunk, tiles at and below the diagonal."""
    factors = s.blocks * s.chunk * _seen(s)
    return Compute(s.dtype, 2.0 * factors * s.width, DECAYED * factors, factors)


def _of_products(s: Sizes) -> Told:
    """Gradients of C B^T: dy x^T, added up over a group's heads, then written in the products' type."""
    rows = ceil_div(s.chunk, TILE)
    traffic = Traffic(2.0 * s.x_bytes, s.decay_bytes, 2.0 * s.x_bytes * (rows - 1.0) / 2.0, s.pair_bytes)
    return Told("dproducts", Ctas(s.chunks * s.groups * rows**2), traffic, _dy_x(s))


def _of_product_sides(name: str, s: Sizes) -> Told:
    """The products' gradient times C, or B, added to what states gave."""
    rows, wide = ceil_div(s.chunk, TILE), ceil_div(s.state, WIDE)
    of_states = NUMBER * s.shared_bytes / s.element
    again = s.shared_bytes * (rows - 1.0) + s.pair_bytes * (wide - 1.0)
    traffic = Traffic(s.shared_bytes, s.pair_bytes + of_states, again, s.shared_bytes)
    compute = Compute(s.dtype, 2.0 * s.chunks * s.groups * s.chunk**2 * s.state)
    return Told(name, Ctas(s.chunks * s.groups * rows * wide), traffic, compute)


def _of_decays(s: Sizes) -> Told:
    """Decays within a chunk: dy x^T once more, times the products, summed along rows."""
    rows = ceil_div(s.chunk, TILE)
    again = s.x_bytes * (rows - 1.0) + s.pair_bytes * (s.of_group - 1.0)
    traffic = Traffic(2.0 * s.x_bytes, s.decay_bytes + s.pair_bytes, again, s.decay_bytes / 2.0)
    return Told("ddecays", Ctas(s.blocks * rows), traffic, _dy_x(s))


def _gates(s: Sizes) -> Told:
    """Gradients of dt and of the rates of forgetting, from sums of decays' gradients."""
    traffic = Traffic(s.element * s.tokens * s.heads, 2.0 * s.decay_bytes, written=s.element * s.tokens * s.heads)
    compute = Compute(special_ops=2.0 * s.tokens * s.heads)
    return Told("dgates", Ctas(s.blocks, WARPS, FEW_REGISTERS), traffic, compute)
