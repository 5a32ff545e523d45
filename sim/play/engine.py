"""The clock of a run: SimPy on an integer count of femtoseconds. The only importer of simpy.

Integer time makes events that should meet do meet, and runs repeat bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from simpy import Environment, Event, Process, Store
from simpy.events import NORMAL, EventPriority

__all__ = ["FS_PER_S", "LAST", "Alarm", "Clock", "Event", "Process", "Store", "duration_fs", "seconds", "to_fs"]

FS_PER_S: Final = 10**15
LAST: Final = EventPriority(NORMAL + 1)
"""Priority of what must see an instant as all other events of that instant leave it."""


def to_fs(time_s: float) -> int:
    """The nearest whole femtosecond [fs] to a time [s]."""
    return round(time_s * FS_PER_S)


def duration_fs(work: float, rate: float) -> int:
    """Femtoseconds until `work` is done at `rate` [work/s], rounded up: nothing ends before its work is done."""
    return math.ceil(work / rate * FS_PER_S)


def seconds(time_fs: int) -> float:
    """A time [fs] in seconds."""
    return time_fs / FS_PER_S


class Clock(Environment):
    """Simulated time [fs, integer] with SimPy's events and processes, and alarms that are cheap to set again."""

    def __init__(self) -> None:
        super().__init__(initial_time=0)

    @property
    def now_fs(self) -> int:
        """The time at which the run is [fs]."""
        return self._now  # type: ignore[return-value]  # SimPy allows floats; every delay here is an integer

    def sleep(self, delay_s: float) -> Event:
        """An event `delay_s` seconds from now, for processes to yield."""
        return self.timeout(to_fs(delay_s))

    def alarm(self, ring: Callable[[], None], priority: EventPriority = NORMAL) -> Alarm:
        """An alarm that calls `ring` when it goes off; it starts unset."""
        return Alarm(self, ring, priority)


class Alarm:
    """A callback at a time, which can be set again when it has gone off and moved while it is set.

    It reuses one SimPy event, so setting it costs neither an allocation nor a generator.
    SimPy cannot take an event back: an alarm moved to later goes off on time by sleeping on, one moved to earlier
    leaves its old event behind, mute.
    """

    __slots__ = ("_callbacks", "_clock", "_event", "_priority", "_queued_fs", "_ring", "at_fs")

    at_fs: int
    """When it goes off [fs]; when it last did, if it is not set."""
    _queued_fs: int

    def __init__(self, clock: Clock, ring: Callable[[], None], priority: EventPriority) -> None:
        self._clock = clock
        self._ring = ring
        self._priority = priority
        self._callbacks: list[Callable[[Event], None]] = [self._go_off]
        self._event = _Recurring(clock)

    @property
    def is_set(self) -> bool:
        """Whether the alarm is going to go off."""
        return self._event.callbacks is self._callbacks

    def set(self, at_fs: int) -> None:
        """Go off at `at_fs`, which is not past. Only for an alarm that is not set."""
        clock = self._clock
        self.at_fs = self._queued_fs = at_fs
        self._event.callbacks = self._callbacks
        clock.schedule(self._event, self._priority, at_fs - clock._now)

    def move(self, at_fs: int) -> None:
        """Go off at `at_fs`, and not when it was to."""
        if self.is_set and at_fs >= self._queued_fs:
            self.at_fs = at_fs
        else:
            self.cancel()
            self.set(at_fs)

    def cancel(self) -> None:
        """Make the alarm not go off."""
        if self.is_set:
            self._event.callbacks = []
            self._event = _Recurring(self._clock)

    def _go_off(self, _: Event) -> None:
        if self.at_fs > self._queued_fs:
            self.set(self.at_fs)
        else:
            self._ring()


class _Recurring(Event):
    """An event that has always succeeded and may be scheduled again whenever it has been processed."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._ok = True
        self._value = None
