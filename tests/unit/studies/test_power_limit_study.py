"""Rows at a power limit and under it, made up: figures by hand, and what trees may see."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.sim.studies.power_limit import Rows, figures

pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")


def rows(op: str, count: int, measured_w: np.ndarray, **changed: object) -> Rows:
    columns = {
        "measured_s": np.ones(count),
        "measured_w": measured_w,
        "time_s": np.full(count, 1.1),
        "power_w": np.full(count, 300.0),
        "clock": np.full(count, 0.9),
        "sizes": np.log2(np.arange(1, 3 * count + 1, dtype=np.float64)).reshape(count, 3),
    }
    return Rows(op, "bf16", **(columns | changed))  # type: ignore[arg-type]


def test_figures_by_hand() -> None:
    """Of 100 GEMMs 60 are at the limit, three quarters of them predicted so; the 40 under it read 200 or 400 W."""
    watts = np.concatenate([np.full(60, 700.0), np.tile([200.0, 400.0], 20)])
    clock = np.where(np.arange(100) % 4, 0.9, 1.0)
    found = figures([rows("gemm", 100, watts, clock=clock), rows("attention_prefill", 30, np.full(30, 670.0))])
    assert found["gemm_time"] == pytest.approx(10.0)
    assert found["limited"] == pytest.approx(75.0)
    assert found["watts"] == pytest.approx((50.0 + 25.0) / 2)
    assert found["constant"] == pytest.approx((50.0 + 25.0) / 2)


def test_trees_learn_what_sizes_tell() -> None:
    count = 400
    size = np.random.default_rng(0).uniform(4.0, 12.0, count)
    watts = np.concatenate([np.full(100, 700.0), 100.0 + 40.0 * size[100:]])
    sizes = np.column_stack([size, np.zeros(count)])
    found = figures([rows("gemm", count, watts, sizes=sizes)])
    assert found["trees"] < 3.0 < found["constant"]


def test_too_few_rows_are_one_line() -> None:
    with pytest.raises(SimexploreError, match="expected 20 rows at the limit and under it"):
        figures([rows("gemm", 50, np.full(50, 700.0))])
