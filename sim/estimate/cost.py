"""What an operator costs alone: its kernels one after another, by the fastest of the algorithms that serve a row.

A cost is at the boost clock. What a board's power limit makes of it is `hold`: the same kernels, none of them drawing
more than is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, BoolArray, FloatArray
from simexplore.sim.estimate.row_costs import KERNEL, RowCosts
from simexplore.sim.estimate.traits import NAMES, together
from simexplore.sim.hardware.power import (
    CLOCKED,
    COMPONENTS,
    SHORTEST_S,
    Board,
    Draw,
    Repeated,
    added,
    clock_within,
    nothing_more,
    steady_w,
)

_FOLLOWS = np.array([name in CLOCKED for name in COMPONENTS])[:, None]


@dataclass(frozen=True)
class Cost:
    """What the physics alone says at the boost clock; arrays of shape (rows,)."""

    time_s: FloatArray
    """Infinite for rows that nothing can compute."""
    kernels: FloatArray
    """Shape (kernels, len(KERNEL), rows): what the clock and the power follow from."""
    energies_j: FloatArray
    """Shape (len(COMPONENTS), rows): dynamic energy, above idle."""
    bound_code: NDArray[np.int64]
    """Index into `traits.BOUNDS`."""
    busy_s: FloatArray
    """Shape (resources, rows): time for which each of `demand.RESOURCES` of the whole machine is busy."""
    traits: FloatArray | None = None
    """Shape (rows, len(traits.NAMES)), where they were asked for."""

    @property
    def draw(self) -> Draw:
        """How the kernels follow from the clock, each term of shape (kernels, rows)."""
        return Draw(*(self.kernels[:, index] for index in range(1, len(KERNEL))))

    @property
    def waits_s(self) -> FloatArray:
        """Time in which no kernel runs: launches and set-ups [s]."""
        waits: FloatArray = added(self.kernels[:, 0])
        return waits

    def take(self, rows: Any) -> Cost:
        """Some of the rows, without traits."""
        return Cost(
            self.time_s[rows], self.kernels[:, :, rows], self.energies_j[:, rows],
            self.bound_code[rows], self.busy_s[:, rows],
        )  # fmt: skip

    def only_where(self, serves: BoolArray) -> Cost:
        """The same, taking infinitely long in rows that this algorithm does not serve."""
        return replace(self, time_s=np.where(serves, self.time_s, np.inf))

    def times(self, factor: FloatArray | float) -> Cost:
        """The same taking `factor` as long at the same power, without traits."""
        scaled = np.array([1.0 if name == "exponent" else 0.0 for name in KERNEL])[:, None]
        kernels = self.kernels * np.where(scaled, 1.0, factor)
        return Cost(self.time_s * factor, kernels, self.energies_j * factor, self.bound_code, self.busy_s * factor)

    def spread(self, rows: NDArray[np.intp], count: int) -> Cost:
        """These costs as those of some of `count` rows, of which the others take infinitely long."""

        def placed(values: NDArray[Any], elsewhere: float) -> NDArray[Any]:
            """Rows are the last axis."""
            every = np.full((*values.shape[:-1], count), elsewhere, dtype=values.dtype)
            every[..., rows] = values
            return every

        return Cost(
            time_s=placed(self.time_s, np.inf),
            kernels=placed(self.kernels, 1.0),
            energies_j=placed(self.energies_j, 0.0),
            bound_code=placed(self.bound_code, 0.0),
            busy_s=placed(self.busy_s, 0.0),
            traits=None if self.traits is None else placed(self.traits.T, 0.0).T,
        )


@dataclass(frozen=True)
class Held:
    """What a cost becomes where a board's power is limited; arrays of shape (rows,)."""

    time_s: FloatArray
    energies_j: FloatArray
    """Shape (len(COMPONENTS), rows): dynamic energy."""
    idle_j: FloatArray
    """What the board draws beside it over that time."""
    saved_j: FloatArray
    """What the board draws less than when it is idle, while its clock is held back."""
    clock: FloatArray
    """Clock over boost, weighted with time."""

    @property
    def dynamic_j(self) -> FloatArray:
        """Dynamic energy [J]."""
        total: FloatArray = added(self.energies_j)
        return total

    @property
    def energy_j(self) -> FloatArray:
        """All energy [J]."""
        return self.dynamic_j + self.idle_j


def hold(cost: Cost, allowed_w: FloatArray | float, board: Board) -> Held:
    """A cost whose kernels draw no more than `allowed_w` each, of shape (rows,)."""
    draw = cost.draw
    clock = clock_within(draw, allowed_w, board)
    each_s, at_boost_s = draw.seconds(clock), draw.seconds(1.0)
    clocked = added(draw.clocked_j)
    left = added(draw.clocked_j * board.scale(clock))
    run_s = added(each_s)
    saved_j = added(each_s * (board.idle_w - board.idle_at(clock)))
    return Held(
        time_s=cost.time_s + added(each_s - at_boost_s),
        energies_j=clocked_energies(cost.energies_j, np.where(clocked > 0.0, left / np.maximum(clocked, 1e-300), 1.0)),
        idle_j=board.idle_w * (cost.waits_s + run_s) - saved_j,
        saved_j=saved_j,
        clock=added(each_s * clock) / np.where(run_s > 0.0, run_s, 1.0),
    )


def clocked_energies(energies_j: FloatArray, factor: FloatArray) -> FloatArray:
    """Energies by component, those of what follows the core's voltage times `factor`."""
    changed: FloatArray = np.where(_FOLLOWS, factor, 1.0) * energies_j
    return changed


