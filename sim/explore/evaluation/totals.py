"""What workloads cost in all at each point, and the columns that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.cost import Cost, hold, repeated
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.evaluation.work import Variant
from simexplore.sim.explore.spec.problem import UNITS
from simexplore.sim.explore.table import FloatArray, Index
from simexplore.sim.hardware.power import Board, added, steady_w

_ON_CLOCK = np.array([name != "dram" for name in RESOURCES])[:, None]


@dataclass
class Totals:
    """What a workload, or all of them by weight, costs at each point; arrays (points,)."""

    time_s: FloatArray
    energy_j: FloatArray
    bound_s: FloatArray
    """Shape (bounds, points): time spent in operators that this bounds."""
    busy_s: FloatArray
    """Shape (resources, points)."""
    peak_bytes: FloatArray
    tokens: FloatArray
    spread_s: dict[str, FloatArray]
    """By operator family, how far the time may lie below and above; shape (2, points)."""

    @classmethod
    def empty(cls, points: int) -> Totals:
        """Totals of no point: what is there before the first is evaluated."""
        time, energy, peak, tokens = (np.zeros(points) for _ in range(4))
        return cls(time, energy, np.zeros((len(BOUNDS), points)), np.zeros((len(RESOURCES), points)), peak, tokens, {})

    def add(self, other: Totals, weight: float) -> None:
        """Add another workload's; the largest peak counts."""
        self.time_s += weight * other.time_s
        self.energy_j += weight * other.energy_j
        self.bound_s += weight * other.bound_s
        self.busy_s += weight * other.busy_s
        self.tokens += weight * other.tokens
        self.peak_bytes = np.maximum(self.peak_bytes, other.peak_bytes)
        for family, spread in other.spread_s.items():
            self.spread_s[family] = self.spread_s.get(family, 0.0) + weight * spread

    @property
    def interval_s(self) -> tuple[FloatArray, FloatArray]:
        """Ends of the 80 % interval of the time, as of `result.time_interval`: families err independently."""
        squares = sum((spread**2 for spread in self.spread_s.values()), np.zeros((2, len(self.time_s))))
        down, up = np.sqrt(squares)
        return self.time_s - down, self.time_s + up


class Chain(NamedTuple):
    """What a variant costs at each point."""

    time_s: FloatArray
    energy_j: FloatArray
    bound_s: FloatArray
    """Shape (bounds, points)."""
    busy_s: FloatArray
    """Shape (resources, points)."""
    times_s: FloatArray
    """Of each work, shape (works, points)."""


def chain_totals(variant: Variant, found: Cost, rows: Index, board: Board) -> Chain:
    """What a variant's operators cost on boards that have long been doing this; `rows` has shape (works, points)."""
    costs = [found.take(row) for row in rows]
    allowed = steady_w(repeated(costs, variant.counts), board)
    held = [hold(cost, allowed, board) for cost in costs]
    points = rows.shape[1]
    idle_j, dynamic_j = np.zeros(points), np.zeros(points)
    bound, busy = np.zeros((len(BOUNDS), points)), np.zeros((len(RESOURCES), points))
    for count, cost, told in zip(variant.counts, costs, held, strict=True):
        dynamic_j += count * told.dynamic_j
        idle_j -= count * told.saved_j
        bound[cost.bound_code, np.arange(points)] += count * told.time_s
        busy += count * cost.busy_s / np.where(_ON_CLOCK, told.clock, 1.0)
    times = np.stack([told.time_s for told in held])
    chain = added(np.array(variant.counts)[:, None] * times)
    whole = chain if variant.graph is None else _longest_chain(variant, times)
    return Chain(whole, dynamic_j + idle_j + board.idle_w * whole, bound, busy, times)


def spreads(variant: Variant, ratios: FloatArray, times_s: FloatArray, time_s: FloatArray) -> dict[str, FloatArray]:
    """How far a variant's time may lie below and above by operator family; errors of one family add up.

    `ratios`, the upper ends of intervals over times, and `times_s` have shape (works, points). Where operators overlap,
    the whole is as uncertain as their sum.
    """
    sums: dict[str, FloatArray] = {}
    total = np.zeros(times_s.shape[1])
    for (op, _), count, ratio, each_s in zip(variant.works, variant.counts, ratios, times_s, strict=True):
        seconds = count * each_s
        total += seconds
        ends = np.stack([seconds * (1.0 - 1.0 / ratio), seconds * (ratio - 1.0)])
        sums[op.op] = sums.get(op.op, 0.0) + ends
    with np.errstate(invalid="ignore", divide="ignore"):
        return {family: ends * np.where(total > 0.0, time_s / total, 0.0) for family, ends in sums.items()}


def tabulate(table: dict[str, FloatArray], prefix: str, totals: Totals) -> None:
    """Metrics of a workload under their names."""
    with np.errstate(invalid="ignore", divide="ignore"):
        power = totals.energy_j / totals.time_s
        metrics = [totals.time_s, totals.energy_j, power, totals.peak_bytes, totals.tokens / totals.time_s]
        for name, values in zip(UNITS, metrics, strict=True):
            table[prefix + name] = values
        for index, name in enumerate(RESOURCES):
            # Sums of many rounded parts may pass a full resource's 1 by some 1e-16.
            table[f"{prefix}utilization.{name}"] = np.minimum(totals.busy_s[index] / totals.time_s, 1.0)
    table[f"{prefix}time_low_s"], table[f"{prefix}time_high_s"] = totals.interval_s
    table[f"{prefix}bound"] = np.argmax(totals.bound_s, axis=0).astype(np.float64)


def _longest_chain(variant: Variant, times: FloatArray) -> FloatArray:
    """Length of a graph's critical path at each point [s]; `times` has shape (works, points)."""
    assert variant.graph is not None
    ends: dict[str, FloatArray] = {}
    zero = np.zeros(times.shape[1])
    for node, work in zip(variant.graph.nodes, variant.order, strict=True):
        start = zero
        for name in node.after:
            start = np.maximum(start, ends[name])
        ends[node.name] = start + times[work]
    longest = zero
    for end in ends.values():
        longest = np.maximum(longest, end)
    return longest
