"""Micro-benchmarks → kernel demands: loops of one instruction, chases of pointers, copies of tiles.

What bounds such a loop is the issue interval of its instruction, the latency of its chain over what it keeps in
flight (Little's law), or a bandwidth. Each function gives the steady state: enough iterations that starting and ending
cost nothing, one CTA an SM unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.instructions import Instructions
from simexplore.errors import SimexploreError
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware.cache import hit_share
from simexplore.sim.mapping.matmul.tiles import INSTRUCTION_K_BYTES, WGMMA_ROWS
from simexplore.workloads.dtypes import bytes_of

ITERATIONS = 2.0**24
"""Of every loop: half a second and more, so that clocks and power have settled."""
SHARP = 24.0
"""Overlap exponent of a loop of one instruction: its slowest resource alone decides."""

REGISTERS = 32.0
"""Of a thread; no loop needs so many that fewer would fit."""

MOST_WARPS = 32
"""Of a CTA: 1024 threads."""
WARP_GROUP = 4
"""Warps that issue a wgmma together."""
PAGE_BYTES = 4096
"""Of one round of a copy between the SMs of a cluster."""

Operands = Literal["SS", "RS"]
"""Where wgmma reads A: shared memory or registers. B is always in shared memory."""


def instructions_of(gpu: Gpu) -> Instructions:
    """The machine's `instructions`. Raises SimexploreError where its file has none."""
    if gpu.instructions is None:
        raise SimexploreError(f"{gpu.name} has no instructions section: micro-benchmarks need one in its arch file")
    return gpu.instructions


def mma_interval_cycles(gpu: Gpu, shape: tuple[int, int, int], dtype: str, sparse: bool = False) -> float:
    """Clocks between two mma.sync of one sub-core: its arithmetic at the sub-core's rate, and the overhead [clk]."""
    m, n, k = shape
    rates: Mapping[Any, float] = gpu.sm.tensor_ops_per_clk
    arithmetic = _done(2.0 * m * n * k, sparse) / (rates[dtype] / gpu.sm.schedulers)
    return arithmetic + instructions_of(gpu).mma_sync.overhead_cycles


def mma_latency_cycles(gpu: Gpu, shape: tuple[int, int, int], dtype: str) -> float:
    """Clocks from an mma.sync to one that needs its result [clk]: a pipe of stages, each an issue interval long."""
    return instructions_of(gpu).mma_sync.stages * mma_interval_cycles(gpu, shape, dtype)


def mma_sync_loop(
    gpu: Gpu, shape: tuple[int, int, int], dtype: str, warps: int, ilp: int, sparse: bool = False
) -> KernelDemand:
    """Warps that each keep `ilp` independent chains of mma.sync going; one iteration is one instruction a chain.

    A sub-core issues every interval, and a chain waits for its latency: an iteration takes the longer of the two.
    """
    interval = mma_interval_cycles(gpu, shape, dtype, sparse)
    chains = np.ceil(warps / gpu.sm.schedulers) * ilp
    iteration = max(instructions_of(gpu).mma_sync.stages * interval, chains * interval)
    m, n, k = shape
    operations = warps * ilp * _done(2.0 * m * n * k, sparse)
    return _loop(gpu, "mma_sync", warps, iteration, tensor_dtype=dtype, tensor_ops=operations)


def wgmma_loop(gpu: Gpu, n: int, dtype: str, operands: Operands, sparse: bool = False) -> KernelDemand:
    """A warp group that issues wgmma m64nNk (32 bytes of k; sparse 64) without waiting.

    Each reads N rows of B, and A's 64 rows unless they are in registers, from shared memory. A sparse one reads twice
    the k of B, and of A the half that is not zero.
    """
    k = INSTRUCTION_K_BYTES / bytes_of(dtype)
    rows_read = n * (2.0 if sparse else 1.0) + (WGMMA_ROWS if operands == "SS" else 0.0)
    return _loop(
        gpu,
        "wgmma",
        warps=WARP_GROUP,
        iteration_cycles=0.0,
        tensor_dtype=dtype,
        tensor_ops=2.0 * WGMMA_ROWS * n * k,
        shared_bytes=rows_read * INSTRUCTION_K_BYTES,
    )


def dpx_loop(gpu: Gpu, function: str, warps: int = MOST_WARPS) -> KernelDemand:
    """One CTA whose threads each call a DPX function on its own last result."""
    given = instructions_of(gpu)
    if function not in given.dpx:
        raise SimexploreError(f"{gpu.name} has no count for {function}; it has {', '.join(sorted(given.dpx))}")
    count = given.dpx[function]
    issue = warps * gpu.sm.warp_size * count / given.min_max_ops_per_clk
    return _loop(gpu, "dpx", warps, max(count * gpu.sm.latency.fma_cycles, issue), ctas=1.0)


