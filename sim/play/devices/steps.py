"""How a demand is played: one function, which kinds of demand that do more than wait and share register with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch
from typing import Any, Protocol

from simexplore.archs.schema.system import Place
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.alone import Alone, alone
from simexplore.sim.play.devices.phases import Phases
from simexplore.sim.play.devices.stage import Playing, Stage
from simexplore.sim.play.probes import Activity


class Step(Protocol):
    """A demand that is ready to be played."""

    @property
    def kernel(self) -> str:
        """Name of what runs."""

    @property
    def details(self) -> Mapping[str, object]:
        """What is worth showing of it, besides its name."""

    @property
    def spends(self) -> Mapping[str, float]:
        """Dynamic energy at the boost clock by where it goes [J]."""

    def play(self, stage: Stage, activity: Activity) -> Playing:
        """Play it on an idle or busy device; the result is its dynamic energy [J]."""


class PhasedStep:
    """A demand that waits and shares resources as `alone` tells it."""

    def __init__(self, kernel: str, told: Alone, place: Place) -> None:
        """`told` has numbers for amounts."""
        self.kernel = kernel
        self.sms = told.sms
        self.details = told.details
        self.spends: Mapping[str, float] = {name: float(joules) for name, joules in told.spends.items()}
        self.board = place.home if place.home_arch is not None else place.name
        """Name of the board whose clock it follows and whose power it draws, or of the link that draws it."""
        self.phases = tuple(replace(phase, takes=named(phase.takes, place)) for phase in told.phases)

    def play(self, stage: Stage, activity: Activity) -> Playing:
        with stage.held(self.sms):
            phases = Phases(stage.clock, stage.network, stage.probes, activity, self.board)
            spent_j = yield phases.start(self.phases)
        return float(spent_j)


def named(takes: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """Amounts of a device's resources by the run's names for them."""
    if not place.prefix:
        return takes
    return {place.prefix + name: amount for name, amount in takes.items()}


@singledispatch
def step_of(demand: Any, place: Place, conditions: Conditions, correction: float = 1.0) -> Step:
    """A demand as its place plays it; `correction` is the learned factor on all its times.

    Raises:
        SimexploreError: the place does not play this kind of demand.
    """
    return PhasedStep(demand.kernel, alone(demand, place, conditions).as_numbers(correction), place)
