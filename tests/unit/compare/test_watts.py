"""Errors of watts by hand: which rows count, the sign of the bias, who is inside the interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simexplore.archs.load import load_arch
from simexplore.kernels.measurement import Measurements
from simexplore.sim.compare.comparison import compare
from simexplore.sim.compare.watts import power_errors
from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import Gemm


def rows(**changed: object) -> pd.DataFrame:
    columns = {
        "time_us": [100.0, 200.0, 99.9, 300.0],
        "power_w": [200.0, 400.0, 100.0, np.nan],
        "predicted_w": [250.0, 300.0, 900.0, 100.0],
        "low_w": [210.0, 250.0, 1.0, 1.0],
        "high_w": [300.0, 400.0, 2.0, 2.0],
    }
    return pd.DataFrame(columns | changed)


def test_long_rows_with_watts_count() -> None:
    """+25 % and -25 %; 200 is under its interval, 400 is the end of its own."""
    found = power_errors(rows())
    assert found.power_rows == 2
    assert found.power_mape == pytest.approx(0.25)
    assert found.power_bias == pytest.approx(0.0)
    assert found.power_coverage == pytest.approx(0.5)
    assert power_errors(rows(predicted_w=[250.0, 500.0, 1.0, 1.0])).power_bias == pytest.approx(0.25)


@pytest.mark.parametrize("without", [{"time_us": 99.0}, {"power_w": np.nan}, {"predicted_w": np.nan}])
def test_where_none_counts_nothing_is_told(without: dict[str, float]) -> None:
    assert power_errors(rows(**without)) == (0, None, None, None)


def test_compare_tells_mean_power_with_the_machines_spread() -> None:
    gpu = load_arch("nvidia/h200-sxm@facts")
    table = {"source": "made up", "device": gpu.name, "op": "gemm", "dtype": "bf16", "m": 8192.0, "n": 8192.0}
    frame = pd.DataFrame({**table, "k": [8192.0, 4096.0], "time_us": [1500.0, 800.0], "power_w": [700.0, 600.0]})
    result = compare(gpu, Measurements(frame))
    told = result.table
    assert result.total.power_rows == result.by_op["gemm"].power_rows == result.by_dtype["gemm bf16"].power_rows == 2
    assert (told["high_w"] / told["predicted_w"]).tolist() == pytest.approx([np.exp(NORMAL_80 * gpu.energy.spread)] * 2)
    assert (told["predicted_w"] / told["low_w"]).tolist() == pytest.approx([np.exp(NORMAL_80 * gpu.energy.spread)] * 2)
    assert gpu.power.idle_w < told["predicted_w"].min()
    assert result.as_dict()["power_mape"] == result.total.power_mape


def test_power_is_energy_over_time() -> None:
    told = predict(Gemm(m=4096, n=4096, k=4096), load_arch("nvidia/h200-sxm@facts"))
    assert told.power_w == pytest.approx(told.energy_j / told.time_s)
