"""Mamba-2 over prompts → the five kernels of its chunked form (state-spaces/mamba, ops/triton/ssd_combined.py).

With chunks of C tokens, P elements of x and N of B a head, G groups: sums of decays; states x^T B of each chunk; the
states passed on from chunk to chunk, element by element; products C B^T of each group; and what a chunk's tokens take
of each other and of the state before (Dao and Gu, arXiv 2405.21060, section 6). Tiles are 64 or 128 wide there.
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.attention.prefill import tensor_dtype
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.scans.stages import Compute, Ctas, Traffic, chain_library, stage
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.scans.statespace import SsdPrefill

NUMBER = 4.0
"""Bytes of an fp32 number: decays, states of chunks, and products of groups."""
TILE = 64.0
"""Rows of a CTA's part of a product."""
WIDE = 128.0
"""Elements of B of one."""
PASSED = 1024.0
"""Elements of a state that a CTA passes on (_state_passing_fwd's block)."""
PASS_ROUND_TRIPS = 1.0
"""Of each chunk, where states are passed on: its own is loaded when the one before has been stored."""
DECAYED = 2.0
"""Instructions for each element of a product that takes a factor of its own."""


def ssd_demands(op: SsdPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The five kernels, in order. Raises SimexploreError where the GPU has no tensor cores for the type."""
    library = chain_library(gpu)
    dtype, element = tensor_dtype(op.dtype, gpu), bytes_of(op.dtype)
    chunk, width, state = column(op.chunk), column(op.head_dim), column(op.state_dim)
    heads, groups, tokens = column(op.heads), column(op.groups), column(op.tokens)
    of_sequence = ceil_div(column(op.seq_q), chunk)
    chunks = column(op.batch) * of_sequence
    blocks = chunks * heads
    decays = NUMBER * tokens * heads
    x, shared = element * tokens * heads * width, element * tokens * groups * state
    states, pairs = NUMBER * blocks * width * state, NUMBER * chunks * groups * chunk**2
    passed, carried = element * blocks * width * state, column(op.state_bytes)
    tiles = ceil_div(width, TILE) * ceil_div(state, WIDE)
    waited = of_sequence * PASS_ROUND_TRIPS * gpu.l2.mean_latency_cycles

    def one(name: str, ctas: Ctas, traffic: Traffic, compute: Compute) -> KernelDemand:
        return stage(name, ctas, traffic, compute, library, gpu, conditions.cache)

    of_tile = column(op.state_elements) / PASSED
    rows = ceil_div(chunk, TILE)
    return (
        one(
            "gates",
            Ctas(blocks, 4.0, 40.0),
            Traffic(inputs=element * tokens * heads, written=2.0 * decays),
            Compute(special_ops=column(op.special_ops)),
        ),
        one(
            "chunk_states",
            Ctas(blocks * tiles, 4.0),
            Traffic(x + shared, 2.0 * decays, shared * (heads / groups * ceil_div(width, TILE) - 1.0), states),
            Compute(dtype, 2.0 * blocks * chunk * width * state, tokens * heads * width),
        ),
        one(
            "states",
            Ctas(ceil_div(of_tile, 1.0), 8.0, 40.0, in_flight_bytes=constant(NUMBER * PASSED), chain_cycles=waited),
            Traffic(inputs=carried, made=states, written=passed + carried),
            Compute(instructions=2.0 * blocks * width * state),
        ),
        one(
            "products",
            Ctas(chunks * groups * rows**2, 4.0),
            Traffic(inputs=2.0 * shared, again=2.0 * shared * (rows - 1.0), written=pairs),
            Compute(dtype, 2.0 * chunks * groups * chunk**2 * state),
        ),
        one(
            "outputs",
            Ctas(blocks * rows * ceil_div(width, TILE), 4.0),
            Traffic(
                x + shared,
                2.0 * decays + passed + pairs,
                (heads / groups - 1.0) * (shared + pairs) + x * (rows - 1.0) / 2.0,
                x,
            ),
            Compute(
                dtype,
                2.0 * blocks * chunk * width * (state + (chunk + TILE) / 2.0),
                DECAYED * blocks * chunk * (chunk + TILE) / 2.0,
                blocks * chunk * (chunk + TILE) / 2.0,
            ),
        ),
    )
