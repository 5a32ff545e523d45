"""The offloaded training steps in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from simexplore.errors import SimexploreError
from simexplore.workloads.families.offloaded.gpt import BY_BENEFIT, Model
from simexplore.workloads.families.offloaded.schedule import FUYOU, ZERO_INFINITY, ZERO_OFFLOAD, Schedule, step
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.parameters import count_of
from simexplore.workloads.workload import Workload


@dataclass(frozen=True)
class Recomputing(Model):
    """A model of whose layers only inputs are kept."""

    swapped: int = field(
        default=0,
        metadata=count_of("of each layer's four products, those whose results are kept off the GPU, 0 to 4", 0),
    )


def build(model: Model, schedule: Schedule) -> Graph:
    """The step of a schedule.

    Raises:
        SimexploreError: heads that do not divide the hidden size, or more products than a layer has.
    """
    if model.hidden % model.heads:
        raise SimexploreError(f"heads: expected a number that divides hidden = {model.hidden}, found {model.heads}")
    if model.swapped > len(BY_BENEFIT):
        raise SimexploreError(f"swapped: expected 0 to {len(BY_BENEFIT)}, found {model.swapped}")
    return step(model, schedule)


def _recomputing(schedule: Schedule) -> type[Model]:
    """Options whose default is to keep nothing but the inputs of layers."""
    return Model if schedule is FUYOU else Recomputing


WORKLOADS = tuple(
    Workload(f"offload/{schedule.name}", description, _recomputing(schedule), partial(build, schedule=schedule))
    for schedule, description in (
        (
            FUYOU,
            "a GPT's training step by Fuyou: states on drives, activations swapped by benefit (arXiv 2403.06504)",
        ),
        (ZERO_INFINITY, "the same by ZeRO-Infinity: states on drives, the optimizer at the end (arXiv 2104.07857)"),
        (ZERO_OFFLOAD, "the same by ZeRO-Offload: states in host memory, weights on the GPU (arXiv 2101.06840)"),
    )
)
