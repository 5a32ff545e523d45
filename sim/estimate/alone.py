"""What a demand costs alone on the idle device that plays it: one function, which every kind of demand registers with.

A kind of demand is a record with a name (`kernel`) and a registration of `alone` beside it. What is told there in
phases is also how events play it; only a kind that does more than wait and share registers a player of its own
(`sim.play.devices.steps`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, Protocol

import numpy as np

from simexplore.archs.schema.gpu import Link
from simexplore.archs.schema.system import Place
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, CollectiveDemand, FloatArray, KernelDemand, LinkDemand
from simexplore.sim.estimate.traits import BOUNDS, bound_code
from simexplore.sim.hardware.collective import collective_timing
from simexplore.sim.hardware.link import link_seconds
from simexplore.sim.hardware.occupancy import no_room
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds

Amount = float | FloatArray
"""Of one demand, or of each row of a column of them, shape (rows,)."""
POWER = "power"
"""Name under which a phase takes dynamic energy [J]."""


class AnyDemand(Protocol):
    """What all kinds of demand have in common."""

    @property
    def kernel(self) -> str:
        """Name of what runs."""


@dataclass(frozen=True)
class Phase:
    """A latency, in which nothing is shared, and then work that shares its resources with others."""

    latency_s: Amount = 0.0
    run_s: Amount = 0.0
    """Alone."""
    takes: Mapping[str, Amount] = field(default_factory=dict)
    """Of each shared resource by its name on the device [s of the whole resource], and of `power` [J]."""

    @property
    def time_s(self) -> Amount:
        """Latency and work [s]."""
        return self.latency_s + self.run_s


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
    def energy_j(self) -> Amount:
        """Dynamic energy, above idle [J]."""
        return sum((phase.takes.get(POWER, 0.0) for phase in self.phases), start=0.0)

    @property
    def busy_s(self) -> dict[str, Amount]:
        """Time for which each shared resource is busy [s of the whole resource], by its name on the device."""
        names = dict.fromkeys(name for phase in self.phases for name in phase.takes if name != POWER)
        return {name: sum((phase.takes.get(name, 0.0) for phase in self.phases), start=0.0) for name in names}

    def as_numbers(self, correction: float = 1.0) -> Alone:
        """Of one demand, with numbers for amounts; `correction` is a factor on its times and not on its energy."""

        def scaled(phase: Phase) -> Phase:
            takes = {
                name: _number(taken) * (1.0 if name == POWER else correction) for name, taken in phase.takes.items()
            }
            return Phase(_number(phase.latency_s) * correction, _number(phase.run_s) * correction, takes)

        return replace(self, phases=tuple(scaled(phase) for phase in self.phases))


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
    takes = {**{name: timing.busy_s[name] for name in RESOURCES}, POWER: timing.energy_j}
    launch_s = launch_seconds(demand, gpu, conditions.launch)
    bound = BOUNDS[int(bound_code(timing, launch_s)[0])]
    return Alone((Phase(launch_s + timing.setup_s, timing.run_s, takes),), bound)


@alone.register
def _message(demand: LinkDemand, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001 - links are always up
    """Bytes over a link: the latency of its steps, then what its bandwidth allows."""
    machine = place.arch if isinstance(place.arch, Link) else place.gpu
    latency_s = link_seconds(replace(demand, bytes=0.0 * demand.bytes), machine)
    run_s = link_seconds(replace(demand, steps=0.0 * demand.steps), machine)
    return Alone((Phase(latency_s, run_s, {demand.link: run_s}),), "link", {"link": demand.link})


@alone.register
def _collective(demand: CollectiveDemand, place: Place, conditions: Conditions) -> Alone:
    """What waits, then copies that share the link and the GPU's own memory; their CTAs hold SMs all the while."""
    timing = collective_timing(demand, place.gpu, conditions.launch)
    takes = {demand.link: timing.link_s, "l2": timing.l2_s, "dram": timing.dram_s}
    held = float(np.max(demand.channels))
    return Alone((Phase(timing.latency_s, timing.run_s, takes),), "link", {"link": demand.link}, sms=held)
