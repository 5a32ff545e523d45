"""Mamba-2 over prompts → the five kernels of its chunked form (state-spaces/mamba, ops/triton/ssd_combined.py).

With chunks of C tokens, P elements of x and N of B a head, G groups: sums of decays; states x^T B of each chunk; the
states passed on from chunk to chunk, element by element; products C B^T of each group; and what a chunk's tokens take
of each other and of the state before (Dao and Gu, arXiv 2405.21060, section 6). Tiles are 64 or 128 wide there.
"""

from __future__ import annotations

from typing import NamedTuple

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.attention.prefill import tensor_dtype
from simexplore.sim.mapping.columns import ceil_div, constant
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
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.scans.statespace import SsdPrefill

TILE = 64.0
"""Rows of a CTA's part of a product."""
WIDE = 128.0
"""Elements of B of one."""
PASSED = 1024.0
"""Elements of a state that a CTA passes on (_state_passing_fwd's block)."""
PASS_ROUND_TRIPS = 1.0
"""Of each chunk, where states are passed on: its own is loaded when the one before has been stored."""
OF_PASSING = 8.0
"""Warps of a CTA that passes states on: a number of four a thread."""


class Sizes(NamedTuple):
    """Counts of a row, and bytes of what goes from kernel to kernel; arrays of shape (rows, 1)."""

    heads: FloatArray
    groups: FloatArray
    tokens: FloatArray
    chunk: FloatArray
    width: FloatArray
    state: FloatArray
    chunks: FloatArray
    of_sequence: FloatArray
    """Chunks of one sequence."""
    element: float
    dtype: str

    @property
    def blocks(self) -> FloatArray:
        """Chunks of all heads."""
        return self.chunks * self.heads

    @property
    def of_group(self) -> FloatArray:
        """Heads of a group."""
        return self.heads / self.groups

    @property
    def x_bytes(self) -> FloatArray:
        return self.element * self.tokens * self.heads * self.width

    @property
    def shared_bytes(self) -> FloatArray:
        """B of all groups, or C [B]."""
        return self.element * self.tokens * self.groups * self.state

    @property
    def decay_bytes(self) -> FloatArray:
        """dt and sums of decays [B]."""
        return 2.0 * NUMBER * self.tokens * self.heads

    @property
    def states(self) -> FloatArray:
        """Elements of the states of all chunks."""
        return self.blocks * self.width * self.state

    @property
    def pair_bytes(self) -> FloatArray:
        """Products of each group's B and C in all chunks [B]."""
        return NUMBER * self.chunks * self.groups * self.chunk**2


def ssd_demands(op: SsdPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The five kernels, in order. Raises SimexploreError where the GPU has no tensor cores for the type."""
    s = sizes_of(op, gpu)
    return (*again_demands(op, s, gpu, conditions), stage(_outputs(s), chain_library(gpu), gpu, conditions.cache))


def again_demands(op: SsdPrefill, s: Sizes, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """All but the last: what a backward pass does again."""
    told, library = (_gates(op, s), _chunk_states(s), passing(op, s, gpu), _products(s)), chain_library(gpu)
    return tuple(stage(each, library, gpu, conditions.cache) for each in told)


def sizes_of(op: SsdPrefill, gpu: Gpu) -> Sizes:
    """Counts of the operator. Raises SimexploreError where the GPU has no tensor cores for the type."""
    of_sequence = ceil_div(column(op.seq_q), column(op.chunk))
    return Sizes(
        heads=column(op.heads),
        groups=column(op.groups),
        tokens=column(op.tokens),
        chunk=column(op.chunk),
        width=column(op.head_dim),
        state=column(op.state_dim),
        chunks=column(op.batch) * of_sequence,
        of_sequence=of_sequence,
        element=bytes_of(op.dtype),
        dtype=tensor_dtype(op.dtype, gpu),
    )


def _gates(op: SsdPrefill, s: Sizes) -> Told:
    """dt and sums of decays, of tokens and heads."""
    traffic = Traffic(inputs=s.element * s.tokens * s.heads, written=s.decay_bytes)
    return Told("gates", Ctas(s.blocks, WARPS, FEW_REGISTERS), traffic, Compute(special_ops=column(op.special_ops)))


def _chunk_states(s: Sizes) -> Told:
    """x^T B of each chunk, in fp32."""
    columns = ceil_div(s.width, TILE)
    again = s.shared_bytes * (s.of_group * columns - 1.0) + s.x_bytes * (ceil_div(s.state, WIDE) - 1.0)
    traffic = Traffic(s.x_bytes + s.shared_bytes, s.decay_bytes, again, NUMBER * s.states)
    compute = Compute(s.dtype, 2.0 * s.chunk * s.states, s.tokens * s.heads * s.width)
    return Told("chunk_states", Ctas(s.blocks * columns * ceil_div(s.state, WIDE)), traffic, compute)


def passing(op: SsdPrefill, s: Sizes, gpu: Gpu) -> Told:
    """The sequential part: each state decays and takes the next chunk's, element by element."""
    carried = column(op.state_bytes)
    traffic = Traffic(carried, NUMBER * s.states, written=s.element * s.states + carried)
    ctas = Ctas(
        ceil_div(column(op.state_elements), PASSED),
        OF_PASSING,
        FEW_REGISTERS,
        in_flight_bytes=constant(NUMBER * PASSED),
        chain_cycles=s.of_sequence * PASS_ROUND_TRIPS * gpu.l2.mean_latency_cycles,
    )
    return Told("states", ctas, traffic, Compute(instructions=2.0 * s.states))


def _products(s: Sizes) -> Told:
    """C B^T of each group and chunk, in fp32."""
    rows = ceil_div(s.chunk, TILE)
    traffic = Traffic(2.0 * s.shared_bytes, again=2.0 * s.shared_bytes * (rows - 1.0), written=s.pair_bytes)
    compute = Compute(s.dtype, 2.0 * s.chunks * s.groups * s.chunk**2 * s.state)
    return Told("products", Ctas(s.chunks * s.groups * rows**2), traffic, compute)


def _outputs(s: Sizes) -> Told:
    """C times the states before, and the products' lower half times x; tiles on the diagonal are computed whole."""
    rows, columns = ceil_div(s.chunk, TILE), ceil_div(s.width, TILE)
    seen = (s.chunk + TILE) / 2.0
    again = (s.of_group * columns - 1.0) * (s.shared_bytes + s.pair_bytes) + s.x_bytes * (rows - 1.0) / 2.0
    traffic = Traffic(s.x_bytes + s.shared_bytes, s.decay_bytes + s.element * s.states + s.pair_bytes, again, s.x_bytes)
    factors = s.blocks * s.chunk * seen
    compute = Compute(s.dtype, 2.0 * s.blocks * s.chunk * s.width * (s.state + seen), DECAYED * factors, factors)
    return Told("outputs", Ctas(s.blocks * rows * columns), traffic, compute)
