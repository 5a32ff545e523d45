"""The clock of one kernel that a board runs alone, in plain numbers: `power.steady_w` and `power.clock_within` of it.

A board that runs one kernel again and again may draw no more than its mean power allows. With one kernel that is an
equation in its clock alone, so no search for a limit goes around the search for a clock:

    E(f) + t(f) P_idle(f) + t_wait P_idle = (P_held + P_excess(T)) T        T = t(f) + t_wait

Its left side over T rises with f, as the power of the kernel does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import NamedTuple

from simexplore.sim.hardware.power import CLOSE, HALF, ITERATIONS, LEAST_CLOCK, SHORTEST_S, Board

STEP = 0.6
"""Of the clock that is given up for each e-fold of power too much: power goes with its square at least."""
LARGEST = 0.98
"""What a step down leaves of the clock at most."""


class OneKernel(NamedTuple):
    """A kernel as `power.Draw` has it, and the waits around it; numbers."""

    waits_s: float
    """Launch and set-up, in which no kernel runs [s]."""
    on_clock_s: float
    own_clock_s: float
    exponent: float
    clocked_j: float
    fixed_j: float

    def seconds(self, clock: float) -> float:
        """Time of the kernel at a clock over boost, waits left out [s]."""
        on_clock = self.on_clock_s / clock
        longest = max(on_clock, self.own_clock_s, SHORTEST_S)
        total = (on_clock / longest) ** self.exponent + (self.own_clock_s / longest) ** self.exponent
        return float(longest * total ** (1.0 / self.exponent))

    def times(self, factor: float) -> OneKernel:
        """The same taking `factor` as long at the same power."""
        return OneKernel(
            self.waits_s * factor, self.on_clock_s * factor, self.own_clock_s * factor, self.exponent,
            self.clocked_j * factor, self.fixed_j * factor,
        )  # fmt: skip


Excess = Callable[[float], float]
"""What a budget adds to the mean power of work that takes so long [W]."""


def clock_alone(kernel: OneKernel, board: Board, excess_w: Excess | None) -> float:
    """Clock over boost of a kernel whose board does nothing else.

    Args:
        kernel: what runs.
        board: its regulator, in numbers.
        excess_w: what its energy budget adds; None: the board may never draw more than it can hold for ever.
    """
    if kernel.on_clock_s <= 0.0:
        return 1.0

    def of_kernel(clock: float) -> float:
        seconds = max(kernel.seconds(clock), SHORTEST_S)
        joules = kernel.clocked_j * board.scale(clock) + kernel.fixed_j
        return float(board.idle_at(clock) + joules / seconds)

    def of_whole(clock: float) -> float:
        """Mean power over what may be held, less 1."""
        seconds = kernel.seconds(clock)
        whole_s = max(seconds + kernel.waits_s, SHORTEST_S)
        joules = kernel.clocked_j * board.scale(clock) + kernel.fixed_j
        joules += seconds * board.idle_at(clock) + kernel.waits_s * board.idle_w
        held = board.held_w + (excess_w(whole_s) if excess_w is not None else 0.0)
        return float(joules / whole_s / held - 1.0)

    most = board.most_w if excess_w is not None else board.held_w
    clock = highest(lambda at: of_kernel(at) / most - 1.0, 1.0)
    return clock if excess_w is None or of_whole(clock) <= 0.0 else highest(of_whole, clock)


def highest(over: Callable[[float], float], clock: float) -> float:
    """The highest clock up to `clock` at which what rises with it is not over 0, by false position (Illinois)."""
    above = over(clock)
    if above <= 0.0:
        return clock
    high, low = clock, clock
    below = above
    while below > 0.0:
        if low <= LEAST_CLOCK:
            return LEAST_CLOCK
        high, above = low, below
        low = max(low * min(max(1.0 - STEP * log(1.0 + below), HALF), LARGEST), LEAST_CLOCK)
        below = over(low)
    side = 0
    for _ in range(ITERATIONS):
        middle = low - below * (high - low) / (above - below)
        found = over(middle)
        if abs(found) < CLOSE or high - low < CLOSE * high:
            return middle
        if found <= 0.0:
            low, below, above, side = middle, found, above * (HALF if side < 0 else 1.0), -1
        else:
            high, above, below, side = middle, found, below * (HALF if side > 0 else 1.0), 1
    return low
