"""What a node of a graph asks of the place that it runs at, and what that costs alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, System, SystemLink
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import LinkDemand
from simexplore.sim.estimate.alone import Alone, AnyDemand, alone
from simexplore.sim.estimate.op_run import UNCALIBRATED_RATIO
from simexplore.sim.estimate.operators import kernels_of, predict
from simexplore.workloads.graph import Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import Copy


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
    time_s: float
    dynamic_j: float
    """Energy above idle."""
    bound: str
    kernel: str
    interval_ratio: float = UNCALIBRATED_RATIO
    """Upper end of the 80 % interval of its time over the time."""
    correction: float = 1.0
    """The learned factor that is in `time_s`."""


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
        time_s=float(sum(part.time_s for part in told)),
        dynamic_j=float(sum(part.energy_j for part in told)),
        bound=_longest(told).bound,
        kernel="+".join(demand.kernel for demand in demands),
    )


def _longest(told: list[Alone]) -> Alone:
    return max(told, key=lambda part: float(part.time_s))


def _predicted(op: Operator, gpu: Gpu, conditions: Conditions) -> Priced:
    prediction = predict(op, gpu, conditions)
    time_s = float(prediction.time_s[0])
    return Priced(
        text=op.describe(),
        time_s=time_s,
        dynamic_j=float(prediction.energy_j[0]) - gpu.power.idle_w * time_s,
        bound=prediction.bound[0],
        kernel=op.op,
        interval_ratio=float(prediction.interval_ratio[0]),
        correction=float(prediction.correction[0]),
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
    if not isinstance(op, Copy):
        raise SimexploreError(f"expected a copy to go over {place.name}, found {op.op}")
    return (LinkDemand(kernel=op.op, link=place.name, bytes=np.atleast_1d(op.output_bytes), steps=np.ones(1)),)
