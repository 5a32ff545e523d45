"""What steps cost by the closed form, columns of them at once.

A step is a chain of operators, and its board has long been doing such steps: as `estimate_graph` of its graph, without
the graph. What grows with different sizes is told apart, so that a table can remember each alone (`table`); the power
limit couples them, since what hungry kernels draw beyond it is what lean ones leave. So each is told at some levels of
the power that a kernel may draw, and a step settles at the largest at which its mean is held (`power.steady_w`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, SERVING, Conditions
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.cost import Cost, hold, repeated
from simexplore.sim.estimate.operators import check_told, learned_cost
from simexplore.sim.hardware.power import Board, board_of, steady_w
from simexplore.workloads.families.decoder.options import Sizes, StepOptions
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.families.decoder.step import Part, Share, parts_of

LEVELS = 3
"""Levels of power at which parts of steps are told, `held_w` and `most_w` among them."""


@dataclass(frozen=True)
class Model:
    """A language model on one of the GPUs that share it."""

    decoder: Decoder
    options: StepOptions
    gpu: Gpu

    @property
    def board(self) -> Board:
        """The regulator of each GPU's board."""
        return board_of(self.gpu)

    @property
    def levels_w(self) -> FloatArray:
        """The levels of power, rising [W]."""
        board = self.board
        return np.linspace(board.held_w, board.most_w, LEVELS)

    def parts(self, sizes: Sizes) -> tuple[Part, ...]:
        """The operators of steps.

        Raises:
            SimexploreError: the model does not divide evenly among the GPUs.
        """
        return parts_of(self.decoder, self.decoder.name, self.options, sizes)


def levels_of(model: Model, sizes: Sizes, share: Share) -> FloatArray:
    """Time [s] and energy of a GPU [J] of a share of steps, shape (rows, 2 LEVELS): times by level, then energies.

    Raises:
        SimexploreError: the GPU cannot run an operator, or the model does not divide evenly.
    """
    told = _costs([part for part in model.parts(sizes) if part.share == share], model.gpu)
    columns = []
    for allowed_w in model.levels_w:
        held = [(count, hold(cost, allowed_w, model.board)) for count, cost in told]
        columns.append(_sum(count * each.time_s for count, each in held))
        columns.append(_sum(count * each.energy_j for count, each in held))
    order = [*range(0, 2 * LEVELS, 2), *range(1, 2 * LEVELS, 2)]
    return np.stack(np.broadcast_arrays(*(columns[index] for index in order)), axis=-1)


def exact_steps(model: Model, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Time [s] and energy of a GPU [J] of each step of columns, shape (rows,): what the table remembers parts of.

    Raises:
        SimexploreError: as `levels_of`.
    """
    told = _costs(model.parts(sizes), model.gpu)
    counts, costs = [float(count) for count, _ in told], _even([cost for _, cost in told])
    allowed_w = steady_w(repeated(costs, counts), model.board)
    held = [hold(cost, allowed_w, model.board) for cost in costs]
    time_s = _sum(count * each.time_s for count, each in zip(counts, held, strict=True))
    return time_s, _sum(count * each.energy_j for count, each in zip(counts, held, strict=True))


def _costs(parts: Iterable[Part], gpu: Gpu) -> list[tuple[int, Cost]]:
    """Each different operator once, with how often it comes: layers have the same, and so have the parts of one."""
    different: dict[object, tuple[int, Part]] = {}
    for part in parts:
        count, _ = different.get(key := _alike(part), (0, part))
        different[key] = (count + part.count, part)
    return [(count, _cost(part, gpu)) for count, part in different.values()]


def _alike(part: Part) -> object:
    """What parts that cost the same have in common; columns by their numbers."""
    values = (getattr(part.op, each.name) for each in fields(part.op))  # type: ignore[arg-type]  # families are dataclasses
    plain = tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in values)
    return type(part.op), plain, part.reads, part.module


def _cost(part: Part, gpu: Gpu) -> Cost:
    """What an operator costs at the boost clock, with what was learned."""
    conditions = Conditions(cache=SERVING if part.reads else COLD, attention_module=part.module)
    cost, factor, _ = learned_cost(part.op, gpu, conditions)
    check_told(part.op, gpu, cost.time_s)
    return cost.times(factor)


def _even(costs: list[Cost]) -> list[Cost]:
    """Costs of as many rows each: an operator of no columns has one."""
    rows = max(len(cost.time_s) for cost in costs)
    return [cost if len(cost.time_s) == rows else cost.take(np.zeros(rows, dtype=np.intp)) for cost in costs]


def _sum(terms: Iterable[FloatArray]) -> FloatArray:
    total: FloatArray = sum(terms, start=np.zeros(1))
    return total


def settled(levels: tuple[float, ...], held_w: float) -> tuple[float, float]:
    """Time [s] and energy [J] of a step of which both are known by level of power, `levels_of`'s sum over its shares.

    The step settles at the highest level at which its mean power is held; between two levels, where the mean is.
    """
    time_s, energy_j = levels[LEVELS - 1], levels[2 * LEVELS - 1]
    if energy_j <= held_w * time_s:
        return time_s, energy_j
    for level in range(LEVELS - 2, -1, -1):
        low_s, low_j = levels[level], levels[LEVELS + level]
        under, over = held_w * low_s - low_j, energy_j - held_w * time_s
        if under >= 0.0:
            share = under / (under + over) if over > 0.0 else 1.0
            return low_s + share * (time_s - low_s), low_j + share * (energy_j - low_j)
        time_s, energy_j = low_s, low_j
    return time_s, energy_j
