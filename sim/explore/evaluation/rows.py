"""Operators on machines as rows: many of both in one call of the physics.

A row is one operator on one machine. Rows of one operator family and data type, on machines that differ in numbers
only, are timed together: the operator's counts and the machine's values are arrays. Rows are always taken
`BLOCK_ROWS` at a time, the last block filled up with copies, so a row's result does not depend on its company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import singledispatch
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.fields import Field, with_columns
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Demand, KernelDemand
from simexplore.sim.estimate.correction import half_width
from simexplore.sim.estimate.cost import Cost, fastest, joined, no_rows, one_after_another
from simexplore.sim.estimate.learned.passed_on import NOTHING, Lesson, lent_to
from simexplore.sim.estimate.operators import learned_factor, lesson_of
from simexplore.sim.estimate.row_costs import row_costs
from simexplore.sim.explore.table import FloatArray, distinct_rows
from simexplore.sim.mapping import algorithms_of
from simexplore.sim.mapping.choice import choose
from simexplore.workloads.operators.base import Operator

BLOCK_ROWS = 128
"""Rows x candidates x 8 bytes should stay in a core's L2 cache."""

_REMEMBERED = 200_000
"""Works whose lessons are kept in mind."""

Work = tuple[Operator, Conditions]


@dataclass(frozen=True)
class Kernels:
    """The kernels of one block of rows, fastest candidates chosen."""

    ways: tuple[tuple[Demand, ...], ...]
    """Of each algorithm that the library has, its kernels in the order in which they run."""
    serves: tuple[NDArray[np.bool_], ...]
    """Which rows each algorithm can serve."""
    op: Operator
    """Its counts have shape (rows,), or (1,) where all rows are alike."""
    machine: Gpu
    """Its columns have shape (rows,)."""
    conditions: Conditions


@dataclass
class Lessons:
    """What machines of a sweep inherit from the one that was measured: of each work one lesson, on whatever machine."""

    machine: Gpu
    """One that has the lenders of all of them."""
    _known: dict[Work, tuple[float, float, float]] = field(default_factory=dict)

    def of(self, works: Sequence[Work]) -> Lesson | None:
        """Of different works of one `signature`, arrays of shape (works,); None where nothing was learned of them."""
        op, conditions = works[0]
        lent = lent_to(op, self.machine, conditions)
        if lent is None:
            return None
        missing = [work for work in works if work not in self._known]
        if missing:
            found = lesson_of(lent, as_columns([op for op, _ in missing]), conditions) or NOTHING
            columns = (np.broadcast_to(column, len(missing)).tolist() for column in found)
            if len(self._known) >= _REMEMBERED:
                self._known = {work: self._known[work] for work in works if work in self._known}
            self._known |= dict(zip(missing, zip(*columns, strict=True), strict=True))
        return Lesson(*np.array([self._known[work] for work in works]).T)


@dataclass(frozen=True)
class Machines:
    """Machines that differ in numbers only."""

    base: Gpu
    columns: Mapping[Field, FloatArray]
    """Values of shape (machines,)."""
    lessons: Lessons | None = None
    """What they inherit; None: the physics alone."""

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
            tuple(_chosen(demand, wide, conditions, len(works)) for demand in algorithm.kernels)
            for algorithm in algorithms
        )
        serves = tuple(np.broadcast_to(algorithm.serves, (len(works),)) for algorithm in algorithms)
        return Kernels(ways, serves, op, narrow, conditions)


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


BlockCosts = Callable[[Kernels, int], Cost]
"""Costs of the kernels of a block of so many rows."""


def costs(kernels: Kernels, rows: int) -> Cost:
    """The closed form of one block at the boost clock, by the fastest algorithm of each row."""
    return choose_ways(kernels, [costs_of(demands, kernels, rows) for demands in kernels.ways])


def costs_of(demands: tuple[Demand, ...], kernels: Kernels, rows: int) -> Cost:
    """The closed form of one algorithm."""
    parts = [row_costs(demand, kernels.machine, kernels.conditions) for demand in demands]
    return one_after_another(parts, rows)


def choose_ways(kernels: Kernels, ways: Sequence[Cost]) -> Cost:
    """Of each row the algorithm that takes least time, among those that serve it."""
    if len(ways) == 1:
        return ways[0]
    return fastest([way.only_where(serves) for serves, way in zip(kernels.serves, ways, strict=True)])


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _chosen(demand: Demand, wide: Gpu, conditions: Conditions, rows: int) -> Demand:
    """The candidate that the library picks for each row of a block, arrays of shape (rows,)."""
    return choose(_narrowed(demand, rows), wide, conditions)


