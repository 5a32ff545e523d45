"""The closed form: times of whole columns of operators at once, tile choice included.

`predict` is what sweeps and comparisons call; `kernels_of` gives the events engine the same kernels, the same choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import CacheState, Conditions, PowerState
from simexplore.sim.demand import ANY_ROW, Algorithm, Demand, FloatArray
from simexplore.sim.estimate.compiled.rows import compiled_cost
from simexplore.sim.estimate.correction import NORMAL_80, corrected, feature_columns, half_width
from simexplore.sim.estimate.cost import (
    Cost,
    Held,
    allowed_w,
    fastest,
    hold,
    joined,
    no_rows,
    one_after_another,
)
from simexplore.sim.estimate.learned.passed_on import ANOTHER_BOARD, Lent, Lesson, lent_to
from simexplore.sim.estimate.row_costs import row_costs
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.hardware.occupancy import no_room
from simexplore.sim.hardware.power import added, board_of
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import algorithms_of, candidates_of
from simexplore.sim.mapping.choice import chosen
from simexplore.sim.mapping.host import queued_call_seconds
from simexplore.workloads.operators.columns import even
from simexplore.workloads.ops import Operator

ARRAY_BYTES = 120 * 1024
"""Size of the arrays of rows x candidates that are worked on at once: tens of them fit a core's L2 cache, and an
allocator that gives arrays of 128 KiB and more back to the system (glibc's malloc, M_MMAP_THRESHOLD) keeps them."""
NO_LIMIT_W = 1e9
"""A power limit that holds no kernel back."""
MOST_ROWS = 2048
"""Rows mapped at once where there is nothing to choose: there, time goes to numpy's calls, not into its loops."""


LONGEST_S = MOST_J = 1e18
"""Longest time, thirty thousand million years, and largest energy that is told; what is beyond is a mistake in a size
or a rate, and further on leaves the range of numbers."""


@dataclass(frozen=True)
class Prediction:
    """What one operator, or each row of a column of them, costs alone on an idle GPU; arrays of shape (rows,)."""

    time_s: FloatArray
    """From the first launch to the last store, launch latency included."""
    interval_ratio: FloatArray
    """Upper end of the 80 % interval over the time, and the time over the lower end."""
    energy_j: FloatArray
    """Dynamic energy, and what the board draws beside it over the time."""
    energy_ratio: FloatArray
    """Upper end of the 80 % interval of the energy over the energy, and that over the lower end."""
    bound_code: NDArray[np.int64]
    """Index into `BOUNDS` of what takes the largest part of the time."""
    correction: FloatArray
    """The learned factor that is in `time_s`; 1 where there is none."""

    @property
    def low_s(self) -> FloatArray:
        """Lower end of the interval that holds 80 % of measured times."""
        return self.time_s / self.interval_ratio

    @property
    def high_s(self) -> FloatArray:
        """Upper end of that interval."""
        return self.time_s * self.interval_ratio

    @property
    def power_w(self) -> FloatArray:
        """Mean power of the board over the time."""
        return self.energy_j / self.time_s

    @property
    def bound(self) -> list[str]:
        """What bounds each row, by name."""
        return [BOUNDS[code] for code in self.bound_code]


def predict(op: Operator, gpu: Gpu, conditions: Conditions | None = None) -> Prediction:
    """Predict an operator record whose fields are numbers or columns of shape (rows,).

    The physics, times the learned correction where the machine has one for such rows. A column of one entry stands for
    any number of rows, and of no rows there are no predictions.

    Raises:
        SimexploreError: the GPU cannot run the operator, no kernel for it fits an SM, the time or energy is beyond
            what is told, or columns have different lengths.
    """
    op, conditions = even(op), Conditions() if conditions is None else conditions
    cost, factor, spread = learned_cost(op, gpu, conditions)
    held = as_timed(cost, op, gpu, conditions)
    check_told(op, gpu, held.time_s, held.energy_j)
    ratio = np.exp(spread)
    return Prediction(
        time_s=factor * held.time_s,
        interval_ratio=ratio,
        energy_j=factor * held.energy_j,
        energy_ratio=energy_ratio(ratio, gpu),
        bound_code=cost.bound_code,
        correction=factor,
    )


def predict_in_state(op: Operator, gpu: Gpu, conditions: Conditions, power: PowerState) -> Prediction:
    """`predict` of each row as `estimate_graph` has one operator: on a board whose budget is as `power` says.

    Raises:
        SimexploreError: as `predict`.
    """
    op = even(op)
    cost, factor, spread = learned_cost(op, gpu, conditions)
    slowed = cost.times(conditions.pace * factor)
    check_told(op, gpu, cost.time_s, added(cost.energies_j))
    board = board_of(as_run(gpu, conditions))
    before = Conditions(runs_before=np.inf if power == "serving" else 0.0)
    allowed = board.held_w if power == "sustained" else allowed_w(slowed, board, before)
    with np.errstate(over="ignore", invalid="ignore"):
        held, ratio = hold(slowed, allowed, board), np.exp(spread)
    # As a graph has it, the board idles at its full clock but for what it saves.
    energy_j = held.dynamic_j + held.time_s * board.idle_w - held.saved_j
    return Prediction(held.time_s, ratio, energy_j, energy_ratio(ratio, gpu), cost.bound_code, factor)


def learned_cost(op: Operator, gpu: Gpu, conditions: Conditions) -> tuple[Cost, FloatArray, FloatArray]:
    """What each row costs at the boost clock, the learned factor on its time, and the half-width of log time.

    Raises:
        SimexploreError: as `predict`.
    """
    lent = lent_to(op, gpu, conditions)
    cost = at_boost(op, gpu, conditions, with_traits=lent is not None and lent.lender is gpu)
    rows, half = len(cost.time_s), half_width(op, gpu, conditions)
    lesson = lesson_of(lent, op, conditions, cost) if lent is not None and rows else None
    if lesson is None:
        return cost, np.ones(rows), np.full(rows, half)
    own = cost.traits is not None
    shift, spread = (lesson.shift, lesson.spread) if own else lesson.passed_on(cost.time_s, half)
    return cost, learned_factor(shift, cost.time_s, op, gpu, conditions), spread


def learned_factor(shift: FloatArray, time_s: FloatArray, op: Operator, gpu: Gpu, conditions: Conditions) -> FloatArray:
    """The factor on time of a learned shift of its logarithm: what was learned breaks no law, the roofline's."""
    with np.errstate(invalid="ignore"):  # rows that nothing can compute
        least = least_seconds(op, gpu, conditions.cache) / time_s
    factor: FloatArray = np.maximum(np.exp(shift), np.minimum(least, 1.0))
    return factor


def lesson_of(lent: Lent, op: Operator, conditions: Conditions, cost: Cost | None = None) -> Lesson | None:
    """What a correction says of rows on the machine that it was learned on; None where that cannot run them.

    `cost` is what they cost there with traits, where it is known.
    """
    gpu = lent.lender
    if cost is None or cost.traits is None:
        try:
            cost = at_boost(op, gpu, conditions, with_traits=True)
        except SimexploreError:
            return None  # kernels that the variant has and the lender has not
    assert cost.traits is not None
    columns = feature_columns(op, gpu, cost.traits)
    shift, spread = corrected(lent.correction, columns, half_width(op, gpu, conditions))
    return Lesson(cost.time_s, shift, np.hypot(spread, ANOTHER_BOARD) if lent.to_kin else spread)


def energy_ratio(time_ratio: FloatArray | float, gpu: Gpu) -> FloatArray:
    """Upper end of the 80 % interval of an energy over it: power and time err independently."""
    ratio: FloatArray = np.exp(np.hypot(np.log(time_ratio), NORMAL_80 * gpu.energy.spread))
    return ratio


def check_told(op: Operator, gpu: Gpu, time_s: FloatArray, energy_j: FloatArray | float = 0.0) -> None:
    """Every row can run, and its time and energy are numbers that a run can have.

    Raises:
        SimexploreError: of the first row of which that is not so.
    """
    told = (time_s <= LONGEST_S) & (energy_j <= MOST_J)
    if np.all(told):
        return
    first = int(np.argmin(told))
    row = f" (row {first})" if len(told) > 1 else ""
    if np.isposinf(time_s[first]):
        raise SimexploreError(f"{no_room(gpu, op.op)}{row}")
    raise SimexploreError(
        f"{op.op}{row} takes more than {LONGEST_S:g} s or {MOST_J:g} J on {gpu.name}: its sizes, or rates and energies "
        "of the machine, are out of all proportion"
    )


def physics(op: Operator, gpu: Gpu, conditions: Conditions) -> Held:
    """`predict` without the learned correction and without intervals."""
    return as_timed(at_boost(op, gpu, conditions), op, gpu, conditions)


def at_boost(op: Operator, gpu: Gpu, conditions: Conditions, *, with_traits: bool = False) -> Cost:
    """What each row costs at the clock that nothing limits, by the physics alone."""
    op, gpu = even(op), as_run(gpu, conditions)
    told = compiled_cost(op, gpu, conditions, with_traits)
    if told is not None:
        return told
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond numbers comes out as no number
        parts = [_cost_of_chunk(part, gpu, state, with_traits) for part, state in _chunks(op, gpu, conditions)]
    return joined(parts or [no_rows(with_traits)])


def as_timed(cost: Cost, op: Operator, gpu: Gpu, conditions: Conditions) -> Held:
    """What becomes of an operator's costs on a board that is as the conditions leave it, at their pace.

    Of calls that are queued none takes less than the host takes to issue one; the board idles for the rest.
    """
    board = board_of(as_run(gpu, conditions))
    with np.errstate(over="ignore", invalid="ignore"):
        held = hold(cost, allowed_w(cost, board, conditions), board)
    # A board at another pace does the same work; what it draws beside that it draws for longer.
    held = replace(held, time_s=conditions.pace * held.time_s, idle_j=conditions.pace * held.idle_j)
    if conditions.launch != "queued":
        return held
    waits_s = np.maximum(queued_call_seconds(op, gpu) - held.time_s, 0.0)
    return replace(held, time_s=held.time_s + waits_s, idle_j=held.idle_j + board.idle_w * waits_s)


def as_run(gpu: Gpu, conditions: Conditions) -> Gpu:
    """The machine at the clock that conditions keep it at.

    The base clock is the one that the vendor guarantees within the power limit, so that does not hold it back.

    Raises:
        SimexploreError: a base clock is asked for, and the machine's file has none.
    """
    if not conditions.base_clocks:
        return gpu
    if gpu.clock.base_hz is None:
        raise SimexploreError(f"rows at base clocks need clock.base, and {gpu.name} has none (--set clock.base=…)")
    clock = gpu.clock.model_copy(update={"boost_hz": gpu.clock.base_hz, "max_hz": None})
    return gpu.model_copy(update={"power": gpu.power.model_copy(update={"tdp_w": NO_LIMIT_W}), "clock": clock})


def kernels_of(op: Operator, gpu: Gpu, conditions: Conditions) -> tuple[Demand, ...]:
    """The kernels of an operator in order, each with its fastest candidate; arrays of shape (rows,).

    Where the library has several algorithms, the kernels are those that take the least time for all rows together.
    """
    ways = [(chosen(way, gpu, conditions), way.serves) for way in algorithms_of(even(op), gpu, conditions)]
    if len(ways) == 1:
        return ways[0][0]
    totals = [
        float(np.sum(_of_kernels(kernels, gpu, conditions).time_s)) if np.all(serves) else np.inf
        for kernels, serves in ways
    ]
    return ways[int(np.argmin(totals))][0]


def _cost_of_chunk(op: Operator, gpu: Gpu, conditions: Conditions, with_traits: bool) -> Cost:
    """The algorithm that is fastest for each row."""
    # An algorithm that serves none of these rows would have arrays of no rows.
    ways = [way for way in algorithms_of(op, gpu, conditions) if np.any(way.serves)]
    return fastest([_cost_of(way, gpu, conditions, with_traits) for way in ways])


def _cost_of(way: Algorithm, gpu: Gpu, conditions: Conditions, with_traits: bool) -> Cost:
    """What an algorithm costs; rows that it does not serve are not tried and take infinitely long."""
    if np.all(way.serves):
        return _of_kernels(chosen(way, gpu, conditions), gpu, conditions, with_traits)
    rows = np.flatnonzero(way.serves)
    some = Algorithm(tuple(demand.of_rows(rows) for demand in way.kernels), ANY_ROW)
    cost = _of_kernels(chosen(some, gpu, conditions), gpu, conditions, with_traits)
    return cost.spread(rows, len(way.serves))


def _of_kernels(kernels: tuple[Demand, ...], gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> Cost:
    return one_after_another([row_costs(demand, gpu, conditions, with_traits) for demand in kernels])


def _chunks(op: Operator, gpu: Gpu, conditions: Conditions) -> Iterator[tuple[Operator, Conditions]]:
    """Slices of the columns of an operator and of its cache state, short enough for `ARRAY_BYTES`."""
    most = min(max(ARRAY_BYTES // (8 * candidates_of(op, gpu)), 1), MOST_ROWS)
    names = [f.name for f in fields(op)]  # type: ignore[arg-type]  # every concrete family is a dataclass
    columns = {name: value for name in names if isinstance(value := getattr(op, name), np.ndarray) and value.ndim == 1}
    rows = max((len(value) for value in columns.values()), default=1)
    for start in range(0, rows, most):
        part = slice(start, start + most)
        changed: dict[str, Any] = {name: value[part] for name, value in columns.items()}
        cache = CacheState(
            weight_copies=_slice(conditions.cache.weight_copies, part),
            activation_copies=_slice(conditions.cache.activation_copies, part),
            earlier_shapes=_slice(conditions.cache.earlier_shapes, part),
        )
        yield replace(op, **changed) if changed else op, replace(conditions, cache=cache)  # type: ignore[type-var]


def _slice(value: float | FloatArray, part: slice) -> float | FloatArray:
    return value[part] if isinstance(value, np.ndarray) and value.ndim == 1 else value
