"""The clock and its alarms, by exact traces."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.sim.play.engine import FS_PER_S, LAST, Clock, Event, duration_fs, seconds, to_fs


def test_time_is_counted_in_whole_femtoseconds() -> None:
    assert to_fs(1.7e-6) == 1_700_000_000
    assert to_fs(0.0) == 0
    assert seconds(to_fs(2.5e-9)) == 2.5e-9
    assert isinstance(Clock().now_fs, int)


@given(st.floats(1e-15, 1e15), st.floats(1e-15, 1e15))
def test_a_duration_is_rounded_up(work: float, rate: float) -> None:
    exact = Fraction(work) / Fraction(rate) * FS_PER_S
    assert duration_fs(work, rate) > 0
    assert exact * (1 - Fraction(1, 10**15)) <= duration_fs(work, rate) <= exact * (1 + Fraction(1, 10**15)) + 1


def test_an_alarm_rings_whenever_it_is_set_again() -> None:
    clock, trace = Clock(), []

    def ring() -> None:
        trace.append(clock.now_fs)
        if len(trace) < 3:
            alarm.set(clock.now_fs + 10)

    alarm = clock.alarm(ring)
    assert not alarm.is_set
    alarm.set(5)
    assert alarm.is_set
    clock.run()
    assert trace == [5, 15, 25]
    assert not alarm.is_set


@pytest.mark.parametrize(
    ("moves", "rings"),
    [
        ([(1, 30)], [30]),
        ([(1, 5)], [5]),
        ([(1, 30), (2, 20)], [20]),
        ([(1, 30), (2, 5)], [5]),
        ([(1, 5), (2, 7)], [7]),
        ([(1, 30), (15, 40)], [40]),
        ([(1, 10)], [10]),
        ([(12, 13)], [10, 13]),
    ],
    ids=str,
)
def test_an_alarm_that_moves_rings_once_at_its_last_time(moves: list[tuple[int, int]], rings: list[int]) -> None:
    clock, trace = Clock(), []
    alarm = clock.alarm(lambda: trace.append(clock.now_fs))
    alarm.set(10)

    def move() -> Iterator[Event]:
        for at_fs, to in moves:
            yield clock.timeout(at_fs - clock.now_fs)
            alarm.move(to)

    clock.process(move())
    clock.run()
    assert trace == rings


def test_a_cancelled_alarm_is_silent_and_can_be_set_again() -> None:
    clock, trace = Clock(), []
    alarm = clock.alarm(lambda: trace.append(clock.now_fs))
    alarm.cancel()
    alarm.set(10)
    alarm.cancel()
    assert not alarm.is_set
    alarm.set(20)
    clock.run()
    assert trace == [20]


def test_a_last_alarm_rings_after_all_others_of_its_instant() -> None:
    clock, trace = Clock(), []

    def ring_first() -> None:
        trace.append("first")
        clock.alarm(lambda: trace.append("set during the instant")).set(10)

    clock.alarm(lambda: trace.append("last"), LAST).set(10)
    clock.alarm(ring_first).set(10)
    clock.run()
    assert trace == ["first", "set during the instant", "last"]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=12, unique_by=lambda move: move[0]))
def test_an_alarm_rings_exactly_when_it_was_last_given_before_that_time(moves: list[tuple[int, int]]) -> None:
    """Moves happen at even times and ask for odd ones, so that none is at the instant of a ring."""
    moves = sorted((2 * at, 2 * (at + later) + 1) for at, later in moves)
    next_moves = [at for at, _ in moves[1:]] + [10**6]
    expected = [due for (_, due), next_move in zip(moves, next_moves, strict=False) if due < next_move]
    clock = Clock()
    rings: list[int] = []
    alarm = clock.alarm(lambda: rings.append(clock.now_fs))

    def play() -> Iterator[Event]:
        for at_fs, due in moves:
            yield clock.timeout(at_fs - clock.now_fs)
            alarm.move(due)

    clock.process(play())
    clock.run()
    assert rings == expected


def test_two_clocks_do_not_touch_each_other() -> None:
    one, other = Clock(), Clock()
    one.alarm(lambda: None).set(100)
    one.run()
    assert (one.now_fs, other.now_fs) == (100, 0)
