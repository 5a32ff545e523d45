"""Short causal convolutions → one kernel that reads each token once, and the few before it once more.

Two layouts, counted in their sources. `rows` (Dao-AILab/causal-conv1d, csrc/causal_conv1d_fwd.cu, which TensorRT-LLM
has too): a CTA of 128 threads walks along one channel of a sequence, 8 elements a thread and turn, and hands the last
ones of each thread to its neighbour through shared memory. `tokens` (vLLM and SGLang, causal_conv1d_triton.py): a CTA
takes 8 tokens of 256 channels and loads a token's after it has stored the one before. Steps: 64 or 256 channels of a
sequence a CTA.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.scans.stages import FEW_REGISTERS, WARPS, Compute, Ctas, Library, Told, Traffic, stage
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.scans.convolution import CausalConv1d, CausalConv1dUpdate, ShortConvolution
from simexplore.workloads.operators.training.scans import CausalConv1dBackward

ROW_THREADS, VECTOR_BYTES = 128.0, 16.0
"""Threads of a CTA that walks along a channel, and bytes that each loads at once where sequences are aligned."""
TURN_BARRIERS = 4.0
"""Barriers of a turn: around the exchange between neighbours."""
UNALIGNED_TURNS = 2.0
"""Transposes through shared memory of a turn over an unaligned sequence, one to load and one to store."""
BLOCK_TOKENS, BLOCK_CHANNELS = 8.0, 256.0
"""Tokens and channels of a CTA of the other layout."""
STEP_CHANNELS = {"rows": 64.0, "tokens": 256.0}
"""Channels of a CTA of the kernel for next tokens."""
STEP_WARPS = {"rows": 2.0, "tokens": 4.0}
"""Warps of it: a channel or two a thread."""


class _Layout(NamedTuple):
    ctas: Ctas
    again: FloatArray
    """Bytes that CTAs read once more: filters, and the tokens before their own."""


def convolution_demands(op: CausalConv1d, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One kernel, and one more launch for each further call that channels are divided among."""
    rows = gpu.linear_kernels.convolution.rules == "rows"
    layout = _along_channels(op, gpu) if rows else _by_tokens(op, gpu)
    kernel = _kernel(op, layout, gpu, conditions)
    return (kernel.but(latency={"extra_launches": column(op.calls) - 1.0}),)


def update_demands(op: CausalConv1dUpdate, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One kernel that reads the last tokens of each sequence, filters the new ones and writes the last tokens again."""
    rules = gpu.linear_kernels.convolution.rules
    channels = STEP_CHANNELS[rules]
    blocks = ceil_div(column(op.channels), channels)
    count = column(op.batch) * blocks
    element = bytes_of(op.dtype)
    held = element * channels * column(op.width)  # the window and the first new token do not wait for one another
    again = column(op.weight_bytes) * (column(op.batch) - 1.0)
    ctas = Ctas(count, STEP_WARPS[rules], FEW_REGISTERS, in_flight_bytes=constant(0.0) + held)
    return (_kernel(op, _Layout(ctas, again), gpu, conditions),)


def convolution_backward_demands(
    op: CausalConv1dBackward, gpu: Gpu, conditions: Conditions
) -> tuple[KernelDemand, ...]:
    """One kernel along channels, which also adds up its channel's filter gradients (causal_conv1d_bwd.cu).

    Instructions for each element are the forward kernel's, in proportion to flops.
    """
    library, forward = gpu.linear_kernels.convolution, op.forward
    layout, written = _along_channels(forward, gpu), column(op.written_bytes)
    traffic = Traffic(column(op.min_bytes) - written, again=layout.again, written=written)
    grown = column(op.flops) / column(forward.flops)
    instructions = library.instructions * grown * column(forward.elements)
    compute = Compute(instructions=instructions, special_ops=column(op.special_ops))
    shared = Library(library.setup_round_trips, library.round_trips, 1.0, 1.0, library.overlap_exponent)
    return (stage(Told(op.op, layout.ctas, traffic, compute), shared, gpu, conditions.cache),)


def _kernel(op: ShortConvolution, layout: _Layout, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library = gpu.linear_kernels.convolution
    written = column(op.written_bytes)
    traffic = Traffic(inputs=column(op.min_bytes) - written, again=layout.again, written=written)
    elements = column(op.elements)
    compute = Compute(instructions=library.instructions * elements, special_ops=column(op.special_ops))
    shared = Library(library.setup_round_trips, library.round_trips, 1.0, 1.0, library.overlap_exponent)
    return stage(Told(op.op, layout.ctas, traffic, compute), shared, gpu, conditions.cache)


def _along_channels(op: CausalConv1d, gpu: Gpu) -> _Layout:
    """A CTA a channel of a sequence; its turns wait for one another's exchange."""
    element, seq = bytes_of(op.dtype), column(op.seq_q)
    turn_bytes = ROW_THREADS * VECTOR_BYTES
    turns = ceil_div(seq * element, turn_bytes)
    aligned = np.mod(seq * element, VECTOR_BYTES) == 0.0
    transposes = np.where(aligned, 0.0, UNALIGNED_TURNS)
    barrier, shared = gpu.library.barrier_cycles, gpu.sm.latency.shared_cycles
    chain = turns * ((TURN_BARRIERS + transposes) * barrier + (1.0 + transposes) * shared)
    count = column(op.batch) * column(op.channels)
    in_flight = np.minimum(seq * element, turn_bytes)
    return _Layout(
        Ctas(count, WARPS, FEW_REGISTERS, turn_bytes, in_flight, chain),
        column(op.weight_bytes) * (column(op.batch) - 1.0),
    )


def _by_tokens(op: CausalConv1d, gpu: Gpu) -> _Layout:  # noqa: ARG001 - the signature of layouts
    """A CTA some tokens of many channels; one token's elements are under way at a time."""
    element, batch, channels = bytes_of(op.dtype), column(op.batch), column(op.channels)
    blocks = ceil_div(column(op.seq_q), BLOCK_TOKENS)
    count = batch * blocks * ceil_div(channels, BLOCK_CHANNELS)
    halo = element * channels * batch * (blocks - 1.0) * (column(op.width) - 1.0)
    filters = column(op.weight_bytes) * (batch * blocks - 1.0)
    in_flight = element * np.minimum(channels, BLOCK_CHANNELS)
    return _Layout(Ctas(count, WARPS, FEW_REGISTERS, 0.0, in_flight), halo + filters)
