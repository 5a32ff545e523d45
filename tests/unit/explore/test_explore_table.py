"""Distinct rows of a table, whatever is in it and whoever interrupts."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from simexplore.sim.explore.table import distinct_rows


@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (60, 2), (200, 3), (0, 2)])
def test_rows_are_those_that_numpy_tells_apart(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(5).choice([-1.0, -0.0, 0.0, 2.5, np.inf], size=shape)
    first, which = distinct_rows(values)
    rows, wanted_first, wanted = np.unique(values, axis=0, return_index=True, return_inverse=True)
    assert first.tolist() == wanted_first.tolist()
    assert which.tolist() == wanted.reshape(-1).tolist()
    assert np.array_equal(values[first], rows)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a system with timers")
def test_a_ctrl_c_stays_one() -> None:
    """Of `np.unique(values, axis=0)` one in ten came out as a TypeError."""
    values = np.random.default_rng(5).integers(0, 3, (64, 2))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(300):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 2e-4 + 1e-6 * number)
                while True:
                    distinct_rows(values)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
