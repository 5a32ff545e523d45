"""Work that is done once a period, the board idle for the rest of it: race to idle.

A period of length T begins with the work, of time t and energy E, or is skipped, with share s of all. The board draws
`power.idle` whenever it does not work, so a period takes in the mean

    E_period = (1 - s) (E - P_idle t) + P_idle T

A pause fills the energy budget of the regulator (`sim.hardware.power`) by what the board draws less than it may hold
for ever. What is in it when work begins is what the same work and its pause leave there:

    Q_0 = min(C, Q_end(Q_0) + (P_held - P_idle) (T / (1 - s) - t))

where skipped periods are spread evenly, T / (1 - s) from one piece of work to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.sim.demand import FloatArray
from simexplore.sim.hardware.power import Board, Repeated, clock_within, steady_w

HALVINGS = 30
"""Of the range in which the charge lies: to a billionth of a full budget."""


@dataclass(frozen=True)
class Period:
    """How often work is done.

    Raises:
        SimexploreError: a period that is no time, or a share outside 0 to 1.
    """

    period_s: float
    """From the beginning of one period to that of the next [s]."""
    skip: float = 0.0
    """Share of periods in which the work is not done (0 to below 1)."""

    def __post_init__(self) -> None:
        if not 0.0 < self.period_s < float("inf"):
            raise SimexploreError(f"expected a period above zero seconds, found {self.period_s:g} s")
        if not 0.0 <= self.skip < 1.0:
            raise SimexploreError(f"expected a share of skipped periods from 0 to below 1, found {self.skip:g}")

    @property
    def between_s(self) -> float:
        """From the beginning of one piece of work to that of the next, in the mean [s]."""
        return self.period_s / (1.0 - self.skip)

    def check(self, work_s: float) -> None:
        """Raise a SimexploreError where work of this time [s] does not fit into a period."""
        if work_s > self.period_s:
            raise SimexploreError(
                f"expected work that fits into its period of {self.period_s:.4g} s, found {work_s:.4g} s of work: "
                "make the period longer, the machine faster or the work less"
            )

    def energy_j(self, work_s: float, work_j: float, idle_w: float) -> float:
        """Mean energy of a period [J].

        Args:
            work_s: time of the work [s].
            work_j: its energy, idle included [J].
            idle_w: power in pauses [W].
        """
        return (1.0 - self.skip) * (work_j - idle_w * work_s) + idle_w * self.period_s


def steady_charge(work: Repeated, board: Board, between_s: float) -> float:
    """What is in the energy budget when work begins that has long been done every `between_s`, in shares of a full one.

    Args:
        work: one row.
        board: in numbers.
        between_s: from the beginning of one piece of work to that of the next [s]; a shorter time than the work takes
            counts as no pause.
    """

    def gained(charge: float) -> float:
        return _after_pause(work, board, between_s, charge) - charge

    if gained(1.0) >= 0.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if gained(middle) >= 0.0 else (low, middle)
    return low


def _after_pause(work: Repeated, board: Board, between_s: float, charge: float) -> float:
    """The charge when the next piece of work begins, where this one begins with `charge`."""
    full_j = float(board.budget_j)
    if full_j <= 0.0:
        return 1.0

    def excess_w(whole_s: FloatArray) -> Any:
        return board.excess_w(whole_s, charge)

    clock = clock_within(work.draw, steady_w(work, board, excess_w), board)
    whole_s, mean_w = (float(np.squeeze(told)) for told in work.whole(clock, board))
    left_j = min(max(charge * full_j + (float(board.held_w) - mean_w) * whole_s, 0.0), full_j)
    pause_s = max(between_s - whole_s, 0.0)
    return min(left_j + float(board.held_w - board.idle_w) * pause_s, full_j) / full_j
