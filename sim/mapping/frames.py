"""From a frame of kernels to what a GPU with a neural-graphics cluster (NGPC) does instead.

Encodings and networks go to the cluster. All that is left on the GPU becomes one kernel that stays on its SMs: a ray's
state is in registers, so what kernels handed each other through memory falls away, with the instructions that carried
it. Queries go to the cluster and results come back through L2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Work
from simexplore.sim.hardware.ngpc.area import BITS_PER_BYTE
from simexplore.sim.hardware.ngpc.cluster import FieldQueries, handed_over_missing
from simexplore.sim.hardware.ngpc.nfp import Field, Layer, Level
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import FusedMlp, Gemm, GridEncoding, HostRead, Operator, RayKernel, Relu

PERSISTENT_REGISTERS = 64.0
CTA_THREADS = 128.0
NARROW_FEATURE_BYTES = 1.0
QUEUE_INSTRUCTIONS = 30.0
"""Of a query's way to the cluster and back: a slot from a warp-wide atomic, its address, stores, load, conversions."""


@dataclass(frozen=True)
class Frame:
    """A frame as GPU and cluster share it."""

    name: str
    asked: FieldQueries
    """What the cluster is asked."""
    threads: float
    """Rays of the GPU's kernel."""
    instructions: float
    """Of all its threads."""
    dependent_loads: float
    """Of all its threads."""
    frame_bytes: float
    """The picture [B]."""


def frame_of(graph: Graph, ngpc: Ngpc) -> Frame | None:
    """The frame that a graph describes; None where the cluster has nothing to do with it."""
    ops = [node.op for node in graph.nodes]
    encodings = [op for op in ops if isinstance(op, GridEncoding)]
    known = GridEncoding | FusedMlp | Gemm | Relu | RayKernel | HostRead
    queries = float(sum(float(op.queries - op.idle) for op in encodings))  # a ray that has ended asks no more
    if queries <= 0.0 or not all(isinstance(op, known) for op in ops):
        return None
    rays = [op for op in ops if isinstance(op, RayKernel)]
    networks = _networks(ops)
    field, spilled = _field(encodings[0], networks, ngpc)
    outputs = networks[-1][-1][1] + (len(networks) - 1)  # of a network that feeds another, one value goes to the GPU
    left = float(sum(op.rays * (op.instructions - op.carried_instructions) for op in rays))
    return Frame(
        name=graph.name,
        asked=FieldQueries(
            queries, field, spilled, float(encodings[0].stride_bytes), outputs * ngpc.result_bits / BITS_PER_BYTE
        ),
        threads=float(max((op.rays for op in rays), default=1)),
        instructions=left + queries * QUEUE_INSTRUCTIONS,
        dependent_loads=float(sum(op.rays * op.dependent_loads for op in rays)),
        frame_bytes=float(rays[-1].output_bytes) if rays else 0.0,
    )


def _networks(ops: list[Operator]) -> list[list[Layer]]:
    """Layers of each network between the first encoding and the next."""
    networks: list[list[Layer]] = []
    begun = 0
    for op in ops:
        if isinstance(op, GridEncoding):
            begun += 1
            if begun > 1:
                break
        elif begun and isinstance(op, FusedMlp):
            widths = [int(op.inputs), *[int(op.width)] * int(op.hidden), int(op.outputs)]
            networks.append(list(pairwise(widths)))
        elif begun and isinstance(op, Gemm):
            layer = (int(op.k), int(op.n))
            fits = networks and networks[-1][-1][1] == layer[0]
            networks[-1].append(layer) if fits else networks.append([layer])
    return networks or [[(1, 1)]]


def _field(op: GridEncoding, networks: list[list[Layer]], ngpc: Ngpc) -> tuple[Field, tuple[Level, ...]]:
    """What an NFP holds, and the levels that it must read from L2, by the policy for tables that are too large."""
    grid, engines = op.grid, ngpc.encoding
    rows = zip(grid.resolution[0], grid.entries[0], grid.hashed[0], strict=True)
    levels = tuple(Level(int(resolution), int(entries), bool(hashed)) for resolution, entries, hashed in rows)
    feature_bytes = bytes_of(op.dtype)
    too_large = any(level.entries * op.features * feature_bytes > engines.sram_bytes for level in levels)
    if too_large and engines.overflow == "narrow":
        feature_bytes = min(feature_bytes, NARROW_FEATURE_BYTES)
    entry_bytes = float(op.features * feature_bytes)
    fits = engines.overflow == "assume_fits"
    spilled = () if fits else tuple(level for level in levels if level.entries * entry_bytes > engines.sram_bytes)
    layers = tuple(layer for network in networks for layer in network)
    return Field(int(op.dims), levels, entry_bytes, layers), spilled


def fused_kernel(frame: Frame, gpu: Gpu, ngpc: Ngpc) -> KernelDemand:
    """The GPU's part of a frame as one kernel: a CTA for each 128 rays, each through all its queries."""
    ctas = max(ceil(frame.threads / CTA_THREADS), 1)

    def per_cta(amount: float) -> FloatArray:
        return np.array([amount / ctas])

    missing = handed_over_missing(frame.asked, gpu, ngpc)
    asked = frame.asked.queries * frame.asked.input_bytes
    answered = frame.asked.queries * frame.asked.result_bytes
    one = np.ones(1)
    demand = KernelDemand(
        kernel="rest_fused",
        grid=Grid(
            ctas=np.array([float(ctas)]),
            warps_per_cta=one * CTA_THREADS / gpu.sm.warp_size,
            registers_per_thread=one * PERSISTENT_REGISTERS,
            shared_bytes_per_cta=one * 0.0,
        ),
        work=Work(
            fma_ops=per_cta(2.0 * frame.instructions),
            l2_read_bytes=per_cta(answered),
            l2_write_bytes=per_cta(asked + frame.frame_bytes),
            dram_read_bytes=per_cta(answered * missing),
            dram_write_bytes=per_cta(asked * missing + frame.frame_bytes),
        ),
        latency=Latency(
            bytes_in_flight=one * CTA_THREADS * frame.asked.result_bytes,
            chain_cycles=one * frame.dependent_loads / frame.threads * gpu.sm.latency.l1_cycles,
            setup_cycles=one * gpu.l2.mean_latency_cycles,
        ),
    )
    return demand.map(np.ravel)
