"""From operators to what devices play: each distinct operator is mapped once, however often a graph has it."""

from __future__ import annotations

from dataclasses import dataclass

from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.graphs import PricedGraph, spread_at
from simexplore.sim.estimate.placed import Priced, demands_at
from simexplore.sim.play.devices.kernel import GpuKernel
from simexplore.sim.play.devices.steps import Step, step_of
from simexplore.workloads.graph import Node

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
    spread: float
    """Standard deviation of the logarithm of measured power about the model's, as of its place."""


class Planner:
    """Plans the nodes of a graph, each different operator once."""

    def __init__(self, work: PricedGraph) -> None:
        """Of a graph whose operators are priced."""
        self._work = work
        self._plans: dict[int, Plan] = {}

    def plan(self, node: Node) -> Plan:
        """The plan of a node.

        Raises:
            SimexploreError: its place cannot run it.
        """
        cost = self._work.priced(node)
        if id(cost) not in self._plans:
            self._plans[id(cost)] = self._planned(node, cost)
        return self._plans[id(cost)]

    def _planned(self, node: Node, cost: Priced) -> Plan:
        place, given = self._work.place(node), self._work.given(node)
        steps = tuple(step_of(demand, place, given, cost.correction) for demand in demands_at(node.op, place, given))
        names = "+".join(step.kernel for step in steps)
        return Plan(cost.text, steps, cost.bound, cost.interval_ratio, names, spread_at(place))
