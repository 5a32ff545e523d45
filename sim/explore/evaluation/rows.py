"""Operators on machines as rows: many of both in one call of the physics.

A row is one operator on one machine. Rows of one operator family and data type, on machines that differ in numbers
only, are timed together: the operator's counts and the machine's values are arrays. Rows are always taken
`BLOCK_ROWS` at a time, the last block filled up with copies, so a row's result does not depend on its company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.fields import Field, with_columns
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ARRAY_FIELDS, RESOURCES, Demand, KernelDemand, LinkDemand
from simexplore.sim.estimate import operators as estimate
from simexplore.sim.explore.table import FloatArray
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds
from simexplore.sim.mapping import algorithms_of
from simexplore.workloads.operators.base import Operator

BLOCK_ROWS = 128
"""Rows x candidates x 8 bytes should stay in a core's L2 cache."""

Work = tuple[Operator, Conditions]


@dataclass(frozen=True)
class Costs:
    """What rows cost alone on an idle machine; arrays of shape (rows,)."""

    time_s: FloatArray
    dynamic_j: FloatArray
    """Energy above idle."""
    bound_code: NDArray[np.int64]
    """Index into `estimate.BOUNDS`."""
    busy_s: FloatArray
    """Shape (resources, rows): time for which each of `demand.RESOURCES` of the whole machine is busy."""

    def take(self, rows: Any) -> Costs:
        """Some of the rows."""
        return Costs(self.time_s[rows], self.dynamic_j[rows], self.bound_code[rows], self.busy_s[:, rows])


@dataclass(frozen=True)
class Kernels:
    """The kernels of one block of rows, fastest candidates chosen."""

    ways: tuple[tuple[Demand, ...], ...]
    """Of each algorithm that the library has, its kernels in the order in which they run."""
    serves: tuple[NDArray[np.bool_], ...]
    """Which rows each algorithm can serve."""
    machine: Gpu
    """Its columns have shape (rows,)."""
    conditions: Conditions


@dataclass(frozen=True)
class Machines:
    """Machines that differ in numbers only."""

    base: Gpu
    columns: Mapping[Field, FloatArray]
    """Values of shape (machines,)."""

    def kernels(self, works: Sequence[Work], machines: NDArray[np.int64]) -> Kernels:
        """Kernels of works of one `signature`, each on the machine of that number.

        Raises:
            SimexploreError: the machines cannot run the operator.
        """
        conditions = works[0][1]
        # What the rows of a block have in common is one row, so that the physics computes it once.
        alike = all(work is works[0] for work in works)
        op = as_columns([work[0] for work in (works[:1] if alike else works)])
        flat = {field: _once(values[machines]) for field, values in self.columns.items()}
        wide = cast(Gpu, with_columns(self.base, {field: values[:, None] for field, values in flat.items()}))
        narrow = cast(Gpu, with_columns(self.base, flat))
        algorithms = algorithms_of(op, wide, conditions)
        ways = tuple(
            tuple(
                demand if isinstance(demand, LinkDemand) else _choose(demand, wide, conditions, len(works))
                for demand in algorithm.kernels
            )
            for algorithm in algorithms
        )
        serves = tuple(np.broadcast_to(algorithm.serves, (len(works),)) for algorithm in algorithms)
        return Kernels(ways, serves, narrow, conditions)


def _once(values: FloatArray) -> FloatArray:
    """One value, where all are the same."""
    return values[:1] if np.all(values == values[0]) else values


def signature(work: Work) -> tuple[Any, ...]:
    """What rows must have in common to be timed together: family, data types and conditions."""
    op, conditions = work
    words = tuple(value for f in fields(op) if not _is_count(value := getattr(op, f.name)))  # type: ignore[arg-type]
    return (type(op), words, conditions)


def as_columns(ops: Sequence[Operator]) -> Operator:
    """Operators of one signature as one record whose counts are columns."""
    first: Any = ops[0]
    counts = [f.name for f in fields(first) if _is_count(getattr(first, f.name))]
    columns = {name: np.array([getattr(op, name) for op in ops], dtype=np.int64) for name in counts}
    record: Operator = replace(first, **columns)
    return record


def costs(kernels: Kernels, rows: int) -> Costs:
    """The closed form of one block, by the fastest algorithm of each row; its energy is dynamic energy only."""
    ways = [costs_of(demands, kernels, rows) for demands in kernels.ways]
    return choose_ways(kernels, ways)


def costs_of(demands: tuple[Demand, ...], kernels: Kernels, rows: int) -> Costs:
    """Kernels that run one after another; what bounds the longest of them bounds all."""
    parts = [_cost(demand, kernels, rows) for demand in demands]
    times = np.stack([part.time_s for part in parts])
    codes = np.stack([part.bound_code for part in parts])
    return Costs(
        time_s=np.sum(times, axis=0),
        dynamic_j=np.sum([part.dynamic_j for part in parts], axis=0),
        bound_code=codes[np.argmax(times, axis=0), np.arange(rows)],
        busy_s=np.sum([part.busy_s for part in parts], axis=0),
    )


