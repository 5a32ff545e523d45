"""What a demand costs alone in each row of a column of operators: `alone` over arrays, with what is learned from.

Kernels and messages have ways of their own: a kernel has traits, and a bound in each row; a machine's links may be
columns. Every other kind is told by its phases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import system_of
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, CollectiveDemand, FloatArray, KernelDemand, LinkDemand
from simexplore.sim.estimate.alone import Alone, Phase, alone, collective_phase
from simexplore.sim.estimate.traits import BOUNDS, KernelTraits, bound_code, kernel_traits, no_traits
from simexplore.sim.hardware.link import link_energies, link_seconds
from simexplore.sim.hardware.power import COMPONENTS
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds

KERNEL = ("latency_s", "on_clock_s", "own_clock_s", "exponent", "clocked_j", "fixed_j")
"""Of a kernel: its launch and set-up, and the terms of its `power.Draw`."""


@dataclass(frozen=True)
class RowCosts:
    """What one demand of each row costs; arrays of shape (rows,), or (1,) where all rows are alike."""

    time_s: FloatArray
    """Launch included, at the boost clock; infinite where the device can't run it."""
    kernel: FloatArray
    """Shape (phases, len(KERNEL), rows): what the clock and the power follow from."""
    energies_j: FloatArray
    """Shape (len(power.COMPONENTS), rows): dynamic energy at the boost clock."""
    bound_code: NDArray[np.int64]
    """Position in `traits.BOUNDS` of what takes the largest part of the time."""
    busy_s: FloatArray
    """Shape (resources, rows): time for which each of `demand.RESOURCES` of the whole machine is busy."""
    traits: KernelTraits | None = None
    """Where they were asked for."""


@singledispatch
def row_costs(demand: Any, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:
    """What a demand costs alone on the idle GPU at its boost clock, its candidates chosen.

    Args:
        demand: one launch a row, of a kind that `alone` knows.
        gpu: the machine.
        conditions: how it is launched.
        with_traits: whether the traits that learned corrections read are asked for.

    Raises:
        SimexploreError: the machine plays no such demand.
    """
    return costs_of_phases(alone(demand, system_of(gpu).place(None), conditions), with_traits)


def costs_of_phases(told: Alone, with_traits: bool = False) -> RowCosts:
    """What is told in phases as the costs of rows."""
    time = np.atleast_1d(np.asarray(told.time_s, dtype=np.float64))
    bound = np.full(len(time), BOUNDS.index(told.bound))
    kernel = np.stack([kernel_terms(phase, len(time)) for phase in told.phases])
    energies, busy = _table(told.spends, COMPONENTS, len(time)), _table(told.busy_s, RESOURCES, len(time))
    return RowCosts(time, kernel, energies, bound, busy, no_traits(time) if with_traits else None)


def kernel_terms(phase: Phase, rows: int) -> FloatArray:
    """What the clock and the power of a phase follow from, shape (len(KERNEL), rows)."""
    terms = (phase.latency_s, *phase.draw)
    return np.stack([np.broadcast_to(np.asarray(term, dtype=np.float64), (rows,)) for term in terms])


def _table(amounts: Mapping[str, Any], names: Sequence[str], rows: int) -> FloatArray:
    """Amounts by name as an array of shape (names, rows)."""
    table = np.zeros((len(names), rows))
    for index, name in enumerate(names):
        if name in amounts:
            table[index] = amounts[name]
    return table


@row_costs.register
def _of_message(demand: LinkDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:  # noqa: ARG001
    # A machine may have a column of bandwidths, which no record of a system holds.
    time, run = (link_seconds(part, gpu) for part in (demand, replace(demand, steps=0.0 * demand.steps)))
    spends = link_energies(demand, gpu)
    kernel = kernel_terms(Phase(time - run, run, {}, spends, (0.0, run, 1.0)), len(time))[None]
    bound, busy = np.full(len(time), BOUNDS.index("link")), np.zeros((len(RESOURCES), len(time)))
    energies = _table(spends, COMPONENTS, len(time))
    return RowCosts(time, kernel, energies, bound, busy, no_traits(time) if with_traits else None)


@row_costs.register
def _of_collective(demand: CollectiveDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:
    # As of a message: a machine may be a column.
    return costs_of_phases(Alone((collective_phase(demand, gpu, conditions),), "link"), with_traits)


@row_costs.register
def _of_kernel(demand: KernelDemand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> RowCosts:
    timing = kernel_timing(demand, gpu)
    launch = launch_seconds(demand, gpu, conditions.launch)
    time = launch + timing.time_s
    told = kernel_traits(demand, timing, launch, time) if with_traits else None
    busy = np.stack(np.broadcast_arrays(*(timing.busy_s[name] for name in RESOURCES)))
    phase = Phase(launch + timing.setup_s, timing.run_s, {}, timing.energies_j, timing.draw[:3])
    kernel, energies = kernel_terms(phase, len(time))[None], _table(timing.energies_j, COMPONENTS, len(time))
    time = np.where(np.isfinite(time), time, np.nan)  # too long for a number, which is another thing than not at all
    runs = timing.waves.fits & demand.choice.offered
    if not np.all(runs):
        time = np.where(runs, time, np.inf)
    return RowCosts(time, kernel, energies, bound_code(timing, launch), busy, told)
