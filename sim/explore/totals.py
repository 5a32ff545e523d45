"""What workloads cost in all at each point, and the columns that say so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate import BOUNDS
from simexplore.sim.explore.problem import UNITS
from simexplore.sim.explore.rows import Costs
from simexplore.sim.explore.table import FloatArray, Index
from simexplore.sim.explore.work import Variant


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

    @classmethod
    def empty(cls, points: int) -> Totals:
        """Nothing yet."""
        zeros = [np.zeros(points) for _ in range(4)]
        return cls(zeros[0], zeros[1], np.zeros((len(BOUNDS), points)), np.zeros((len(RESOURCES), points)), *zeros[2:])

    def add(self, other: Totals, weight: float) -> None:
        """Add another workload's; the largest peak counts."""
        self.time_s += weight * other.time_s
        self.energy_j += weight * other.energy_j
        self.bound_s += weight * other.bound_s
        self.busy_s += weight * other.busy_s
        self.tokens += weight * other.tokens
        self.peak_bytes = np.maximum(self.peak_bytes, other.peak_bytes)


def chain_totals(variant: Variant, found: Costs, rows: Index) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Time, dynamic energy, time by bound and busy time of a variant's operators; `rows` has shape (works, points)."""
    points = rows.shape[1]
    time, dynamic = np.zeros(points), np.zeros(points)
    bound, busy = np.zeros((len(BOUNDS), points)), np.zeros((len(RESOURCES), points))
    for count, row in zip(variant.counts, rows, strict=True):
        seconds = count * found.time_s[row]
        time += seconds
        dynamic += count * found.dynamic_j[row]
        bound[found.bound_code[row], np.arange(points)] += seconds
        busy += count * found.busy_s[:, row]
    if variant.graph is not None:
        time = _longest_chain(variant, found.time_s[rows])
    return time, dynamic, bound, busy


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
