"""GPPerf's power on rows made here: what two levels explain, the watts of the simulator, and which readings count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, WARM, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.sim.studies import gpperf, gpperf_power
from simexplore.workloads.ops import Gemm, NaiveTiledGemm

GPU = load_arch("nvidia/rtx-4070").physics_only()
SETTLED = Conditions(cache=COLD, launch="stream", runs_before=float("inf"))
CUBE = 512
"""Small: its matrices would fit L2, so that cold ones are told from warm ones."""


def readings(power: list[float], util: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"power": power, "util": util, "m": 4096.0, "n": 2048.0, "k": 1024.0})


def watts_of_the_rows() -> float:
    told = predict(Gemm(4096, 2048, 1024, dtype="fp32"), GPU, Conditions(cache=WARM, launch="stream"))
    return float(np.asarray(told.energy_j / told.time_s).item())


def long_runs(**changed: object) -> pd.DataFrame:
    """Three runs of the naive kernel, tiles 1, 8, 4, with made-up watts; the last is shorter than counts."""
    rows = {"m": 8192, "n": 8192, "k": 8192, "tile": [1, 8, 4], "time_us": [10e6, 11e6, 9.9e6], "power_w": 100.0}
    return pd.DataFrame(rows | changed)


def test_r2_is_one_for_the_truth_none_for_the_mean_and_less_for_worse() -> None:
    truth = np.array([1.0, 2.0, 6.0])
    assert gpperf_power.r2(truth, truth) == 1.0
    assert gpperf_power.r2(np.full(3, 3.0), truth) == pytest.approx(0.0)
    assert gpperf_power.r2(np.array([3.0, 2.0, 1.0]), truth) == pytest.approx(1.0 - 29.0 / 14.0)
    assert all(np.isnan(gpperf_power.r2(same, same)) for same in (np.ones(3), np.array([])))


def test_two_levels_are_those_of_the_fitted_rows() -> None:
    fitted = readings([30.0, 30.0, 60.0, 150.0, 150.0, 180.0], [0, 0, 89.9, 90, 100, 100])
    found = gpperf_power.two_levels(fitted, readings([40.0, 20.0, 160.0], [0, 50, 95]))
    assert found["two_levels_r2"] == pytest.approx(1.0 - 400.0 / np.sum((np.array([40, 20, 160]) - 220 / 3) ** 2))
    assert found["two_levels_error"] == pytest.approx(25.0)  # medians 30 and 150: 25, 50 and 6.25 % off


def test_the_forest_is_judged_once_more_beside_another_job() -> None:
    held_out = readings([30.0, 30.0, 100.0, 200.0], [0, 0, 90, 100])
    found = gpperf_power.forest_figures(np.array([30.0, 33.0, 150.0, 150.0]), held_out)
    assert found["forest_use_r2"] == pytest.approx(0.0)
    assert found["forest_power_r2"] > 0.7
    assert found["forest_power_error"] == pytest.approx((10.0 + 25.0) / 2)


def test_watts_of_the_simulator_stand_beside_what_was_read() -> None:
    watts = watts_of_the_rows()
    assert GPU.power.idle_w < watts <= GPU.power.tdp_w * 1.5
    frame = readings([np.nan, watts / 1.2, watts / 1.1, 10 * watts], [0, 0, 0, 0])
    held_out = frame.iloc[1:].assign(m=1.0)  # sizes are those recorded, not those clipped
    assert gpperf_power.simulated_figures(frame, held_out, GPU)["physics_power_error"] == pytest.approx(20.0)


def test_a_reading_counts_if_the_board_was_neither_at_rest_nor_anothers() -> None:
    frame = readings([np.nan, 39.9, 40.0, 40.0, 40.0], [0, 50, 89.9, 90, 100])
    assert gpperf_power.simulated_figures(frame, frame.iloc[1:], GPU)["own_readings"] == pytest.approx(25.0)


def test_naive_watts_are_judged_on_long_runs() -> None:
    sides, tiles = np.full(3, 8192), np.array([1, 8, 1])
    told = predict(
        NaiveTiledGemm(sides, sides, sides, tiles),
        GPU,
        SETTLED,
    )
    watts = np.asarray(told.energy_j / told.time_s)
    rows = {"m": 8192, "n": 8192, "k": 8192, "tile": tiles, "time_us": 10e6, "power_w": watts / [1.0, 1.5, 1.1]}
    frame = pd.concat([pd.DataFrame(rows), long_runs()[lambda run: run["tile"] == 4]])
    found = gpperf_power.naive_figures(frame, GPU, CUBE)
    assert found["naive_power_error"] == pytest.approx(20.0)  # the mean of 0, 50 and 10; the short run counts not
    cube = predict(NaiveTiledGemm(CUBE, CUBE, CUBE, 4), GPU, SETTLED)
    assert found["naive_power_4"] == pytest.approx(float(np.asarray(cube.energy_j / cube.time_s).item()))


def test_naive_watts_are_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gpperf_power, "_naive_watts", lambda op, gpu: np.array([100.1, 100.4, 130.0, 170.0])[: op.tile.size]
    )
    runs = pd.concat([long_runs(), long_runs()])[lambda rows: rows["tile"] != 4]
    up = gpperf_power.naive_figures(runs.assign(power_w=[90.0, 90.0, 120.0, 130.0]), GPU, CUBE)
    assert up["naive_power_rank"] == pytest.approx(1.0)  # within a watt is a tie
    down = gpperf_power.naive_figures(runs.assign(power_w=[130.0, 130.0, 120.0, 90.0]), GPU, CUBE)
    assert down["naive_power_rank"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "frame", [long_runs(time_us=1e6), long_runs(power_w=np.nan), long_runs().drop(columns="power_w")]
)
def test_no_long_run_with_a_power_is_said(frame: pd.DataFrame) -> None:
    with pytest.raises(SimexploreError, match=r"naive kernels of 10 s and more with power_w, found none"):
        gpperf_power.naive_figures(frame, GPU, CUBE)


def test_a_fifth_is_held_out_as_scikit_learn_does() -> None:
    selection = pytest.importorskip("sklearn.model_selection", reason="the extra [forest] is not installed")
    rows = pd.DataFrame({"m": np.arange(101)})
    fitted, held_out = gpperf.split(rows)
    theirs, others = selection.train_test_split(rows, test_size=0.2, random_state=42)
    assert held_out["m"].tolist() == others["m"].tolist()
    assert fitted["m"].tolist() == theirs["m"].tolist()
