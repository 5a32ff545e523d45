"""Reductions and running sums → one streaming kernel each, group norms → two, laid out as PyTorch does."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.libraries.arrays import torch_ as torch_arrays
from simexplore.sim.mapping.columns import ceil_div
from simexplore.sim.mapping.streaming import Stream, moving, stream_demand, stream_of
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import GroupNorm, Reduce, Scan

PARTIAL_BYTES = 4.0
"""Of a partial result, and of a mean or a deviation: fp32."""
LOADS = 4.0
"""Independent loads of a thread, one element or one vector of four each (Reduce.cuh: vt0)."""
HAND_OVER_TRIPS = 2.0
"""L2 round trips in which CTAs that share a column hand their parts over."""
MOMENT_FLOPS = 5.0
"""Of an element, for mean and deviation; the rest of a norm's seven scale and shift."""
MOMENTS = 2.0
"""Mean and deviation of a group."""


def reduce_demands(op: Reduce, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A tree over the threads that share a column; CTAs that share one leave partial results to the last of them.

    That one waits for a fence and a semaphore, and reads what the others left: two L2 round trips.
    """
    grid = torch_arrays.reduce_grid(op, gpu)
    stream, hit = stream_of(op, gpu, conditions.cache), gpu.l2.mean_latency_cycles
    tree = np.log2(np.maximum(grid.sharing, 1.0)) * gpu.sm.latency.shared_cycles
    barriers = np.where(grid.threads > gpu.sm.warp_size, 2.0 * gpu.library.barrier_cycles, 0.0)
    demand = stream_demand(op.op, stream, gpu, ctas=grid.ctas, chain_cycles=tree + barriers)
    shared = grid.splits > 1.0
    trips = 1.0 + np.where(shared, HAND_OVER_TRIPS, 0.0)
    partial = np.where(shared, PARTIAL_BYTES * column(op.results) * grid.splits / grid.ctas, 0.0)
    in_flight = np.minimum(demand.work.l2_read_bytes, grid.threads * LOADS * bytes_of(op.dtype))
    return (
        demand.but(
            grid={"warps_per_cta": np.maximum(grid.threads / gpu.sm.warp_size, 1.0)},
            work={
                "l2_read_bytes": demand.work.l2_read_bytes + partial,
                "l2_write_bytes": demand.work.l2_write_bytes + partial,
            },
            latency={
                "bytes_in_flight": in_flight,
                "exposed_cycles": trips * hit,
            },
        ),
    )


def scan_demands(op: Scan, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Along the last axis a CTA walks through its rows, with a tree at each step; else each column has a thread."""
    grid = torch_arrays.scan_grid(op, gpu)
    step = 2.0 * np.log2(2.0 * grid.sharing) * (gpu.sm.latency.shared_cycles + gpu.library.barrier_cycles)
    alone = column(op.inner) > 1.0
    chain = np.where(alone, 0.0, grid.steps * step)
    demand = stream_demand(op.op, stream_of(op, gpu, conditions.cache), gpu, ctas=grid.ctas, chain_cycles=chain)
    loads = np.where(alone, LOADS, 2.0)
    in_flight = np.minimum(demand.work.l2_read_bytes, grid.threads * loads * bytes_of(op.dtype))
    return (
        demand.but(
            grid={"warps_per_cta": np.maximum(grid.threads / gpu.sm.warp_size, 1.0)},
            latency={"bytes_in_flight": in_flight},
        ),
    )


def group_norm_demands(op: GroupNorm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A kernel that finds each group's mean and deviation, a CTA a group; and one that scales and shifts.

    Between them a small one makes a factor and a summand for each channel of each image. Source: aten/src/ATen/native/
    cuda/group_norm_kernel.cu: RowwiseMomentsCUDAKernel, ComputeFusedParamsCUDAKernel, and the elementwise kernel.
    """
    image = column(op.output_bytes)
    moments = _moments(op, image, gpu, conditions)
    factors = 2.0 * PARTIAL_BYTES * column(op.batch) * column(op.channels)
    apply = moving(image + factors, image, gpu, flops=2.0 * column(op.elements))
    return moments, stream_demand("scale_shift", apply, gpu).with_extra_launches(1.0)


def _moments(op: GroupNorm, image: FloatArray, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """Each group read once; the sum of its elements and of their squares over a tree of threads."""
    groups = column(op.batch) * column(op.groups)
    size = column(op.elements) / groups
    vectors = 2.0 * bytes_of(op.dtype) * column(op.channels)
    written = MOMENTS * PARTIAL_BYTES * groups
    threads = torch_arrays.moment_threads(size, gpu)
    tree = np.log2(threads) * gpu.sm.latency.shared_cycles + 2.0 * gpu.library.barrier_cycles
    stream = Stream(
        read_bytes=image + vectors,
        write_bytes=written,
        flops=MOMENT_FLOPS * column(op.elements),
        special_ops=groups,
        warm_share=warm_share(image, conditions.cache.activation_copies, image, gpu),
        written_back_share=written_back_share(image, gpu),
    )
    demand = stream_demand("moments", stream, gpu, ctas=groups, chain_cycles=tree)
    in_flight = np.minimum(demand.work.l2_read_bytes, threads * LOADS * bytes_of(op.dtype))
    return demand.but(
        grid={"warps_per_cta": ceil_div(threads, float(gpu.sm.warp_size))}, latency={"bytes_in_flight": in_flight}
    )
