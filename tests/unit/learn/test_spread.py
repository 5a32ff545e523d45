"""Rows that stand for a table: how many, none twice, all regions, and each row as likely as the others."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.sim.learn.spread import log_sizes, spread_rows
from simexplore.workloads.ops import Gemm


@settings(max_examples=200)
@given(st.integers(1, 300), st.integers(0, 60), st.integers(1, 3), st.integers(0, 2**16))
def test_as_many_as_wanted_and_none_twice(rows: int, most: int, dimensions: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.integers(0, 5, size=(rows, dimensions)).astype(float)
    chosen = spread_rows(points, most, random)
    assert len(set(chosen.tolist())) == len(chosen) == min(most, rows)


def test_every_region_is_there() -> None:
    corners = np.array([[x, y] for x in range(32) for y in range(32)], dtype=float)
    chosen = corners[spread_rows(corners, 64, np.random.default_rng(0))]
    assert {(int(x) // 4, int(y) // 4) for x, y in chosen} == {(x, y) for x in range(8) for y in range(8)}


def test_rows_are_alike_likely() -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    counts = np.zeros(40)
    for seed in range(2000):
        counts[spread_rows(points, 10, np.random.default_rng(seed))] += 1
    assert np.all(np.abs(counts / 2000 - 0.25) < 0.05)


def test_sizes_are_the_counts_of_the_record() -> None:
    logs = log_sizes(Gemm(np.array([1, 8]), 16, np.array([32, 64])), 2)
    assert sorted(logs[1].tolist()) == [0.0, 3.0, 4.0, 6.0]
