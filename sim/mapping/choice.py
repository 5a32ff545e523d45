"""Which candidate a library picks: the one that is the fastest as far as it can tell.

A library knows shapes, not what is in the cache: see `demand.Choice`. What it picks is then timed as the cache is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Algorithm, Demand, FloatArray, KernelDemand
from simexplore.sim.hardware.timing import kernel_seconds, launch_seconds


def chosen(algorithm: Algorithm, gpu: Gpu, conditions: Conditions) -> tuple[Demand, ...]:
    """An algorithm's kernels in order, each with the candidate that the library picks for each row."""
    return tuple(choose(demand, gpu, conditions) for demand in algorithm.kernels)


@singledispatch
def choose(demand: Demand, gpu: Gpu, conditions: Conditions) -> Demand:  # noqa: ARG001 - of other kinds there is one
    """The demand with one candidate a row, arrays of shape (rows,)."""
    return demand


@choose.register
def choose_kernel(demand: KernelDemand, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """The candidate of each row that the library has, and reckons to be the fastest, launch included.

    Rows of `demand` have a column a candidate. Those that no SM has room for are not picked; where that holds for
    all, the first is returned, and `KernelTiming.waves.fits` says so.
    """
    rows, candidates = demand.shape
    if candidates == 1:
        return demand.take(np.zeros(rows, dtype=np.intp))
    return demand.take(np.argmin(reckoned_seconds(demand, gpu, conditions), axis=1))


def reckoned_seconds(demand: KernelDemand, gpu: Gpu, conditions: Conditions) -> FloatArray:
    """Time of each candidate as the library reckons it: as if what L2 holds came from DRAM [s]."""
    choice, work = demand.choice, demand.work
    reckoned = replace(
        demand,
        work=replace(work, dram_read_bytes=work.dram_read_bytes + choice.reckoned_read_bytes),
        latency=replace(demand.latency, miss_share=choice.reckoned_miss_share),
    )
    seconds = kernel_seconds(reckoned, gpu) + launch_seconds(demand, gpu, conditions.launch)
    return seconds + choice.reckoned_cycles / gpu.clock.top_hz
