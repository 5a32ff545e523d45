"""Kernels that stream: every CTA loads its share, computes a little and stores. Base of elementwise and row-wise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.mapping.columns import constant
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.columns import column

REGISTERS = 32.0
"""Registers of a thread of a streaming kernel: one vector per load in flight and some addresses."""


class Stream(NamedTuple):
    """Whole-kernel work of a streaming kernel; arrays of shape (rows, 1)."""

    read_bytes: FloatArray
    write_bytes: FloatArray
    flops: FloatArray
    special_ops: FloatArray
    warm_share: FloatArray
    """Share of the reads that hits L2."""
    written_back_share: FloatArray
    """Share of the writes that reaches DRAM within the kernel's time."""


def stream_demand(
    kernel: str,
    stream: Stream,
    gpu: Gpu,
    ctas: FloatArray | None = None,
    chain_cycles: FloatArray | None = None,
) -> KernelDemand:
    """One streaming kernel; `ctas` where the grid is one CTA a row, else as many as the bytes need."""
    library = gpu.library.elementwise
    threads = float(library.threads_per_cta)
    at_once = threads * library.bytes_per_thread * library.loads_in_flight
    # A thread is there for what it loads or for what it stores, whichever is more.
    moved = np.maximum(stream.read_bytes, stream.write_bytes)
    grid = np.maximum(np.ceil(moved / at_once), 1.0) if ctas is None else ctas
    hit = gpu.l2.mean_latency_cycles
    read, write = stream.read_bytes / grid, stream.write_bytes / grid
    return KernelDemand(
        kernel=kernel,
        grid=Grid(
            ctas=grid,
            warps_per_cta=constant(threads / gpu.sm.warp_size),
            registers_per_thread=constant(REGISTERS),
            shared_bytes_per_cta=constant(0.0),
        ),
        work=Work(
            fma_ops=stream.flops / grid,
            special_ops=stream.special_ops / grid,
            l2_read_bytes=read,
            l2_write_bytes=write,
            dram_read_bytes=read * (1.0 - stream.warm_share),
            dram_write_bytes=write * stream.written_back_share,
        ),
        latency=Latency(
            bytes_in_flight=np.minimum(read, at_once),
            chain_cycles=constant(0.0) if chain_cycles is None else chain_cycles,
            exposed_cycles=constant(hit),
            setup_cycles=constant(library.setup_round_trips * hit),
        ),
        overlap=Overlap(
            l2_rate=library.l2_rate,
        ),
    )


def moving(
    read_bytes: FloatArray,
    write_bytes: FloatArray,
    gpu: Gpu,
    *,
    copies: float | FloatArray = 1.0,
    flops: FloatArray | None = None,
    special_ops: FloatArray | None = None,
) -> Stream:
    """Inputs that are read once, and a result: both lie between two reads of a line of the inputs [B].

    Args:
        read_bytes: the inputs [B], shape (rows, 1).
        write_bytes: the result [B].
        gpu: the machine.
        copies: how many of the inputs take turns; one where the kernel before has written them.
        flops: of the whole kernel; none where it only moves.
        special_ops: of the whole kernel.
    """
    return Stream(
        read_bytes=read_bytes,
        write_bytes=write_bytes,
        flops=constant(0.0) if flops is None else flops,
        special_ops=constant(0.0) if special_ops is None else special_ops,
        warm_share=warm_share(read_bytes, copies, write_bytes, gpu),
        written_back_share=written_back_share(read_bytes + write_bytes, gpu),
    )


def stream_of(op: Operator, gpu: Gpu, state: CacheState) -> Stream:
    """The work of an operator whose inputs are activations; they stay in L2 as far as they and the result fit it."""
    write = column(op.output_bytes)
    read = column(op.min_bytes) - write
    special = column(op.special_ops)
    flops = column(op.flops) - special
    return moving(read, write, gpu, copies=state.activation_copies, flops=flops, special_ops=special)
