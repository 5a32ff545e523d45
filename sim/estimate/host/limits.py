"""What limits an offloaded step: how long each phase keeps the GPU, links, drives and the CPU busy, and which most.

Nothing waits for anything else in this: a phase takes as long as the busiest of what it uses. So it is a lower bound of
the step, and what a schedule can be planned by before it is played.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import PricedGraph
from simexplore.workloads.families.offloaded.gpt import BY_BENEFIT, HALF_BYTES, Model
from simexplore.workloads.families.offloaded.schedule import STATE_BYTES, Schedule, step
from simexplore.workloads.graph import Graph

GPU = "gpu"
"""What the kernels of the first GPU are called here, one after the other."""
MOST_OF_MEMORY = 0.9
"""Share of host memory, less the buffers of weights and states, that activations may have; assumed, as an operating
system and a framework need the rest."""


@dataclass(frozen=True)
class Limits:
    """Seconds for which each phase of a step keeps each resource busy."""

    phases: Mapping[str, Mapping[str, float]]

    @property
    def time_s(self) -> float:
        """The step, were all of a phase beside each other [s]."""
        return sum(max(busy.values()) for busy in self.phases.values())

    @property
    def slowest(self) -> dict[str, str]:
        """What limits each phase."""
        return {phase: max(busy, key=busy.__getitem__) for phase, busy in self.phases.items()}


def limits(graph: Graph, system: System) -> Limits:
    """The limits of a graph whose groups begin with the name of a phase, `backward 3`.

    Raises:
        SimexploreError: the system lacks a place that the graph names.
    """
    work = PricedGraph.on(graph, system, None, "graph")
    phases: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    known: dict[tuple[object, str], dict[str, float]] = {}
    for node in work.graph.nodes:
        place = work.place(node)
        key = (node.op, place.name)
        if key not in known:
            if isinstance(place.arch, Gpu):
                known[key] = {GPU: float(work.priced(node).cost.time_s[0])}
            else:
                told = [part.busy_s for part in work.alone(node)]
                known[key] = {place.prefix + name: float(taken) for busy in told for name, taken in busy.items()}
        for name, seconds in known[key].items():
            phases[node.group.split(" ")[0]][name] += seconds
    return Limits({phase: dict(busy) for phase, busy in phases.items()})


def planned(model: Model, schedule: Schedule, system: System) -> Model:
    """The model with as many products kept off the GPU as make the step shortest, and what host memory lacks spilled.

    Products are kept in the order of their benefit (`gpt.BY_BENEFIT`); of numbers that take as long, the least.

    Raises:
        SimexploreError: the system has no device `cpu` for what is kept.
    """
    tried = [_fitting(replace(model, swapped=kept), system) for kept in range(len(BY_BENEFIT) + 1)]
    times = {index: limits(step(option, schedule), system).time_s for index, option in enumerate(tried)}
    return tried[min(times, key=lambda index: (round(times[index], 6), index))]


def _fitting(model: Model, system: System) -> Model:
    """With so many layers spilled to drives that the others' activations fit into host memory."""
    cpu = system.devices["cpu"].whole if "cpu" in system.devices else None
    if not isinstance(cpu, Cpu):
        raise SimexploreError(f"{system.name}: expected a CPU named cpu to keep activations in, found none")
    buffers = (model.ahead + 1) * (STATE_BYTES + 2 * HALF_BYTES) * model.layer_parameters
    room = MOST_OF_MEMORY * cpu.memory.capacity_bytes - buffers
    held = max(int(room // model.kept_bytes), 0)
    return replace(model, spilled=max(model.layers - held, 0) if "ssd" in system.devices else 0)