def choose_ways(kernels: Kernels, ways: Sequence[Costs]) -> Costs:
    """Of each row the algorithm that takes least time, among those that serve it."""
    if len(ways) == 1:
        return ways[0]
    times = [np.where(serves, way.time_s, np.inf) for serves, way in zip(kernels.serves, ways, strict=True)]
    fastest = np.argmin(np.stack(times), axis=0)
    rows = np.arange(len(fastest))
    return Costs(
        time_s=np.stack([way.time_s for way in ways])[fastest, rows],
        dynamic_j=np.stack([way.dynamic_j for way in ways])[fastest, rows],
        bound_code=np.stack([way.bound_code for way in ways])[fastest, rows],
        busy_s=np.stack([way.busy_s for way in ways])[fastest, :, rows].T,
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _choose(demand: KernelDemand, wide: Gpu, conditions: Conditions, rows: int) -> KernelDemand:
    """The fastest candidate of each row, arrays of shape (rows,)."""
    tried = _worth_trying(demand)
    # A demand that depends on no column has one row; its extra launches carry it to the length of the block.
    many = replace(tried, extra_launches=tried.extra_launches + np.zeros((rows, 1)))
    chosen = estimate.choose_kernel(many, wide, conditions)
    # A field that all candidates share is one number, or one a row where it follows from the machine.
    shared = {f.name: getattr(chosen, f.name) for f in fields(chosen) if f.name not in ARRAY_FIELDS}
    columns: dict[str, Any] = {
        name: value[:, 0] for name, value in shared.items() if isinstance(value, np.ndarray) and value.ndim == 2
    }
    return replace(chosen, **columns)


def _worth_trying(demand: KernelDemand) -> KernelDemand:
    """Without candidates that have no room in any row, and those that are the same kernel as one before them."""
    room = np.any(np.isfinite(demand.shared_bytes_per_cta), axis=0)
    arrays = [*(getattr(demand, name) for name in ARRAY_FIELDS), *demand.label]
    told = [array[0] for array in arrays if array.shape == (1, len(room))]
    if len(room) == 1 or not np.any(room) or not told:
        return demand
    _, first, kind = np.unique(np.stack(told), axis=1, return_index=True, return_inverse=True)
    like = first[np.reshape(kind, -1)]  # of each candidate, the first that no field of one row tells from it
    again = like < np.arange(len(room))
    for array in arrays:
        if array.shape[0] > 1 and array.shape[1] > 1:
            again &= np.all(array == array[:, like], axis=0)
    kept = np.flatnonzero(room & ~again)
    return demand.map(lambda array: array[:, kept] if array.shape[1] > 1 else array)


def _cost(demand: Demand, kernels: Kernels, rows: int) -> Costs:
    machine = kernels.machine
    if isinstance(demand, LinkDemand):
        alone = estimate.kernel_cost(demand, machine, kernels.conditions)
        bound = np.broadcast_to(alone.bound_code, rows)
        return Costs(_full(alone.time_s, rows), _full(alone.energy_j, rows), bound, np.zeros((len(RESOURCES), rows)))
    timing = kernel_timing(demand, machine)
    launch_s = launch_seconds(demand, machine, kernels.conditions.launch)
    busy = np.stack([_full(timing.busy_s[name], rows) for name in RESOURCES])
    bound = np.broadcast_to(estimate.bound_code(timing, launch_s), rows)
    return Costs(_full(launch_s + timing.time_s, rows), _full(timing.energy_j, rows), bound, busy)


def _full(values: FloatArray, rows: int) -> FloatArray:
    return np.broadcast_to(np.asarray(values, dtype=np.float64), (rows,))


def evaluate(
    machines: Machines, works: Sequence[Work], pairs: NDArray[np.int64], cost: Any = costs
) -> tuple[Costs, dict[int, str]]:
    """Costs of pairs (index of a work, index of a machine), shape (rows, 2), and errors by work.

    `cost` turns the kernels of a block into costs: the closed form, or events.
    """
    rows = len(pairs)
    out = Costs(
        np.full(rows, np.nan), np.full(rows, np.nan), np.zeros(rows, np.int64), np.zeros((len(RESOURCES), rows))
    )
    errors: dict[int, str] = {}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, work in enumerate(works):
        groups.setdefault(signature(work), []).append(index)
    for members in groups.values():
        chosen = np.flatnonzero(np.isin(pairs[:, 0], members))
        for start in range(0, len(chosen), BLOCK_ROWS):
            block = chosen[start : start + BLOCK_ROWS]
            filled = np.concatenate([block, np.repeat(block[-1:], BLOCK_ROWS - len(block))])
            try:
                kernels = machines.kernels([works[index] for index in pairs[filled, 0]], pairs[filled, 1])
            except SimexploreError as error:
                errors.update(dict.fromkeys(members, str(error)))
                break
            _put(out, block, cost(kernels, BLOCK_ROWS).take(slice(len(block))))
    return out, errors


def _put(out: Costs, rows: NDArray[np.int64], part: Costs) -> None:
    out.time_s[rows] = part.time_s
    out.dynamic_j[rows] = part.dynamic_j
    out.bound_code[rows] = part.bound_code
    out.busy_s[:, rows] = part.busy_s