def chase_latency_cycles(gpu: Gpu, footprint_bytes: FloatArray, home: str = "any") -> FloatArray:
    """Mean latency of a load of one SM that walks over `footprint_bytes` again and again [clk].

    What fits the SM's own partition is copied there and found near. Beyond, a line is where it lives, near for one
    partition's share and far for the others; beyond the whole L2 it comes from DRAM, whose latency is the mean over
    partitions. `home` asks for lines that live in the `near` or a `far` partition only.
    """
    near_share = {"near": 1.0, "far": 0.0}.get(home, 1.0 / gpu.l2.partitions)
    near, far = gpu.l2.near_latency_cycles, gpu.l2.far_latency_cycles
    hit = near_share * near + (1.0 - near_share) * far
    miss = gpu.dram_latency_cycles + hit - (near + (gpu.l2.partitions - 1.0) * far) / gpu.l2.partitions
    copied = hit_share(footprint_bytes * gpu.l2.partitions, gpu)
    held = hit_share(footprint_bytes, gpu)
    latency: FloatArray = copied * near + (held - copied) * hit + (1.0 - held) * miss
    return latency


def pointer_chase(gpu: Gpu, footprint_bytes: float, home: str = "any", added_cycles: float = 0.0) -> KernelDemand:
    """One thread, one load after another; `added_cycles` where a copy engine does the loading."""
    latency = chase_latency_cycles(gpu, np.array([footprint_bytes]), home).item()
    return _loop(gpu, "pointer_chase", 1, latency + added_cycles, ctas=1.0)


def bulk_copy_loop(gpu: Gpu, load_bytes: int, ctas_per_sm: int, rank: int = 1) -> KernelDemand:
    """CTAs that each fetch one tile from DRAM with a bulk copy, wait for its barrier, and fetch the next.

    A round is the latency of the load and of the engine, the tile's way through the SM's port, and the barrier; of
    rank two and more also an L2 hit for the tensor map.
    """
    engine = instructions_of(gpu).bulk_copy
    if engine is None:
        raise SimexploreError(f"{gpu.name} has no bulk copies (instructions.bulk_copy)")
    trip = gpu.dram_latency_cycles + engine.latency_cycles + load_bytes / gpu.sm.l2_port_bytes_per_clk
    tensor_map = gpu.l2.near_latency_cycles if rank > 1 else 0.0
    return _loop(
        gpu,
        "bulk_copy",
        warps=1,
        iteration_cycles=trip + gpu.library.barrier_cycles + tensor_map,
        ctas=float(gpu.sm.count * ctas_per_sm),
        l2_read_bytes=float(load_bytes),
        dram_read_bytes=float(load_bytes),
    )


def cluster_copy_loop(gpu: Gpu, cluster: int, load_bytes: int = PAGE_BYTES) -> KernelDemand:
    """CTAs that read each other's shared memory, one an SM: what is in flight over the latency of their cluster."""
    memory = instructions_of(gpu).cluster
    if memory is None or str(cluster) not in memory.latency_cycles:
        raise SimexploreError(f"{gpu.name} has no latency for clusters of {cluster} (instructions.cluster.latency)")
    trip = memory.latency_cycles[str(cluster)] * load_bytes / memory.in_flight_bytes
    return _loop(gpu, "cluster_copy", MOST_WARPS, trip, shared_bytes=float(load_bytes))


def _done(operations: float, sparse: bool) -> float:
    """Operations that the hardware does: of two to one of structured sparsity, half of what is counted."""
    return operations / 2.0 if sparse else operations


def _loop(
    gpu: Gpu, kernel: str, warps: int, iteration_cycles: float, ctas: float | None = None, **amounts: Any
) -> KernelDemand:
    """A loop by what one iteration of a CTA asks for (`demand.Work`); by default one CTA on each SM."""
    work: dict[str, Any] = {
        name: x if isinstance(x, str) else np.array([ITERATIONS * x]) for name, x in amounts.items()
    }
    return KernelDemand(
        kernel=kernel,
        grid=Grid(
            ctas=np.array([float(gpu.sm.count) if ctas is None else ctas]),
            warps_per_cta=np.array([float(warps)]),
            registers_per_thread=np.array([REGISTERS]),
            shared_bytes_per_cta=np.array([0.0]),
        ),
        work=Work(**work),
        latency=Latency(chain_cycles=np.array([ITERATIONS * iteration_cycles])),
        overlap=Overlap(within_sm=SHARP),
    )
