"""What a demand costs alone on the idle device that plays it: one function, which every kind of demand registers with.

A kind of demand is a record with a name (`kernel`) and a registration of `alone` beside it. What is told there in
phases is also how events play it; only a kind that does more than wait and share registers a player of its own
(`sim.play.devices.steps`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, Protocol

import numpy as np

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, CollectiveDemand, FloatArray, KernelDemand, LinkDemand
from simexplore.sim.estimate.traits import BOUNDS, bound_code
from simexplore.sim.hardware.collective import collective_energies, collective_timing
from simexplore.sim.hardware.link import link_energies, link_seconds
from simexplore.sim.hardware.occupancy import no_room
from simexplore.sim.hardware.power import Draw, split_energy
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds

Amount = float | FloatArray
"""Of one demand, or of each row of a column of them, shape (rows,)."""


class AnyDemand(Protocol):
    """What all kinds of demand have in common."""

    @property
    def kernel(self) -> str:
        """Name of what runs."""


@dataclass(frozen=True)
class Phase:
    """A latency, in which nothing is shared, and then work that shares its resources with others; at the boost clock.

    `pace` tells how the work follows the clock; of work that says nothing of it all follows.
    """

    latency_s: Amount = 0.0
    run_s: Amount = 0.0
    """Alone."""
    takes: Mapping[str, Amount] = field(default_factory=dict)
    """Of each shared resource by its name on the device [s of the whole resource]."""
    spends: Mapping[str, Amount] = field(default_factory=dict)
    """Dynamic energy by where it goes, names as in `power.COMPONENTS` [J]."""
    pace: tuple[Amount, Amount, float] | None = None
    """`on_clock_s`, `own_clock_s` and `exponent` of a `Draw`; None: all of `run_s` follows the core's clock."""

    @property
    def time_s(self) -> Amount:
        """Latency and work [s]."""
        return self.latency_s + self.run_s

    @property
    def draw(self) -> Draw:
        """How the work follows from the clock."""
        return Draw(*(self.pace or (self.run_s, 0.0, 1.0)), *split_energy(self.spends))

    def times(self, factor: Amount) -> Phase:
        """The same taking `factor` as long, at the same power."""

        def scaled(amounts: Mapping[str, Amount]) -> dict[str, Amount]:
            return {name: amount * factor for name, amount in amounts.items()}

        pace = self.pace and (self.pace[0] * factor, self.pace[1] * factor, self.pace[2])
        return Phase(self.latency_s * factor, self.run_s * factor, scaled(self.takes), scaled(self.spends), pace)


@dataclass(frozen=True)
class Alone:
    """A demand alone on its device, phase after phase."""

    phases: tuple[Phase, ...]
    bound: str
    """What bounds it, or the first row of a column."""
    details: Mapping[str, object] = field(default_factory=dict)
    """What is worth showing of it, besides its name."""
    sms: float = 0.0
    """SMs of a GPU that it holds from start to end, of those that are free; infinite: all, and kernels wait."""

    @property
    def time_s(self) -> Amount:
        """The time of all phases together [s]."""
        return sum((phase.time_s for phase in self.phases), start=0.0)

    @property
    def spends(self) -> dict[str, Amount]:
        """Dynamic energy, above idle, by where it goes [J]."""
        return _sums([phase.spends for phase in self.phases])

    @property
    def busy_s(self) -> dict[str, Amount]:
        """Time for which each shared resource is busy [s of the whole resource], by its name on the device."""
        return _sums([phase.takes for phase in self.phases])

    def as_numbers(self, correction: float = 1.0) -> Alone:
        """Of one demand, with numbers for amounts; `correction` is a factor on its times, at the same power."""

        def plain(phase: Phase) -> Phase:
            pace = phase.pace and (_number(phase.pace[0]), _number(phase.pace[1]), phase.pace[2])
            takes, spends = (
                {name: _number(amount) for name, amount in amounts.items()} for amounts in (phase.takes, phase.spends)
            )
            return Phase(_number(phase.latency_s), _number(phase.run_s), takes, spends, pace).times(correction)

        return replace(self, phases=tuple(plain(phase) for phase in self.phases))


def _sums(parts: Sequence[Mapping[str, Amount]]) -> dict[str, Amount]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum((part.get(name, 0.0) for part in parts), start=0.0) for name in names}


def _number(amount: Amount) -> float:
    return float(np.asarray(amount).item())


@singledispatch
def alone(demand: Any, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001 - of a kind that nobody knows
    """What a demand costs alone at a place; amounts are numbers, or arrays as in the demand.

    Args:
        demand: of a registered kind, its candidates chosen.
        place: the device or link that plays it.
        conditions: how it is run.

    Raises:
        SimexploreError: no such place plays this kind of demand.
    """
    raise SimexploreError(f"nothing says how long a {type(demand).__name__} takes: register it with {__name__}.alone")


@alone.register
def _kernel(demand: KernelDemand, place: Place, conditions: Conditions) -> Alone:
    """A kernel on the SMs of a GPU."""
    gpu = place.gpu
    timing = kernel_timing(demand, gpu)
    if not np.all(timing.waves.fits):
        raise SimexploreError(no_room(gpu, demand.kernel))
    takes = {name: timing.busy_s[name] for name in RESOURCES}
    launch_s = launch_seconds(demand, gpu, conditions.launch)
    bound = BOUNDS[int(bound_code(timing, launch_s)[0])]
    phase = Phase(launch_s + timing.setup_s, timing.run_s, takes, timing.energies_j, timing.draw[:3])
    return Alone((phase,), bound)


@alone.register
def _message(demand: LinkDemand, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001 - links are always up
    """Bytes over a link: the latency of its steps, then what its bandwidth allows."""
    machine = place.arch if isinstance(place.arch, Link) else place.gpu
    latency_s = link_seconds(replace(demand, bytes=0.0 * demand.bytes), machine)
    run_s = link_seconds(replace(demand, steps=0.0 * demand.steps), machine)
    phase = Phase(latency_s, run_s, {demand.link: run_s}, link_energies(demand, machine), (0.0, run_s, 1.0))
    return Alone((phase,), "link", {"link": demand.link})


@alone.register
def _collective(demand: CollectiveDemand, place: Place, conditions: Conditions) -> Alone:
    """What waits, then copies that share the link and the GPU's own memory; their CTAs hold SMs all the while."""
    phase = collective_phase(demand, place.gpu, conditions)
    return Alone((phase,), "link", {"link": demand.link}, sms=float(np.max(demand.channels)))


def collective_phase(demand: CollectiveDemand, gpu: Gpu, conditions: Conditions) -> Phase:
    """A collective on a GPU; links and DRAM have clocks of their own."""
    timing = collective_timing(demand, gpu, conditions.launch)
    takes = {demand.link: timing.link_s, "l2": timing.l2_s, "dram": timing.dram_s}
    return Phase(timing.latency_s, timing.run_s, takes, collective_energies(demand, gpu), (0.0, timing.run_s, 1.0))
