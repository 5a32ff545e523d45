"""A board in a run: the energy budget of its regulator, and the clock that follows from what it may draw."""

from __future__ import annotations

from collections.abc import Callable
from math import expm1

from simexplore.sim.hardware.power import Board
from simexplore.sim.play.engine import Alarm, Clock, seconds, to_fs

STEPS = 4.0
"""Steps in a time constant of the budget, within each of which the power that it allows is constant."""
SPENT = 1e-3
"""Share of a full budget below which it counts as spent: nothing is looked at again until it fills."""
SHORTEST_STEPS = 256.0
"""Most steps in a time constant, so that a board whose power hovers at its limit does not look all the time."""


class RunningBoard:
    """The state of one board in a run."""

    def __init__(self, name: str, board: Board, charge: float, clock: Clock) -> None:
        """A board with nothing to do.

        Args:
            name: of its GPU.
            board: its regulator, in numbers.
            charge: what is in its energy budget at the start, in shares of a full one.
            clock: time of the run.
        """
        self.name = name
        self._board = board
        self._full_j = float(board.budget_j)
        self._budget_j = charge * self._full_j
        self._power_w = float(board.idle_w)
        self._since_fs = 0
        self._over_boost = 1.0
        self._ticked_fs = 0.0
        self._clock = clock
        self._alarm: Alarm | None = None

    def on_look(self, look: Callable[[], None]) -> None:
        """What is to happen when what it may draw has changed."""
        self._alarm = self._clock.alarm(look)

    def scale(self, clock: float) -> float:
        """Energy of what follows the core's voltage at a clock over boost, over that at boost."""
        return float(self._board.scale(clock)) if clock != 1.0 else 1.0

    def idle_w(self, clock: float) -> float:
        """Power beside the dynamic one at a clock over boost [W]."""
        return float(self._board.idle_at(clock)) if clock != 1.0 else float(self._board.idle_w)

    def allowed_w(self, asked_w: float, left_s: Callable[[], float], now_fs: int) -> float:
        """Power that it may draw from now on, of work that asks for `asked_w` and lasts `left_s` at boost [W]."""
        board = self._board
        if asked_w <= board.held_w:
            return asked_w
        self._advance(now_fs)
        if self._budget_j <= SPENT * self._full_j:
            return float(board.held_w)
        charge = self._budget_j / self._full_j
        if asked_w <= board.held_w + board.headroom_w * charge:
            return asked_w
        step = min(left_s() / board.drain_s, 1.0 / STEPS)
        mean = -expm1(-step) / step if step > 0.0 else 1.0
        return float(board.held_w + board.headroom_w * charge * mean)

    def keep(self, power_w: float, clock: float, now_fs: int) -> None:
        """From now on it draws this, at this clock; look again when the budget no longer allows it."""
        self._advance(now_fs)
        self._power_w, self._over_boost = power_w, clock
        assert self._alarm is not None
        self._alarm.cancel()
        board, spare_j = self._board, self._budget_j - SPENT * self._full_j
        drain_w = power_w - float(board.held_w)
        if drain_w <= 0.0 or spare_j <= 0.0:
            return
        step_s = board.drain_s / STEPS
        if clock == 1.0:  # nothing is held back until the budget allows no more than this
            step_s = (self._budget_j - self._full_j * drain_w / board.headroom_w) / drain_w
        self._alarm.set(now_fs + to_fs(max(step_s, board.drain_s / SHORTEST_STEPS)))

    def ticked_fs(self, now_fs: int) -> float:
        """The integral of its clock over boost from the start of the run until now [fs]."""
        return self._ticked_fs + self._over_boost * (now_fs - self._since_fs)

    def _advance(self, now_fs: int) -> None:
        gained_j = (float(self._board.held_w) - self._power_w) * seconds(now_fs - self._since_fs)
        self._budget_j = min(max(self._budget_j + gained_j, 0.0), self._full_j)
        self._ticked_fs = self.ticked_fs(now_fs)
        self._since_fs = now_fs
