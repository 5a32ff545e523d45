"""Answers are kept by question and machine, the least recently asked forgotten first; threads may ask at once."""

from __future__ import annotations

import sys
import threading

from simexplore.remembered import Remembered


def test_the_least_recently_asked_is_forgotten() -> None:
    known, machine = Remembered[int](most=2), object()
    known.keep("a", machine, 1)
    known.keep("b", machine, 2)
    assert known.find("a", machine) == 1
    known.keep("c", machine, 3)
    assert [known.find(question, machine) for question in "abc"] == [1, None, 3]
    assert known.find("a", object()) is None


def test_threads_do_not_forget_for_each_other() -> None:
    known, machine = Remembered[int](most=1), object()
    done: list[bool] = []

    def ask() -> None:
        told = []
        for turn in range(40_000):
            known.keep(turn % 3, machine, turn % 3)
            told.append(known.find(turn % 3, machine) in (turn % 3, None))
        done.append(all(told))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert done == [True] * 4