@singledispatch
def _narrowed(demand: Demand, rows: int) -> Demand:  # noqa: ARG001 - only kernels have candidates
    """The demand without candidates that need not be tried."""
    return demand


@_narrowed.register
def _(demand: KernelDemand, rows: int) -> KernelDemand:
    """Without candidates that no row can have, and those that are the same kernel as one before them.

    A demand that depends on no column has one row; its extra launches carry it to the length of the block.
    """
    kept = _worth_trying(demand)
    return kept.but(latency={"extra_launches": kept.latency.extra_launches + np.zeros((rows, 1))})


def _worth_trying(demand: KernelDemand) -> KernelDemand:
    room = np.any(demand.choice.offered, axis=0)
    arrays = demand.arrays()
    candidates = demand.shape[1]
    room = np.broadcast_to(room, (candidates,))
    told = [array[0] for array in arrays if array.shape == (1, candidates)]
    if candidates == 1 or not np.any(room) or not told:
        return demand
    first, kind = distinct_rows(np.stack(told, axis=1))
    like = first[kind]  # of each candidate, the first that no field of one row tells from it
    again = like < np.arange(candidates)
    for array in arrays:
        if array.shape[0] > 1 and array.shape[1] > 1:
            again &= np.all(array == array[:, like], axis=0)
    kept = np.flatnonzero(room & ~again)
    return demand.map(lambda array: array[:, kept] if array.shape[1] > 1 else array)


class Evaluated(NamedTuple):
    """Rows in the order of the pairs that were asked for."""

    cost: Cost
    half_width: FloatArray
    """Of the 80 % interval of log time."""
    errors: dict[int, str]
    """What is wrong with a work, by its index."""


def evaluate(
    machines: Machines, works: Sequence[Work], pairs: NDArray[np.int64], cost: BlockCosts = costs
) -> Evaluated:
    """Costs of pairs (index of a work, index of a machine), shape (rows, 2), with what the machines inherit.

    `cost` turns the kernels of a block into costs: the closed form, or events.
    """
    parts: list[Cost] = []
    places: list[NDArray[np.int64]] = []
    half = np.full(len(pairs), np.nan)
    errors: dict[int, str] = {}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, work in enumerate(works):
        groups.setdefault(signature(work), []).append(index)
    for members in groups.values():
        lesson = None if machines.lessons is None else machines.lessons.of([works[index] for index in members])
        far = half_width(works[members[0]][0], machines.base, works[members[0]][1])
        chosen = np.flatnonzero(np.isin(pairs[:, 0], members))
        for start in range(0, len(chosen), BLOCK_ROWS):
            block = chosen[start : start + BLOCK_ROWS]
            filled = np.concatenate([block, np.repeat(block[-1:], BLOCK_ROWS - len(block))])
            try:
                kernels = machines.kernels([works[index] for index in pairs[filled, 0]], pairs[filled, 1])
            except SimexploreError as error:
                errors.update(dict.fromkeys(members, str(error)))
                break
            rows = None if lesson is None else lesson.take(np.searchsorted(members, pairs[filled, 0]))
            found, wide = _learned(kernels, rows, far, cost)
            parts.append(found.take(slice(len(block))))
            half[block] = wide[: len(block)]
            places.append(block)
    return Evaluated(_in_order(parts, places, len(pairs)), half, errors)


def _learned(kernels: Kernels, lesson: Lesson | None, far: float, cost: BlockCosts) -> tuple[Cost, FloatArray]:
    """What the kernels of a block cost, with what was learned of them, and the half-width of log time."""
    found = cost(kernels, BLOCK_ROWS)
    if lesson is None:
        return found, np.full(BLOCK_ROWS, far)
    at_boost_s = (found if cost is costs else costs(kernels, BLOCK_ROWS)).time_s
    shift, half = lesson.passed_on(at_boost_s, far)
    return found.times(learned_factor(shift, at_boost_s, kernels.op, kernels.machine, kernels.conditions)), half


def _in_order(parts: Sequence[Cost], places: Sequence[NDArray[np.int64]], rows: int) -> Cost:
    """Costs of blocks as those of all rows; of rows that no block has, no number is told."""
    missing = np.setdiff1d(np.arange(rows), np.concatenate([*places, np.zeros(0, dtype=np.int64)]))
    nothing = no_rows().take(np.zeros(0, dtype=np.int64)).spread(np.zeros(0, dtype=np.int64), len(missing))
    every = joined([*parts, replace(nothing, time_s=np.full(len(missing), np.nan))])
    order = np.empty(rows, dtype=np.int64)
    order[np.concatenate([*places, missing])] = np.arange(rows)
    return every.take(order)
