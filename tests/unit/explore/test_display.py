"""Units in which people read a sweep's columns."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.sim.explore.display import display_name, display_unit
from simexplore.sim.explore.table import Column


@pytest.mark.parametrize(
    ("name", "unit", "values", "expected"),
    [
        ("l2.capacity", "B", [25 * 2**20, 50 * 2**20], (2**20, "MiB")),
        ("l2.capacity", "B", [25 * 2**20, 31_457_281.5, 50 * 2**20], (2**20, "MiB")),
        ("dram.capacity", "B", [80e9, 141e9], (1e9, "GB")),
        ("dram.bandwidth", "B/s", [2.4e12, 9.6e12], (1e12, "TB/s")),
        ("time_s", "s", [2e-6, 4e-6, 9e-3], (1e-6, "µs")),
        ("area", "m2", [8e-4], (1e-6, "mm²")),
        ("area_mm2", "mm2", [800.0], (1.0, "mm²")),
        ("decode.utilization.dram", "1", [0.5], (0.01, "%")),
        ("sm.count", "1", [132.0], (1.0, "")),
        ("tokens_per_s", "1/s", [16.0], (1.0, "1/s")),
        ("energy_j", "J", [0.0, float("nan")], (1.0, "J")),
    ],
)
def test_units(name: str, unit: str, values: list[float], expected: tuple[float, str]) -> None:
    factor, shown = display_unit(Column(name, "metric", unit), np.array(values))
    assert (pytest.approx(factor), shown) == expected


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("decode.time_s", "s", "decode.time"),
        ("peak_memory_bytes", "B", "peak_memory"),
        ("tokens_per_s", "1/s", "tokens_per_s"),
        ("area_mm2", "mm2", "area"),
        ("l2.capacity", "B", "l2.capacity"),
    ],
)
def test_names_leave_their_unit_to_the_unit(name: str, unit: str, expected: str) -> None:
    assert display_name(Column(name, "metric", unit)) == expected
