"""How work follows the clock of its board, and the clock at which a board stays within its power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from typing import Protocol

CLOSE = 1e-9
"""Relative error of the power at which a clock is found."""
LOWEST = log(1e-4)
"""Logarithm of the clock over boost below which a limit that still does not hold is given up."""
MOST_TRIES = 60
FIRST_TRY = -0.1
"""Logarithm of the clock over boost that is tried first; it is doubled until the power is low enough."""


@dataclass(frozen=True, slots=True)
class Clocked:
    """How a flow follows its board's clock, as a `power.Draw` does, and its dynamic energy a unit of work."""

    board: str
    """Name of the board that its power is of."""
    on_clock_s: float
    own_clock_s: float
    exponent: float
    """Of a flow of any size: only how long it takes at a clock, over how long at boost, follows from these."""
    clocked_j: float = 0.0
    fixed_j: float = 0.0
    """Per unit of work at boost [J]."""

    def slower(self, clock: float) -> float:
        """Time at a clock over that at boost."""
        if clock == 1.0:
            return 1.0
        longest = max(self.on_clock_s / clock, self.own_clock_s)
        if longest <= 0.0:
            return 1.0
        return self._seconds(clock, longest) / self._seconds(1.0, longest)

    def _seconds(self, clock: float, unit_s: float) -> float:
        r = self.exponent
        total: float = (self.on_clock_s / clock / unit_s) ** r + (self.own_clock_s / unit_s) ** r
        return float(total ** (1.0 / r))

    def joules(self, scale: float = 1.0) -> float:
        """Dynamic energy a unit of work, what follows the core's voltage taking `scale` of what boost takes [J]."""
        return scale * self.clocked_j + self.fixed_j


ON_CLOCK = frozenset(("tensor", "fma", "special", "shared", "l2", "ngpc", "ngpc_banks", "ngpc_mlp"))
"""Shared resources that the board's clock drives: at a lower clock the same work takes more of them."""


class BoardClock(Protocol):
    """A board as its flows see it: what it draws with nothing to do, and what it may draw."""

    name: str

    def scale(self, clock: float) -> float:
        """Energy of what follows the core's voltage at a clock over boost, over that at boost."""

    def idle_w(self, clock: float) -> float:
        """Power beside the dynamic one at a clock over boost [W]."""

    def allowed_w(self, asked_w: float, left_s: Callable[[], float], now_fs: int) -> float:
        """Power that it may draw from now on, of work that asks for `asked_w` and lasts `left_s` at boost [W]."""

    def keep(self, power_w: float, clock: float, now_fs: int) -> None:
        """From now on it draws this, at this clock."""


def clock_of(beyond: Callable[[float], float]) -> float:
    """The highest clock over boost at which `beyond`, of its logarithm and rising with it, is not above zero."""
    high, above = 0.0, beyond(0.0)
    if above <= CLOSE:
        return 1.0
    low = FIRST_TRY
    while (below := beyond(low)) > 0.0:
        if low <= LOWEST:
            return exp(LOWEST)
        high, above, low = low, below, max(2.0 * low, LOWEST)
    for _ in range(MOST_TRIES):
        middle = low - below * (high - low) / (above - below)
        found = beyond(middle)
        if abs(found) < CLOSE:
            return exp(middle)
        # An end that stays counts half, so that the other end is moved too (false position, Illinois).
        if found <= 0.0:
            low, below, above = middle, found, 0.5 * above
        else:
            high, above, below = middle, found, 0.5 * below
    return exp(low)
