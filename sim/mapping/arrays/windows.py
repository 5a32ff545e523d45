"""Pooling and resampling → one streaming kernel each: a thread a result, neighbours' elements from L1.

PyTorch's kernels are so: aten/src/ATen/native/cuda, DilatedMaxPool2d.cu, AveragePool2d.cu, UpSampleNearest2d.cu,
UpSampleBilinear2d.cu, GridSampler.cu. An element that several results look at comes from L2 once and from L1 each time.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.streaming import stream_demand, stream_of
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Pool, Resample

LOADS = 4.0
"""Taps that a thread has in flight: compilers unroll its loop so often."""


def pool_demands(op: Pool, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A thread walks through its window, one element a load."""
    return (_window_kernel(op, gpu, conditions),)


def resample_demands(op: Resample, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A thread works out where its result lies, or reads it of a grid, and interpolates between the taps.

    Where there is a grid, the taps wait for it: one more L2 round trip.
    """
    demand = _window_kernel(op, gpu, conditions)
    waits = np.where(column(op.coordinates) > 0.0, 2.0, 1.0)
    return (demand.but(latency={"exposed_cycles": waits * gpu.l2.mean_latency_cycles}),)


def _window_kernel(op: Pool | Resample, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    threads = float(gpu.library.elementwise.threads_per_cta)
    element, taps = bytes_of(op.dtype), column(op.taps)
    ctas = np.maximum(np.ceil(column(op.results) / threads), 1.0)
    demand = stream_demand(op.op, stream_of(op, gpu, conditions.cache), gpu, ctas=ctas)
    from_l1 = column(op.results) * taps * element / ctas
    read = demand.work.l2_read_bytes
    return demand.but(
        work={"shared_bytes": from_l1 * gpu.sm.shared_bandwidth_bytes_per_clk / gpu.sm.l1_bandwidth_bytes_per_clk},
        latency={"bytes_in_flight": np.minimum(read, threads * np.minimum(taps, LOADS) * element)},
    )
