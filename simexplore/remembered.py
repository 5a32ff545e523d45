"""What Python sessions ask again and again, answered once: shipped machines, and operators on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

MOST = 4096
"""Answers that are kept; each is about a kilobyte."""

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """Answers by question, the least recently asked forgotten first. A machine is told by being the same object.

    Threads may ask at the same time.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, tuple[object, Answer]] = OrderedDict()
        self._lock = Lock()

    def find(self, question: Hashable, machine: object) -> Answer | None:
        """What was answered, of this very machine."""
        key = (question, id(machine))
        with self._lock:
            found = self._known.get(key)
            if found is None or found[0] is not machine:
                return None
            self._known.move_to_end(key)
            return found[1]

    def keep(self, question: Hashable, machine: object, answer: Answer) -> Answer:
        """Remember an answer; the machine is kept with it, so that no other takes its place in memory."""
        with self._lock:
            self._known[question, id(machine)] = (machine, answer)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return answer
