"""The candidates that a library did not take, and by how much they lost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.cost import one_after_another
from simexplore.sim.estimate.row_costs import row_costs
from simexplore.sim.explain.kernel import tile_text
from simexplore.sim.hardware.timing import kernel_seconds, launch_seconds
from simexplore.sim.mapping import algorithms_of
from simexplore.sim.mapping.choice import chosen, reckoned_seconds
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.columns import even

TOLD = 6
"""Candidates of a kernel that are told."""


@dataclass(frozen=True)
class Lost:
    """A candidate that was not taken."""

    kernel: str
    tile: str
    behind: float
    """What the library reckons it to take over what it reckons of the one it took, less 1."""
    takes_s: float
    """What it would take at the top clock, launch included; without what was learned [s]."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units."""
        return asdict(self)


@dataclass(frozen=True)
class Choices:
    """What there was to choose from."""

    tried: int
    """Candidates of all kernels of the algorithm that runs, those that can run at all."""
    candidates: tuple[Lost, ...]
    """Those that came next, of each kernel."""
    algorithms: tuple[Lost, ...]
    """Other algorithms that serve the operator."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units."""
        return asdict(self)


def choices_of(op: Operator, gpu: Gpu, conditions: Conditions) -> Choices:
    """What a GPU's library had to choose from for one operator, and how far the others were behind.

    Raises:
        SimexploreError: the GPU cannot run it.
    """
    ways = [way for way in algorithms_of(even(op), gpu, conditions) if np.all(way.serves)]
    kernels = [chosen(way, gpu, conditions) for way in ways]
    times = [
        float(one_after_another([row_costs(demand, gpu, conditions) for demand in each]).time_s[0]) for each in kernels
    ]
    best = int(np.argmin(times))
    others = [
        Lost("+".join(demand.kernel for demand in each), "", time_s / times[best] - 1.0, time_s)
        for index, (each, time_s) in enumerate(zip(kernels, times, strict=True))
        if index != best
    ]
    found, tried = [], 0
    for demand in ways[best].kernels:
        if isinstance(demand, KernelDemand):
            lost, ran = _lost(demand, gpu, conditions)
            found += lost
            tried += ran
    return Choices(tried, tuple(found), tuple(sorted(others, key=lambda other: other.takes_s)))


def _lost(demand: KernelDemand, gpu: Gpu, conditions: Conditions) -> tuple[list[Lost], int]:
    """The candidates of a kernel next to the one that was taken, and how many could run."""
    _, candidates = demand.shape
    reckoned = np.broadcast_to(reckoned_seconds(demand, gpu, conditions), (1, candidates))[0]
    takes = np.broadcast_to(
        kernel_seconds(demand, gpu) + launch_seconds(demand, gpu, conditions.launch), (1, candidates)
    )[0]
    order = [index for index in np.argsort(reckoned, kind="stable") if np.isfinite(reckoned[index])]
    labels = [_label(demand, index) for index in range(candidates)]
    told: dict[str, int] = {}
    for index in order:
        told.setdefault(labels[index], int(index))
    first, *rest = told.items() or [("", 0)]
    lost = [
        Lost(demand.kernel, label, float(reckoned[index] / reckoned[first[1]] - 1.0), float(takes[index]))
        for label, index in rest[:TOLD]
    ]
    return lost, len(told)


def _label(demand: KernelDemand, candidate: int) -> str:
    sizes = [part[0, min(candidate, part.shape[1] - 1)] for part in demand.choice.label]
    return tile_text([f"{size:g}" for size in sizes])
