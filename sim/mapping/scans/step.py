"""Steps of a state → one kernel of CTAs of one warp, each of which holds some columns of a head's state in registers.

It is bound by reading and writing states. Counted in flash-linear-attention, ops/gated_delta_rule/fused_recurrent.py
(a CTA is a warp; 8 columns there, up to 32 in the kernels of vLLM and SGLang that take projections packed), and in
state-spaces/mamba, selective_state_update.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.scans.stages import Compute, Ctas, Library, Told, Traffic, stage
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.scans.delta import DeltaDecode
from simexplore.workloads.operators.scans.statespace import SsdDecode

OTHER_REGISTERS = 40.0
"""Registers of a thread beside its share of the state: a token's query, key, value, and addresses."""
MOST_REGISTERS = 255.0
TOKEN_ROUND_TRIPS = 1.0
"""Of each token after the first: its query, key and value are loaded when the one before is done."""
SSD_WARPS = 4.0


def delta_step_demands(op: DeltaDecode, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Gated delta networks and Kimi's: a warp holds `step.value_columns` columns of keys' whole length."""
    library = gpu.linear_kernels.step
    columns = float(library.value_columns)
    blocks = ceil_div(column(op.value_dim), columns)
    count = column(op.batch) * column(op.heads) * blocks
    # Queries, keys and gates of a head are read by each of its blocks.
    query_bytes = bytes_of(op.dtype) * 2.0 * column(op.key_dim)
    again = column(op.tokens) * (column(op.heads) * blocks - column(op.query_heads)) * query_bytes
    held = columns * column(op.key_dim) / gpu.sm.warp_size + OTHER_REGISTERS
    return (_kernel(op, count, again, 1.0, held, gpu, conditions),)


def ssd_step_demands(op: SsdDecode, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Mamba-2: four warps hold `step.value_columns` rows of a head's state."""
    rows = float(gpu.linear_kernels.step.value_columns)
    blocks = ceil_div(column(op.head_dim), rows)
    count = column(op.batch) * column(op.heads) * blocks
    shared = bytes_of(op.dtype) * 2.0 * column(op.state_dim)
    again = column(op.tokens) * (column(op.heads) * blocks - column(op.groups)) * shared
    held = rows * column(op.state_dim) / (SSD_WARPS * gpu.sm.warp_size) + OTHER_REGISTERS
    return (_kernel(op, count, again, SSD_WARPS, held, gpu, conditions),)


def _kernel(
    op: DeltaDecode | SsdDecode,
    count: FloatArray,
    again: FloatArray,
    warps: float,
    registers: FloatArray,
    gpu: Gpu,
    conditions: Conditions,
) -> KernelDemand:
    library = gpu.linear_kernels.step
    written = column(op.written_bytes)
    traffic = Traffic(inputs=column(op.min_bytes) - written, again=again, written=written)
    tokens, state = column(op.seq_q), column(op.state_elements)
    instructions = library.instructions * tokens * state
    waited = (tokens - 1.0) * TOKEN_ROUND_TRIPS * gpu.l2.mean_latency_cycles
    ctas = Ctas(count, warps, np.minimum(registers, MOST_REGISTERS), chain_cycles=constant(0.0) + waited)
    shared = Library(library.setup_round_trips, library.round_trips, 1.0, library.dram_rate)
    compute = Compute(instructions=instructions, special_ops=column(op.special_ops))
    return stage(Told(op.op, ctas, traffic, compute), shared, gpu, conditions.cache)