def repeated(costs: Sequence[Cost], counts: Sequence[float]) -> Repeated:
    """Costs, each so often, as the work of a board; with none of them it does nothing."""
    every = [cost.kernels for cost in costs] or [_padded(np.zeros((0, len(KERNEL), 1)), 1)]
    often = [1.0] if not costs else [count for cost, count in zip(costs, counts, strict=True) for _ in cost.kernels]
    waits = sum((count * cost.waits_s for cost, count in zip(costs, counts, strict=True)), start=np.zeros(1))
    kernels = np.concatenate(every)
    draw = Draw(*(kernels[:, index] for index in range(1, len(KERNEL))))
    return Repeated(draw, np.array(often)[:, None], waits)


def allowed_w(cost: Cost, board: Board, conditions: Conditions) -> FloatArray:
    """Power that kernels may draw while they are timed, each row on a board of its own, shape (rows,) [W]."""
    once = np.ones((len(cost.kernels), 1))
    return steady_w(Repeated(cost.draw, once, cost.waits_s), board, excess_of(board, conditions))


def excess_of(board: Board, conditions: Conditions) -> Callable[[FloatArray], FloatArray]:
    """What the board's budget adds to the mean power of runs, by how long one of them takes [W]."""

    def excess_w(whole_s: FloatArray) -> FloatArray:
        charge = np.exp(-conditions.runs_before * whole_s / np.maximum(board.drain_s, SHORTEST_S))
        excess: FloatArray = board.excess_w(conditions.runs * whole_s, charge)
        return excess

    return excess_w if np.isfinite(conditions.runs_before) else nothing_more


def no_rows(with_traits: bool = False) -> Cost:
    """What an empty column of operators costs."""
    nothing = np.zeros(0)
    traits = np.zeros((0, len(NAMES))) if with_traits else None
    shapes = (1, len(KERNEL), 0), (len(COMPONENTS), 0), (len(RESOURCES), 0)
    kernels, energies, busy = (np.zeros(shape) for shape in shapes)
    return Cost(nothing, kernels, energies, nothing.astype(np.int64), busy, traits)


def one_after_another(kernels: Sequence[RowCosts], rows: int | None = None) -> Cost:
    """Kernels that run in turn; what bounds the longest of them bounds all.

    Args:
        kernels: of each row, in order.
        rows: where they are more than the kernels' own, because all rows are alike.
    """
    shape = np.broadcast_shapes((1 if rows is None else rows,), *(kernel.time_s.shape for kernel in kernels))

    def each(name: str) -> list[NDArray[Any]]:
        values = [getattr(kernel, name) for kernel in kernels]
        return [np.broadcast_to(value, (*value.shape[:-1], *shape)) for value in values]

    times, codes = np.stack(each("time_s")), np.stack(each("bound_code"))
    told = [kernel.traits for kernel in kernels if kernel.traits is not None]
    return Cost(
        time_s=np.sum(times, axis=0),
        kernels=np.concatenate(each("kernel")),
        energies_j=np.sum(each("energies_j"), axis=0),
        bound_code=codes[np.argmax(times, axis=0), np.arange(shape[0])],
        busy_s=np.sum(each("busy_s"), axis=0),
        traits=together(told) if told else None,
    )


def joined(parts: Sequence[Cost]) -> Cost:
    """Costs of rows one after another as those of all of them."""
    most = max(len(part.kernels) for part in parts)
    told = [part.traits for part in parts if part.traits is not None]
    return Cost(
        time_s=np.concatenate([part.time_s for part in parts]),
        kernels=np.concatenate([_padded(part.kernels, most) for part in parts], axis=-1),
        energies_j=np.concatenate([part.energies_j for part in parts], axis=-1),
        bound_code=np.concatenate([part.bound_code for part in parts]),
        busy_s=np.concatenate([part.busy_s for part in parts], axis=-1),
        traits=np.concatenate(told) if told else None,
    )


def _padded(kernels: FloatArray, count: int) -> FloatArray:
    """With kernels that do nothing behind them, up to `count`."""
    missing = count - len(kernels)
    if not missing:
        return kernels
    nothing = np.zeros((missing, *kernels.shape[1:]))
    nothing[:, KERNEL.index("exponent")] = 1.0
    return np.concatenate([kernels, nothing])


def fastest(ways: Sequence[Cost]) -> Cost:
    """Of each row the algorithm that takes least time."""
    if len(ways) == 1:
        return ways[0]
    first = np.argmin(np.stack(np.broadcast_arrays(*(way.time_s for way in ways))), axis=0)
    rows, most = np.arange(len(first)), max(len(way.kernels) for way in ways)

    def of_fastest(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Rows are the first axis of each."""
        chosen: NDArray[Any] = np.stack(np.broadcast_arrays(*arrays))[first, rows]
        return chosen

    told = [way.traits for way in ways if way.traits is not None]
    kernels = of_fastest([np.moveaxis(_padded(way.kernels, most), -1, 0) for way in ways])
    return Cost(
        time_s=of_fastest([way.time_s for way in ways]),
        kernels=np.moveaxis(kernels, 0, -1),
        energies_j=of_fastest([way.energies_j.T for way in ways]).T,
        bound_code=of_fastest([way.bound_code for way in ways]),
        busy_s=of_fastest([way.busy_s.T for way in ways]).T,
        traits=of_fastest(told) if told else None,
    )
