"""What an operator costs alone: its kernels one after another, by the fastest of the algorithms that serve a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.demand import RESOURCES, BoolArray, FloatArray
from simexplore.sim.estimate.row_costs import RowCosts
from simexplore.sim.estimate.traits import NAMES, together


@dataclass(frozen=True)
class Cost:
    """What the physics alone says; arrays of shape (rows,)."""

    time_s: FloatArray
    """Infinite for rows that nothing can compute."""
    energy_j: FloatArray
    """Dynamic energy, above idle."""
    bound_code: NDArray[np.int64]
    """Index into `traits.BOUNDS`."""
    busy_s: FloatArray
    """Shape (resources, rows): time for which each of `demand.RESOURCES` of the whole machine is busy."""
    traits: FloatArray | None = None
    """Shape (rows, len(traits.NAMES)), where they were asked for."""

    def take(self, rows: Any) -> Cost:
        """Some of the rows, without traits."""
        return Cost(self.time_s[rows], self.energy_j[rows], self.bound_code[rows], self.busy_s[:, rows])

    def only_where(self, serves: BoolArray) -> Cost:
        """The same, taking infinitely long in rows that this algorithm does not serve."""
        return replace(self, time_s=np.where(serves, self.time_s, np.inf))

    def spread(self, rows: NDArray[np.intp], count: int) -> Cost:
        """These costs as those of some of `count` rows, of which the others take infinitely long."""

        def placed(values: NDArray[Any], elsewhere: float) -> NDArray[Any]:
            """Rows are the first axis."""
            every = np.full((count, *values.shape[1:]), elsewhere, dtype=values.dtype)
            every[rows] = values
            return every

        return Cost(
            time_s=placed(self.time_s, np.inf),
            energy_j=placed(self.energy_j, 0.0),
            bound_code=placed(self.bound_code, 0.0),
            busy_s=placed(self.busy_s.T, 0.0).T,
            traits=None if self.traits is None else placed(self.traits, 0.0),
        )


def no_rows(with_traits: bool = False) -> Cost:
    """What an empty column of operators costs."""
    nothing = np.zeros(0)
    traits = np.zeros((0, len(NAMES))) if with_traits else None
    return Cost(nothing, nothing, nothing.astype(np.int64), np.zeros((len(RESOURCES), 0)), traits)


def one_after_another(kernels: Sequence[RowCosts], rows: int | None = None) -> Cost:
    """Kernels that run in turn; what bounds the longest of them bounds all.

    Args:
        kernels: of each row, in order.
        rows: where they are more than the kernels' own, because all rows are alike.
    """
    shape = np.broadcast_shapes((1 if rows is None else rows,), *(kernel.time_s.shape for kernel in kernels))
    times = np.stack([np.broadcast_to(kernel.time_s, shape) for kernel in kernels])
    codes = np.stack([np.broadcast_to(kernel.bound_code, shape) for kernel in kernels])
    told = [kernel.traits for kernel in kernels if kernel.traits is not None]
    return Cost(
        time_s=np.sum(times, axis=0),
        energy_j=np.sum([np.broadcast_to(kernel.energy_j, shape) for kernel in kernels], axis=0),
        bound_code=codes[np.argmax(times, axis=0), np.arange(shape[0])],
        busy_s=np.sum([np.broadcast_to(kernel.busy_s, (len(kernel.busy_s), *shape)) for kernel in kernels], axis=0),
        traits=together(told) if told else None,
    )


def fastest(ways: Sequence[Cost]) -> Cost:
    """Of each row the algorithm that takes least time."""
    if len(ways) == 1:
        return ways[0]
    first = np.argmin(np.stack(np.broadcast_arrays(*(way.time_s for way in ways))), axis=0)
    rows = np.arange(len(first))

    def of_fastest(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        chosen: NDArray[Any] = np.stack(np.broadcast_arrays(*arrays))[first, rows]
        return chosen

    told = [way.traits for way in ways if way.traits is not None]
    return Cost(
        time_s=of_fastest([way.time_s for way in ways]),
        energy_j=of_fastest([way.energy_j for way in ways]),
        bound_code=of_fastest([way.bound_code for way in ways]),
        busy_s=of_fastest([way.busy_s.T for way in ways]).T,
        traits=of_fastest(told) if told else None,
    )
