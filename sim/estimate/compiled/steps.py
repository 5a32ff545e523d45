"""What is recorded of one row: the kernel that the library picks, what it costs, and the features of its correction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, Demand, KernelDemand
from simexplore.sim.estimate.compiled.recorded import Recorded, Recording, UnrecordableError
from simexplore.sim.estimate.correction import size_columns
from simexplore.sim.estimate.intervals.kinds import kind_columns
from simexplore.sim.estimate.row_costs import KERNEL
from simexplore.sim.estimate.traits import NAMES, seconds_of, shape_of
from simexplore.sim.hardware.power import COMPONENTS
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds
from simexplore.sim.mapping import algorithms_of
from simexplore.sim.mapping.choice import reckoned_seconds
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import Operator

ENERGIES = tuple(f"{name}_j" for name in COMPONENTS)
BUSY = tuple(f"{name}_s" for name in RESOURCES)
COST = ("time", "runs", *KERNEL, *ENERGIES, "bound", *BUSY, "least")
"""What is told of every row, before its features."""


class Recipe(NamedTuple):
    """A recording, and which of its nodes are what."""

    recording: Recording
    outputs: tuple[int, ...]
    """Nodes: `COST`, then the features."""
    features: tuple[str, ...]


def sizes_of(op: Operator) -> tuple[str, ...]:
    """Parameters of an operator that are counts."""
    return tuple(name for name, (_, parameter) in parameters_of(op).items() if parameter.kind == "count")


def recipe(op: Operator, gpu: Gpu, conditions: Conditions, copies: Mapping[str, float]) -> Recipe:
    """What the physics does for an operator of plain numbers, and for all others that it treats alike.

    Args:
        op: the example.
        gpu: the machine.
        conditions: how it is run.
        copies: fields of the cache's state that rows have of their own, and the example's; inputs after the counts.

    Raises:
        UnrecordableError: it is of several kernels, or the physics takes a step that cannot be recorded.
        SimexploreError: the machine cannot run it.
    """
    recording, names = Recording(), sizes_of(op)
    counts = {name: recording.input(place, getattr(op, name)) for place, name in enumerate(names)}
    own: dict[str, Any] = {
        name: recording.input(place, float(example))
        for place, (name, example) in enumerate(copies.items(), start=len(names))
    }
    conditions = replace(conditions, cache=replace(conditions.cache, **own))
    try:
        told, features = _told(replace(op, **counts), gpu, conditions, recording)  # type: ignore[type-var]
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise UnrecordableError(str(error)) from error
    nodes = tuple(recording.lifted(value).position for value in (*(told[name] for name in COST), *features.values()))
    return Recipe(recording, nodes, tuple(features))


def _told(
    op: Operator, gpu: Gpu, conditions: Conditions, recording: Recording
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    ways = [
        _of_kernels(way.kernels, op, gpu, conditions, recording)
        for way in algorithms_of(op, gpu, conditions)
        if np.any(way.serves)
    ]
    told = ways[0]
    for way in ways[1:]:
        sooner = recording.lifted(_if_runs(way)) < _if_runs(told)
        told = {name: np.where(sooner, way[name], value) for name, value in told.items()}
    features = size_columns(op, gpu) | {f"physics {name}": told[f"physics {name}"] for name in NAMES}
    features["physics reads"] = features["physics dram_bytes"] - features["bytes"]
    return told, features | kind_columns(op)


def _of_kernels(
    kernels: tuple[Demand, ...], op: Operator, gpu: Gpu, conditions: Conditions, recording: Recording
) -> dict[str, Any]:
    """`COST` and the traits of an algorithm of one kernel."""
    if len(kernels) != 1 or not isinstance(kernels[0], KernelDemand):
        raise UnrecordableError("several kernels")
    demand = _picked(kernels[0], gpu, conditions, recording)
    timing, launch = kernel_timing(demand, gpu), launch_seconds(demand, gpu, conditions.launch)
    time, seconds = launch + timing.time_s, seconds_of(timing, launch)
    dram = np.log2(demand.grid.ctas * demand.work.dram_bytes + 1.0)
    traits = (np.log2(time), *(each / time for each in seconds), dram, 1.0, *shape_of(demand, timing))
    return {
        "time": time,
        "runs": timing.waves.fits & demand.choice.offered,
        **dict(zip(KERNEL, (launch + timing.setup_s, *timing.draw), strict=True)),
        **{f"{name}_j": timing.energies_j.get(name, 0.0) for name in COMPONENTS},
        "bound": _largest([recording.lifted(value) for value in seconds]),
        **{f"{name}_s": timing.busy_s[name] for name in RESOURCES},
        "least": least_seconds(op, gpu, conditions.cache) / time,
        **{f"physics {name}": value for name, value in zip(NAMES, traits, strict=True)},
    }


def _if_runs(way: Mapping[str, Any]) -> Any:
    return np.where(way["runs"], way["time"], np.inf)


def _picked(demand: KernelDemand, gpu: Gpu, conditions: Conditions, recording: Recording) -> KernelDemand:
    """`choice.choose` of one row."""
    lift: Any = recording.lifted
    lifted = demand.map(lift)
    if demand.shape[1] == 1:
        return lifted.take(np.zeros(1, dtype=np.intp))
    # No smooth maximum is below the largest of its terms: most candidates are ruled out by that, which takes no powers.
    perfect = replace(lifted.overlap, within_sm=np.inf, sm_l2=np.inf, dram=np.inf)
    least = reckoned_seconds(replace(lifted, overlap=perfect), gpu, conditions)
    seconds = reckoned_seconds(lifted, gpu, conditions)
    picked = np.argmin(seconds.value, axis=1)  # type: ignore[attr-defined]
    return lifted.take(recording.step("search", [least, seconds], picked))  # type: ignore[arg-type]


def _largest(values: list[Recorded]) -> Any:
    """Position of the first of the largest values."""
    code: Any = 0.0
    most: Any = values[0]
    for position, value in enumerate(values[1:], start=1):
        larger: Any = np.greater(value, most)
        code, most = np.where(larger, float(position), code), np.where(larger, value, most)
    return code
