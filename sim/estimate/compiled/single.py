"""The closed form of one operator on one GPU, where its physics is compiled: `graphs.estimate_graph` of a single node.

What does not depend on the operator's sizes is worked out once for its kind: the correction, the board, the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, expm1
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.compiled.build import available
from simexplore.sim.estimate.compiled.one_kernel import Excess, OneKernel, clock_alone
from simexplore.sim.estimate.compiled.rows import ALONE, AT, MEMORY, WORTH, Programs
from simexplore.sim.estimate.compiled.steps import COST, ENERGIES
from simexplore.sim.estimate.compiled.walk import summed
from simexplore.sim.estimate.correction import LENGTH, WIDER_PER_OCTAVE, half_width
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.estimate.intervals.kinds import KIND
from simexplore.sim.estimate.learned.passed_on import ANOTHER_BOARD, Lent, Lesson, lent_to
from simexplore.sim.estimate.op_run import OpRun
from simexplore.sim.estimate.operators import LONGEST_S, MOST_J
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.hardware.idle import idle_w
from simexplore.sim.hardware.power import CLOCKED, COMPONENTS, SHORTEST_S, Board, board_of
from simexplore.workloads.ops import Operator

State = Literal["serving", "sustained", "burst"]
_TERMS = slice(AT["latency_s"], AT["latency_s"] + len(OneKernel._fields))
_ENERGIES = slice(AT[ENERGIES[0]], AT[ENERGIES[0]] + len(COMPONENTS))
_FOLLOWS = tuple(name in CLOCKED for name in COMPONENTS)


@dataclass
class _Known:
    """What all operators of a kind on a machine have in common."""

    own: Programs
    lent: Lent | None
    lender: Programs | None
    """Of the machine that lends a correction, where that is another."""
    far: float
    """Half-width of log time of the physics alone."""
    board: Board

    @classmethod
    def of(cls, programs: Programs) -> _Known:
        op, gpu, conditions = programs.op, programs.gpu, programs.conditions
        lent = lent_to(op, gpu, conditions)
        lender = MEMORY.of(op, lent.lender, conditions) if lent is not None and lent.lender is not gpu else None
        board = Board(*(float(value) for value in board_of(gpu)))
        return cls(programs, lent, lender, half_width(op, gpu, conditions), board)

    @cached_property
    def reader(self) -> _Reader | None:
        """Of the correction, once there is a program that tells of its features."""
        return None if self.lent is None else _Reader.of(self.lent.correction, (self.lender or self.own).features)


@dataclass
class _Reader:
    """Where a correction finds its features in what is told of a row."""

    correction: Correction
    features: NDArray[np.intp]
    coordinates: NDArray[np.intp]
    directions: FloatArray
    length: int
    axes: tuple[tuple[int, frozenset[float], float, float], ...]
    """Of each axis of kinds: where it is told, the kinds that were seen, the share kept of others, their width."""

    @classmethod
    def of(cls, correction: Correction, names: tuple[str, ...]) -> _Reader | None:
        at = {name: len(COST) + place for place, name in enumerate(names)}
        if any(name not in at for name in (*correction.features, *correction.coordinates)):
            return None  # which is told where it is computed by numpy
        kinds = correction.kinds
        axes = [
            (at[KIND + name], frozenset(kinds.value[kinds.axis == i].tolist()), kinds.keep[i], kinds.half_width[i])
            for i, name in enumerate(kinds.names)
            if KIND + name in at
        ]
        where = [np.array([at[name] for name in some], dtype=np.intp) for some in
                 (correction.features, correction.coordinates)]  # fmt: skip
        directions = correction.hull.directions.astype(np.float64)
        return cls(correction, where[0], where[1], directions, at[LENGTH], tuple(axes))

    def read(self, row: FloatArray, far: float) -> tuple[float, float]:
        """`correction.corrected` of one row."""
        correction, hull = self.correction, self.correction.hull
        x = row[self.features].astype(np.float32)[None]
        along = self.directions @ row[self.coordinates].astype(np.float32).astype(np.float64)
        distance = max(float((along - hull.high).max(initial=0.0)), float((hull.low - along).max(initial=0.0)))
        keep, least = 1.0, 0.0
        for place, seen, kept, width in self.axes:
            if row[place] not in seen:
                keep, least = min(keep, kept), max(least, width)
        near = exp(-0.5 * distance**2)
        local = exp(float(summed(correction.spread, x)[0])) * self._scale(float(row[self.length]))
        wide = 1.0 + WIDER_PER_OCTAVE * distance
        width = max(near * local + (1.0 - near) * max(far, local) * wide, least * wide)
        return near * keep * float(summed(correction.shift, x)[0]), width

    def _scale(self, length: float) -> float:
        widths = self.correction.half_width
        return float(widths[0]) if len(widths) == 1 else float(np.interp(length, self.correction.knots, widths))


def estimate_alone(op: Operator, gpu: Gpu, conditions: Conditions, power: State) -> Estimate | None:
    """`estimate_graph` of one operator; None where it is not compiled, or not yet."""
    programs = MEMORY.of(op, gpu, conditions)
    if programs is None or programs.refused or programs.copies:
        return None
    programs.asked += ALONE
    if programs.asked < WORTH or not available() or conditions.pace != 1.0:
        return None
    known = programs.more
    if not isinstance(known, _Known):
        known = programs.more = _Known.of(programs)
    counts = [getattr(op, name) for name in programs.names]
    told = programs.tell_one(counts)
    learned = None if told is None else _learned(known, counts, told)
    if told is None or learned is None:
        return None
    return _estimate(op, known, told, *learned, power)


def _learned(known: _Known, counts: Sequence[int], row: FloatArray) -> tuple[float, float] | None:
    """Factor on the time, and half-width of log time; None where numpy has to say."""
    time_s = float(row[AT["time"]])
    if not row[AT["runs"]] or not time_s <= LONGEST_S or not sum(row[_ENERGIES].tolist()) <= MOST_J:
        return None  # which is a mistake of the user's, told where numpy finds it
    if known.lent is None:
        return 1.0, known.far
    its, theirs = row, known.far
    if known.lender is not None:
        told = known.lender.tell_one(counts)
        if told is None or not told[AT["runs"]]:
            return None
        its, theirs = told, half_width(known.own.op, known.lent.lender, known.own.conditions)
    if known.reader is None:
        return None
    shift, spread = known.reader.read(its, theirs)
    if known.lent.to_kin:
        spread = float(np.hypot(spread, ANOTHER_BOARD))
    if known.lender is not None:
        lesson = Lesson(its[AT["time"] : AT["time"] + 1], np.array([shift]), np.array([spread]))
        shifts, spreads = lesson.passed_on(np.array([time_s]), known.far)
        shift, spread = float(shifts[0]), float(spreads[0])
    return max(exp(shift), min(float(row[AT["least"]]), 1.0)), spread


def _estimate(op: Operator, known: _Known, row: FloatArray, factor: float, spread: float, power: State) -> Estimate:
    board, gpu = known.board, known.own.gpu
    kernel = OneKernel(*row[_TERMS].tolist()).times(factor)
    time_s = factor * float(row[AT["time"]])
    energies = [factor * joules for joules in row[_ENERGIES].tolist()]
    clock = clock_alone(kernel, board, {"serving": _nothing, "burst": _burst(board), "sustained": None}[power])
    each_s = kernel.seconds(clock)
    length_s = time_s + each_s - kernel.seconds(1.0)
    saved_j = each_s * (board.idle_w - board.idle_at(clock))
    running = 1.0 - kernel.waits_s / length_s if length_s > 0.0 else 0.0
    less = board.scale(clock)
    spends = {
        name: joules * (less if follows else 1.0)
        for name, joules, follows in zip(COMPONENTS, energies, _FOLLOWS, strict=True)
        if joules
    }
    run = OpRun(
        op.op, op.describe(), 0.0, length_s, BOUNDS[int(row[AT["bound"]])], spends, op.op,
        exp(spread), gpu.energy.spread, 1.0 - running * (1.0 - clock),
    )  # fmt: skip
    return Estimate(length_s, {**spends, "idle": length_s * idle_w(gpu) - saved_j}, (run,))


def _nothing(_whole_s: float) -> float:
    return 0.0


def _burst(board: Board) -> Excess:
    def excess_w(whole_s: float) -> float:
        periods = max(whole_s, SHORTEST_S) / max(board.drain_s, SHORTEST_S)
        return float(board.headroom_w * -expm1(-periods) / periods)

    return excess_w
