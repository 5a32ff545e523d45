"""Recordings hold what was computed, and say no where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simexplore.sim.estimate.compiled.build import address, compiled
from simexplore.sim.estimate.compiled.recorded import Recorded, Recording, UnrecordableError
from simexplore.sim.estimate.compiled.source import source

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install 'simexplore[fast]'")


def ran(recording: Recording, outputs: list[Recorded], rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """What the compiled recording tells of rows, and of which it holds."""
    nodes = tuple(output.position for output in outputs)
    text = source(recording, nodes, len(rows[0]))
    sizes = np.array(rows, dtype=np.int64)
    told, holds = np.empty((len(rows), len(nodes))), np.empty(len(rows), dtype=np.bool_)
    arrays = (sizes, np.array(recording.constants), np.empty(text.work), told, holds)
    compiled(text.text, "rows")(len(rows), *(address(array) for array in arrays))
    return told, holds


def test_a_step_that_is_there_is_not_recorded_again() -> None:
    recording = Recording()
    m = recording.input(0, 5)
    assert (m * 2.0 + 1.0).position == (m * 2.0 + 1.0).position
    assert len(recording.nodes) == 5  # m, 2, m * 2, 1 and the sum


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sums": lambda m, n: (m + n) * 3.0 - n / m,
    "whole numbers": lambda m, n: (m // 7) * 10 + n % 7,
    "below nothing": lambda m, n: -(-m // n) + 10 * ((n - m) % 4) + 100 * ((n - m) // 4) + 1000 * (m % (3 - n)),
    "roots": lambda m, n: np.sqrt(m) + np.power(n / 3.0, 1.7) + np.exp(-m / 50.0) + np.log(n) + np.log2(m),
    "rounding": lambda m, n: np.ceil(m / 3.0) + np.floor(n / 4.0),
    "the larger": lambda m, n: np.maximum(m, n) - np.minimum(m * 1.0, 20.0) + np.clip(n, 3, 9),
    "either": lambda m, n: np.where((m > n) & ~(m == 3), m * 1.0, -n),
    "divisors": lambda m, n: np.gcd(m, n) + (m & -m) + (m | n),
    "conversions": lambda m, n: (m > 5).astype(np.int64) + (n / 3.0).astype(np.int64),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_rows_are_what_numpy_computes(name: str) -> None:
    function, recording = FUNCTIONS[name], Recording()
    told = function(recording.input(0, 12), recording.input(1, 8))
    rows = [[12, 8], [3, 30], [7, 7], [1, 2], [1000, 17]]
    computed, holds = ran(recording, [told], rows)
    expected = [float(function(np.array([m]), np.array([n]))[0]) for m, n in rows]
    assert holds.all()
    np.testing.assert_allclose(computed[:, 0], expected, rtol=1e-15)


def test_a_division_by_nothing_is_nothing() -> None:
    """As numpy has it, which warns: the processor would end the process."""
    recording = Recording()
    m, n = recording.input(0, 9), recording.input(1, 2)
    told, _ = ran(recording, [m // n + 0, m % n + 0], [[9, 2], [9, 0]])
    assert told.tolist() == [[4.0, 1.0], [0.0, 0.0]]


def test_a_question_is_a_condition_of_the_recording() -> None:
    recording = Recording()
    m = recording.input(0, 100)
    told = m * 2.0 if np.any(m > 10) else m * 1.0
    computed, holds = ran(recording, [told], [[100], [11], [10]])
    assert holds.tolist() == [True, True, False]
    assert computed[:2, 0].tolist() == [200.0, 22.0]


def test_candidates_are_laid_out_joined_and_searched() -> None:
    """Of pairs of (2, 3 or 5) and (1 or 10), and of the same once more with 7, the least of |m - a b|."""
    recording = Recording()
    m = recording.input(0, 20)
    first = recording.lifted(np.array([[2.0, 3.0, 5.0]])) * np.ones((1, 3))
    second = recording.lifted(np.array([[1.0, 10.0]]))
    pairs = np.repeat(first, 2, axis=1) * np.tile(second, (1, 3))
    both = np.concatenate([pairs, recording.lifted(np.array([[7.0]])) + np.zeros((1, 1))], axis=1)
    off = np.maximum(both - m[:, None], m[:, None] - both)
    least = recording.step("search", [off * 0.5, np.power(off, 1.0)], np.argmin(off.value, axis=1))
    told, holds = ran(recording, [both[0, least], least * 1.0], [[20], [6], [28], [1], [4]])
    assert holds.all()
    assert told[:, 0].tolist() == [20.0, 5.0, 30.0, 2.0, 3.0]  # of 3 and 5 the first is taken
    assert told[:, 1].tolist() == [1.0, 4.0, 3.0, 0.0, 2.0]


@pytest.mark.parametrize(
    "step",
    [
        lambda m: float(m),
        lambda m: np.asarray(m),
        lambda m: [0, 1][m],
        lambda m: np.stack([m, m]),
        lambda m: np.add.reduce(m),
        lambda m: np.multiply(m, 2, dtype=np.float64),
        lambda m: {0: 1}.get(int(m)),
        lambda m: np.any(m > np.array([[1.0, 1000.0]])),
    ],
    ids=["number", "array", "position", "stack", "reduce", "options", "word", "some of them"],
)
def test_what_would_leave_the_recording_is_refused(step: Callable[[Any], Any]) -> None:
    recording = Recording()
    with pytest.raises(UnrecordableError):
        step(recording.input(0, 5))
