"""What kernels of linear attention share: one of a chain, told by what all of its CTAs do together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.mapping.columns import constant
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of


class Library(NamedTuple):
    """What the kernels of one chain have in common in the machine's file."""

    setup_round_trips: float
    round_trips: float
    tensor_efficiency: float
    dram_rate: float
    overlap_exponent: float | None = None
    """Of the units of an SM; None: the machine's."""


def chain_library(gpu: Gpu) -> Library:
    """What kernels of a chain have in common. Raises SimexploreError where the machine has none."""
    chunked = gpu.linear_kernels.chunked
    return Library(
        chunked.setup_round_trips,
        chunked.round_trips,
        chunked.tensor_efficiency,
        chunked.dram_rate,
        chunked.overlap_exponent,
    )


WARPS = 4.0
"""Of most of these kernels' CTAs: what their autotuners and launches begin with."""
FEW_REGISTERS = 40.0
"""Of a thread that streams: a few elements, and addresses."""
PRODUCT_REGISTERS = 128.0
"""Of a thread that holds its share of a product: 64 x 128 numbers among 128 threads, operands, and addresses."""


NUMBER = bytes_of("fp32")
"""Bytes of what stays wide between kernels: gates, decays, states of chunks, and products that are not yet inverted."""
DECAYED = 2.0
"""Instructions for each element of a product that takes a factor of its own: difference of sums, product."""


def _nothing() -> FloatArray:
    return constant(0.0)


@dataclass(frozen=True)
class Traffic:
    """What a whole kernel reads and writes [B]; arrays of shape (rows, 1)."""

    inputs: FloatArray = field(default_factory=_nothing)
    """The operator's own inputs, once."""
    made: FloatArray = field(default_factory=_nothing)
    """What a kernel of the chain before it wrote, once."""
    again: FloatArray = field(default_factory=_nothing)
    """What CTAs read that others have read already: it comes from L2."""
    written: FloatArray = field(default_factory=_nothing)


@dataclass(frozen=True)
class Compute:
    """What a whole kernel computes; arrays of shape (rows, 1)."""

    tensor_dtype: str = "bf16"
    tensor_ops: FloatArray = field(default_factory=_nothing)
    instructions: FloatArray = field(default_factory=_nothing)
    """Of FMA pipes, each at one a lane and clock."""
    special_ops: FloatArray = field(default_factory=_nothing)


@dataclass(frozen=True)
class Ctas:
    """A kernel's grid, and what one of its CTAs holds and waits for."""

    count: FloatArray
    warps: float = WARPS
    registers: FloatArray | float = PRODUCT_REGISTERS
    shared_bytes: FloatArray | float = 0.0
    in_flight_bytes: FloatArray | None = None
    """Loads under way; None: all that a CTA reads."""
    chain_cycles: FloatArray | float = 0.0
    """Dependent latency within a CTA beside its loads."""


class Told(NamedTuple):
    """One kernel of a chain."""

    kernel: str
    ctas: Ctas
    traffic: Traffic
    compute: Compute


def stage(told: Told, library: Library, gpu: Gpu, state: CacheState) -> KernelDemand:
    """One kernel: inputs are as warm as activations are, what the chain has made as far as it fits L2."""
    kernel, ctas, traffic, compute = told
    count, hit = np.maximum(ctas.count, 1.0), gpu.l2.mean_latency_cycles  # none where a step has no such work
    once = traffic.inputs + traffic.made
    touched = once + traffic.written
    missed = traffic.inputs * (1.0 - warm_share(traffic.inputs, state.activation_copies, touched - traffic.inputs, gpu))
    missed = missed + traffic.made * (1.0 - warm_share(traffic.made, 1.0, touched - traffic.made, gpu))
    read = (once + traffic.again) / count
    return KernelDemand(
        kernel=kernel,
        grid=Grid(count, constant(ctas.warps), constant(0.0) + ctas.registers, constant(0.0) + ctas.shared_bytes),
        work=Work(
            tensor_dtype=compute.tensor_dtype,
            tensor_ops=compute.tensor_ops / count,
            fma_ops=2.0 * compute.instructions / count,
            special_ops=compute.special_ops / count,
            l2_read_bytes=read,
            l2_write_bytes=traffic.written / count,
            dram_read_bytes=missed / count,
            dram_write_bytes=traffic.written * written_back_share(touched, gpu) / count,
        ),
        latency=Latency(
            bytes_in_flight=read if ctas.in_flight_bytes is None else ctas.in_flight_bytes,
            chain_cycles=constant(0.0) + ctas.chain_cycles,
            exposed_cycles=constant(library.round_trips * hit),
            setup_cycles=constant(library.setup_round_trips * hit),
        ),
        overlap=Overlap(
            within_sm=library.overlap_exponent,
            tensor_efficiency=library.tensor_efficiency,
            dram_rate=library.dram_rate,
        ),
    )
