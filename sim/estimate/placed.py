"""What a node of a graph asks of the place that it runs at, and what that costs alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.system import Path, Place, System, SystemLink
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import LinkDemand
from simexplore.sim.estimate.alone import AnyDemand, alone
from simexplore.sim.estimate.cost import Cost, one_after_another
from simexplore.sim.estimate.host.demands import CpuDemand, SearchDemand, TransferDemand
from simexplore.sim.estimate.op_run import UNCALIBRATED_RATIO
from simexplore.sim.estimate.operators import check_told, kernels_of, learned_cost
from simexplore.sim.estimate.row_costs import costs_of_phases
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.hardware.power import added
from simexplore.workloads.graph import Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import Copy, GraphSearch, HostWork, Transfer


@dataclass(frozen=True, eq=False)
class Ready(Operator):
    """Work that a pass over a graph has already mapped: what it asks of its place is known.

    It counts no flops and no bytes of its own; those are of the operators that it stands for.
    """

    demand: AnyDemand
    text: str
    """What it is a part of, for people."""
    op: ClassVar[str] = "ready"
    example: ClassVar[str] = ""
    dtype: ClassVar[str] = ""  # type: ignore[misc]  # it has none

    @property
    def flops(self) -> float:
        return 0.0

    @property
    def min_bytes(self) -> float:
        return 0.0

    @property
    def output_bytes(self) -> float:
        return 0.0

    def describe(self) -> str:
        return self.text


@dataclass(frozen=True)
class Priced:
    """What a node costs alone on the idle machine."""

    text: str
    """The operator, as on the command line."""
    cost: Cost
    """At the boost clock, with what was learned; one row."""
    bound: str
    kernel: str
    interval_ratio: float = UNCALIBRATED_RATIO
    """Upper end of the 80 % interval of its time over the time."""
    correction: float = 1.0
    """The learned factor that is in its time."""


def place_of(node: Node, system: System) -> Place:
    """Where a node runs.

    Raises:
        SimexploreError: the system has no such place; it names the node and the places that there are.
    """
    try:
        return system.place(node.place)
    except SimexploreError as error:
        raise SimexploreError(f"{node.name}: {error}") from None


def demands_at(op: Operator, place: Place, conditions: Conditions) -> tuple[AnyDemand, ...]:
    """What an operator asks of its place, in order; arrays of shape (1,).

    Raises:
        SimexploreError: the place cannot run it.
    """
    return (op.demand,) if isinstance(op, Ready) else mapped_on(place.arch, op, place, conditions)


def priced(op: Operator, place: Place, conditions: Conditions) -> Priced:
    """What an operator costs alone at its place, with what was learned of the place.

    Raises:
        SimexploreError: the place cannot run it.
    """
    if isinstance(place.arch, Gpu) and not isinstance(op, Ready):
        return _predicted(op, place.arch, conditions)
    demands = demands_at(op, place, conditions)
    told = [alone(demand, place, conditions).as_numbers() for demand in demands]
    return Priced(
        text=op.describe(),
        cost=one_after_another([costs_of_phases(part) for part in told]),
        bound=max(told, key=lambda part: float(part.time_s)).bound,
        kernel="+".join(demand.kernel for demand in demands),
    )


def _predicted(op: Operator, gpu: Gpu, conditions: Conditions) -> Priced:
    cost, factor, spread = learned_cost(op, gpu, conditions)
    check_told(op, gpu, cost.time_s, added(cost.energies_j))
    correction = conditions.pace * float(factor[0])
    return Priced(
        text=op.describe(),
        cost=cost.times(correction),
        bound=BOUNDS[cost.bound_code[0]],
        kernel=op.op,
        interval_ratio=float(np.exp(spread[0])),
        correction=correction,
    )


@singledispatch
def mapped_on(arch: Any, op: Operator, place: Place, conditions: Conditions) -> tuple[AnyDemand, ...]:  # noqa: ARG001
    """What an operator asks of a kind of device, which registers what it can run.

    Raises:
        SimexploreError: the device cannot run it.
    """
    raise SimexploreError(f"expected work that {place.name} can do, found {op.op}")


@mapped_on.register
def _on_gpu(arch: Gpu, op: Operator, place: Place, conditions: Conditions) -> tuple[AnyDemand, ...]:  # noqa: ARG001
    return kernels_of(op, arch, conditions)


@mapped_on.register
def _on_link(arch: SystemLink, op: Operator, place: Place, conditions: Conditions) -> tuple[AnyDemand, ...]:  # noqa: ARG001
    """A copy: one message of as many bytes as its result has."""
    if not isinstance(op, Copy | Transfer):
        raise SimexploreError(f"expected a copy to go over {place.name}, found {op.op}")
    return (LinkDemand(kernel=op.op, link=place.name, bytes=np.atleast_1d(op.output_bytes), steps=np.ones(1)),)


@mapped_on.register
def _on_path(arch: Path, op: Operator, place: Place, conditions: Conditions) -> tuple[AnyDemand, ...]:  # noqa: ARG001
    """A copy from one device to another."""
    if isinstance(op, Transfer):
        pageable = op.memory == "pageable"
        return (TransferDemand(op.op, float(op.bytes), float(op.block), float(op.queue), pageable),)
    if not isinstance(op, Copy):
        raise SimexploreError(f"expected a transfer to go over {place.name}, found {op.op}")
    usual = Transfer(1)
    return (TransferDemand(op.op, float(op.output_bytes), float(usual.block), float(usual.queue)),)


@mapped_on.register
def _on_cpu(arch: Cpu, op: Operator, place: Place, conditions: Conditions) -> tuple[AnyDemand, ...]:  # noqa: ARG001
    """Any operator as a roofline of the cores: its operations in FP32, and its compulsory traffic."""
    if isinstance(op, Transfer):
        raise SimexploreError(f"expected a path such as '{place.name}->gpu' for a transfer, found {place.name!r}")
    if isinstance(op, GraphSearch):
        return (SearchDemand(op.op, int(op.heads), float(op.visited), float(op.min_bytes)),)
    cores = op.cores if isinstance(op, HostWork) else None
    return (CpuDemand(op.op, float(op.flops), float(op.min_bytes), None if cores is None else int(cores)),)
