"""From operators to what devices play: each distinct operator is mapped once, however often a graph has it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simexplore.archs.schema.system import Place
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.placed import demands_at, priced
from simexplore.sim.play.devices.kernel import GpuKernel
from simexplore.sim.play.devices.steps import Step, step_of
from simexplore.workloads.ops import Operator

step_of.register(KernelDemand, GpuKernel)


@dataclass(frozen=True)
class Plan:
    """An operator as it will be played."""

    text: str
    """The operator, as on the command line."""
    steps: tuple[Step, ...]
    """Its kernels and transfers, one after another."""
    bound: str
    """What bounds it alone."""
    interval_ratio: float
    """Upper end of the 80 % interval of its time alone over that time."""
    kernel: str
    """Names of its kernels."""


class Planner:
    """Plans operators for the places of a machine and remembers them."""

    def __init__(self) -> None:
        self._plans: dict[tuple[object, ...], Plan] = {}

    def plan(self, op: Operator, place: Place, conditions: Conditions) -> Plan:
        """The plan of an operator whose fields are numbers.

        Raises:
            SimexploreError: the place cannot run it.
        """
        cache = conditions.cache
        state = (cache.weight_copies, cache.activation_copies, cache.earlier_shapes)
        key = (op, place.name, *state, replace(conditions, cache=CacheState()))
        if key not in self._plans:
            self._plans[key] = _planned(op, place, conditions)
        return self._plans[key]


def _planned(op: Operator, place: Place, conditions: Conditions) -> Plan:
    cost = priced(op, place, conditions)
    demands = demands_at(op, place, conditions)
    steps = tuple(step_of(demand, place, conditions, cost.correction) for demand in demands)
    return Plan(cost.text, steps, cost.bound, cost.interval_ratio, "+".join(step.kernel for step in steps))
