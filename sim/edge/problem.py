"""Which experts to keep ready: what a subset tells, what it costs, and within which budgets.

All three only grow when an expert is added. That is what makes it a problem of discrete monotonic optimisation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.sim.edge.gating import Gate, information, share_right

ROUNDING = 1e-9
"""By which share a budget may be exceeded: sums in another order differ by less."""


@dataclass(frozen=True, eq=False)
class Costs:
    """What experts cost: arrays of (categories, experts) but for `standing_j`."""

    standing_j: FloatArray
    """Energy of keeping an expert ready, from one request to the next [J], (experts,)."""
    request_j: FloatArray
    """Energy of a request [J]."""
    service_s: FloatArray
    """Time of a request on the expert's server, and the latency of its link [s]."""
    transfer_s: FloatArray
    """Time for which the user's own link sends the prompt and takes in the answer [s]."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The choice of a subset of experts.

    The budgets hold whichever of the selected experts a request asks: they count the dearest and the slowest ones.
    """

    gate: Gate
    shares: FloatArray
    """Shares of requests by category, (categories,); they add up to 1."""
    costs: Costs
    energy_j: float
    """Energy for a request on average [J]."""
    delay_s: FloatArray
    """Delay of a request of each category [s], (categories,)."""

    @property
    def experts(self) -> int:
        """How many there are to select from."""
        return int(self.gate.accuracy.shape[1])

    def within(self, energy_j: float, delay_s: FloatArray) -> Problem:
        """The same with other budgets."""
        return replace(self, energy_j=energy_j, delay_s=delay_s)

    def value(self, chosen: BoolArray) -> FloatArray:
        """What the answers tell on average, by subset [nat]; `chosen` is (subsets, experts) here and below."""
        told: FloatArray = information(self.gate.best(chosen), self.gate.choices) @ self.shares
        return told

    def accuracy(self, chosen: BoolArray) -> FloatArray:
        """Share of requests with the right answer, by subset."""
        right: FloatArray = share_right(self.gate.best(chosen), self.gate.choices) @ self.shares
        return right

    def energies_j(self, chosen: BoolArray) -> FloatArray:
        """Energy for a request if it asks the dearest experts, by subset [J]."""
        request: FloatArray = self._largest(self.costs.request_j, chosen).sum(axis=-1) @ self.shares
        energies_j: FloatArray = request + chosen @ self.costs.standing_j
        return energies_j

    def delays_s(self, chosen: BoolArray) -> FloatArray:
        """Delay if a request asks the slowest experts, (subsets, categories) [s].

        Experts work side by side; the user's link serves one after another.
        """
        slowest = self._largest(self.costs.service_s, chosen)[..., -1]
        delays_s: FloatArray = slowest + self._largest(self.costs.transfer_s, chosen).sum(axis=-1)
        return delays_s

    def feasible(self, chosen: BoolArray) -> BoolArray:
        """Which subsets stay within all budgets, (subsets,)."""
        energy = self.energies_j(chosen) <= self.energy_j * (1.0 + ROUNDING)
        on_time: BoolArray = energy & np.all(self.delays_s(chosen) <= self.delay_s * (1.0 + ROUNDING), axis=-1)
        return on_time

    def expected(self, chosen: BoolArray) -> tuple[float, FloatArray]:
        """Energy [J] and delay by category [s] of one subset, with the experts that the gate really asks."""
        asks = self.gate.asks(chosen)
        request = float((self.costs.request_j * asks).sum(axis=-1) @ self.shares)
        delay = (self.costs.service_s * asks).max(axis=-1) + (self.costs.transfer_s * asks).sum(axis=-1)
        return request + float(chosen @ self.costs.standing_j), delay

    def gains(self, chosen: BoolArray) -> FloatArray:
        """What each expert would add to one subset, (experts,) [nat]."""
        gains: FloatArray = self.value(with_each(chosen)) - self.value(chosen[None])[0]
        return gains

    @cached_property
    def alone_j(self) -> FloatArray:
        """Energy for a request with each expert alone, (experts,) [J]."""
        return self.energies_j(np.eye(self.experts, dtype=bool))

    def _largest(self, figures: FloatArray, chosen: BoolArray) -> FloatArray:
        """The largest figures of a subset, as many as a request asks: (subsets, categories, asked), ascending."""
        some = np.where(chosen[:, None, :], figures[None], 0.0)
        asked = min(self.gate.asked, some.shape[-1])
        return np.sort(np.partition(some, -asked, axis=-1)[..., -asked:], axis=-1)


def with_each(chosen: BoolArray) -> BoolArray:
    """A subset with each expert added in turn, (experts, experts)."""
    return chosen[None] | np.eye(len(chosen), dtype=bool)
