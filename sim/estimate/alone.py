"""How long one demand takes alone on an idle device, by its kind.

A kind of demand registers its closed form here (`alone.register`); nothing else in `sim.estimate` asks which it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, FloatArray, KernelDemand, LinkDemand, Part
from simexplore.sim.estimate.traits import KernelTraits, kernel_traits, no_traits
from simexplore.sim.hardware.links import link_seconds
from simexplore.sim.hardware.timing import KernelTiming, kernel_timing, launch_seconds

BOUNDS = (*RESOURCES, "latency", "launch", "link", "encode", "mlp")
"""What can bound an operator, in the order of `Alone.bound_code`."""


@dataclass(frozen=True)
class Alone:
    """What one demand of each row costs; arrays of shape (rows,), or (1,) where all rows are alike."""

    time_s: FloatArray
    """Launch included; infinite where the device can't run it."""
    energy_j: FloatArray
    """Dynamic energy, above idle."""
    bound_code: NDArray[np.int64]
    """Index into `BOUNDS` of what takes the largest part of the time."""
    busy_s: FloatArray
    """Shape (resources, rows): time for which each of `demand.RESOURCES` of the whole machine is busy."""
    traits: KernelTraits | None = None
    """Where they were asked for."""


@singledispatch
def alone(demand: Part, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> Alone:  # noqa: ARG001
    """What a demand costs alone on the idle machine, its candidates chosen.

    Args:
        demand: one launch a row.
        gpu: the machine.
        conditions: how it is launched.
        with_traits: whether the traits that learned corrections read are asked for.

    Raises:
        TypeError: no closed form is registered for this kind of demand.
    """
    raise TypeError(f"no closed form for {type(demand).__name__}: register one with simexplore.sim.estimate.alone")


@alone.register
def _(demand: KernelDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> Alone:
    timing = kernel_timing(demand, gpu)
    launch = launch_seconds(demand, gpu, conditions.launch)
    time = launch + timing.time_s
    told = kernel_traits(demand, timing, launch, time) if with_traits else None
    busy = np.stack(np.broadcast_arrays(*(timing.busy_s[name] for name in RESOURCES)))
    if not np.all(demand.choice.offered):
        time = np.where(demand.choice.offered, time, np.inf)
    return Alone(time, timing.energy_j, _bound_code(timing, launch), busy, told)


@alone.register
def _(demand: LinkDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> Alone:  # noqa: ARG001
    seconds = link_seconds(demand, gpu)
    rows = len(seconds)
    bound = np.full(rows, BOUNDS.index("link"))
    told = no_traits(seconds) if with_traits else None
    return Alone(seconds, np.zeros(rows), bound, np.zeros((len(RESOURCES), rows)), told)


def _bound_code(timing: KernelTiming, launch_s: FloatArray) -> NDArray[np.int64]:
    """The largest of the resources' busy times, the latencies within waves, and launch with set-up."""
    shares = [*(timing.busy_s[name] for name in RESOURCES), timing.latency_s, launch_s + timing.setup_s]
    codes: NDArray[np.int64] = np.argmax(np.stack(np.broadcast_arrays(*shares)), axis=0)
    return codes
