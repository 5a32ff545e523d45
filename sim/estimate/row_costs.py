"""What a demand costs alone in each row of a column of operators: `alone` over arrays, with what is learned from.

Kernels and messages have ways of their own: a kernel has traits, and a bound in each row; a machine's links may be
columns. Every other kind is told by its phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import system_of
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, CollectiveDemand, FloatArray, KernelDemand, LinkDemand
from simexplore.sim.estimate.alone import alone
from simexplore.sim.estimate.traits import BOUNDS, KernelTraits, bound_code, kernel_traits, no_traits
from simexplore.sim.hardware.collective import collective_timing
from simexplore.sim.hardware.link import link_seconds
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds


@dataclass(frozen=True)
class RowCosts:
    """What one demand of each row costs; arrays of shape (rows,), or (1,) where all rows are alike."""

    time_s: FloatArray
    """Launch included; infinite where the device can't run it."""
    energy_j: FloatArray
    """Dynamic energy, above idle."""
    bound_code: NDArray[np.int64]
    """Position in `traits.BOUNDS` of what takes the largest part of the time."""
    busy_s: FloatArray
    """Shape (resources, rows): time for which each of `demand.RESOURCES` of the whole machine is busy."""
    traits: KernelTraits | None = None
    """Where they were asked for."""


@singledispatch
def row_costs(demand: Any, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:
    """What a demand costs alone on the idle GPU, its candidates chosen.

    Args:
        demand: one launch a row, of a kind that `alone` knows.
        gpu: the machine.
        conditions: how it is launched.
        with_traits: whether the traits that learned corrections read are asked for.

    Raises:
        SimexploreError: the machine plays no such demand.
    """
    told = alone(demand, system_of(gpu).place(None), conditions)
    time = np.atleast_1d(np.asarray(told.time_s, dtype=np.float64))
    nothing = np.zeros_like(time)
    busy = np.stack([told.busy_s.get(name, 0.0) + nothing for name in RESOURCES])
    bound = np.full(len(time), BOUNDS.index(told.bound))
    return RowCosts(time, told.energy_j + nothing, bound, busy, no_traits(time) if with_traits else None)


@row_costs.register
def _of_message(demand: LinkDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:  # noqa: ARG001
    # A machine may have a column of bandwidths, which no record of a system holds.
    time = link_seconds(demand, gpu)
    bound, busy = np.full(len(time), BOUNDS.index("link")), np.zeros((len(RESOURCES), len(time)))
    return RowCosts(time, np.zeros(len(time)), bound, busy, no_traits(time) if with_traits else None)


@row_costs.register
def _of_collective(demand: CollectiveDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:
    timing = collective_timing(demand, gpu, conditions.launch)
    time = timing.latency_s + timing.run_s
    own = {"l2": timing.l2_s, "dram": timing.dram_s}
    busy = np.stack([own.get(name, 0.0) + np.zeros(len(time)) for name in RESOURCES])
    bound = np.full(len(time), BOUNDS.index("link"))
    return RowCosts(time, np.zeros(len(time)), bound, busy, no_traits(time) if with_traits else None)


@row_costs.register
def _of_kernel(demand: KernelDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:
    timing = kernel_timing(demand, gpu)
    launch = launch_seconds(demand, gpu, conditions.launch)
    time = launch + timing.time_s
    told = kernel_traits(demand, timing, launch, time) if with_traits else None
    busy = np.stack(np.broadcast_arrays(*(timing.busy_s[name] for name in RESOURCES)))
    time = np.where(np.isfinite(time), time, np.nan)  # too long for a number, which is another thing than not at all
    runs = timing.waves.fits & demand.choice.offered
    if not np.all(runs):
        time = np.where(runs, time, np.inf)
    return RowCosts(time, timing.energy_j, bound_code(timing, launch), busy, told)
