"""Energies from watts: known ones come back, what rows do not tell keeps its source, and times tell none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_rows import Truth, loops

import simexplore
from simexplore.archs.load import is_as_calibrated, load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import Measurements, join
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.estimate.operators import at_boost
from simexplore.sim.learn.energy import Watts, fit_energy, held_clock, modelled_w, watts_of
from simexplore.sim.learn.groups import groups_of
from simexplore.workloads.ops import Gemm

pytest.importorskip("scipy", reason="the extra [calibrate] is not installed")

HBM = "nvidia/h200-sxm@facts"
GDDR = "nvidia/a40@facts"
TRUTH = Truth(idle_w=120.0, dram_j_per_byte=100e-12, fma_j_per_flop=5e-12)


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch(HBM).physics_only()


def test_known_energies_come_back(gpu: Gpu) -> None:
    fit = fit_energy(gpu, loops(gpu, TRUTH))
    assert fit is not None
    assert fit.values["power.idle"] == pytest.approx(120.0, rel=0.02)
    assert fit.values["energy.dram"] == pytest.approx(100e-12, rel=0.02)
    assert fit.values["energy.fma.fp32"] == pytest.approx(5e-12, rel=0.02)
    assert fit.gpu.energy.dram_j_per_byte == fit.values["energy.dram"]
    assert set(fit.values) == {"power.idle", "energy.dram", "energy.fma.fp32"}
    assert fit.mape < 0.002
    assert (fit.rows, fit.held_out) == (20, 20)
    assert fit.sources == ("gpu-benches",)


def test_rows_that_were_not_fitted_tell_the_error_and_the_spread(gpu: Gpu) -> None:
    fit = fit_energy(gpu, loops(gpu, TRUTH, rows=120, noise=0.04))
    assert fit is not None
    assert fit.spread == pytest.approx(0.04, rel=0.35)
    assert fit.mape == pytest.approx(0.04 * np.sqrt(2.0 / np.pi), rel=0.3)
    assert fit.coverage == pytest.approx(0.8, abs=0.05)
    assert all(0.0 < error < 0.25 for error in fit.uncertainty.values() if error is not None)


def test_throttled_rows_with_clocks_tell_what_follows_the_clock() -> None:
    gpu = load_arch(GDDR).physics_only()
    truth = Truth(140.0, 50e-12, 6e-12, share=0.7, limit_w=220.0)
    rows = loops(gpu, truth, rows=60)
    assert rows.frame["clock_mhz"].min() < 0.9 * rows.frame["clock_mhz"].max()
    fit = fit_energy(gpu, rows)
    assert fit is not None
    assert fit.values["power.clocked_share"] == pytest.approx(0.7, abs=0.1)
    assert fit.values["power.idle"] == pytest.approx(140.0, rel=0.05)
    assert fit.values["energy.fma.fp32"] == pytest.approx(6e-12, rel=0.05)


def test_watts_below_the_clock_at_which_the_voltage_stays() -> None:
    """100 W idle, a quarter of which follows the clock; 90 J of multiply-adds in a second, of DRAM none."""
    gpu = load_arch(GDDR, {"power.voltage_floor": "1.5 GHz", "power.idle": "100 W", "clock.boost": "2 GHz"})
    ones, clocks = np.ones(2), np.array([0.9, 0.5])
    rows = Watts(
        ones,
        ones,
        clocks,
        {},
        (90.0 * ones, 0.0 * ones),
        np.arange(2, dtype=np.uint64),
        np.array(["", ""]),
        ones[:, None],
    )
    expected = [100.0 * (0.75 + 0.25 * 0.9**3) + 90.0 * 0.9**2, 100.0 * (0.75 + 0.25 * 0.5 * 0.75**2) + 90.0 * 0.75**2]
    assert modelled_w(gpu, rows).tolist() == pytest.approx(expected)


def test_rows_at_the_limit_tell_nothing_without_a_clock() -> None:
    gpu = load_arch(GDDR, {"power.tdp": "220 W"}).physics_only()
    rows = loops(gpu, Truth(110.0, 50e-12, 6e-12, limit_w=220.0), rows=60)
    without = Measurements(rows.frame.drop(columns="clock_mhz"), rows.conditions_of)
    seen, left = watts_of(gpu, rows), watts_of(gpu, without)
    assert seen is not None
    assert left is not None
    assert len(seen.power_w) == 60
    assert 0 < len(left.power_w) < 60
    assert left.power_w.max() < 0.97 * 220.0


@pytest.mark.parametrize(
    ("changed", "count"), [({"time_us": 99.0}, 0), ({"time_us": 100.0}, 40), ({"power_w": np.nan}, 0)]
)
def test_short_rows_and_rows_without_watts_tell_nothing(gpu: Gpu, changed: dict[str, float], count: int) -> None:
    rows = loops(gpu, TRUTH)
    table = watts_of(gpu, Measurements(rows.frame.assign(**changed), rows.conditions_of))
    assert (0 if table is None else len(table.power_w)) == count


def test_rows_of_other_devices_are_left_out(gpu: Gpu) -> None:
    mine = loops(gpu, TRUTH, device="some_h200")
    other = loops(gpu, Truth(300.0, 200e-12, 9e-12), device="some_a40")
    table = watts_of(gpu, join([mine, other]))
    assert table is not None
    assert len(table.power_w) == len(mine)
    neither = watts_of(load_arch("nvidia/rtx-4090"), join([mine, other]))
    assert neither is None
    only = watts_of(load_arch("nvidia/rtx-4090"), other)
    assert only is not None


def test_what_rows_cannot_tell_apart_keeps_its_source(gpu: Gpu) -> None:
    """At one intensity, idle power, bytes and operations are one sum."""
    rows = loops(gpu, TRUTH, rows=40)
    few = rows.frame.assign(flops_per_element=np.arange(40) + 1000.0, time_us=1000.0, power_w=400.0)
    fit = fit_energy(gpu, Measurements(few, rows.conditions_of))
    assert fit is not None
    assert len(fit.values) < 3
    assert any(error is None for error in fit.uncertainty.values())
    assert not {path for path, error in fit.uncertainty.items() if error is None} & set(fit.values)


def test_a_value_beyond_what_is_physical_keeps_its_source(gpu: Gpu) -> None:
    fit = fit_energy(gpu, loops(gpu, replace_truth(fma_j_per_flop=30e-12)))
    assert fit is not None
    assert fit.uncertainty["energy.fma.fp32"] is None
    assert fit.gpu.energy.fma_j_per_op["fp32"] == gpu.energy.fma_j_per_op["fp32"]


def replace_truth(**changed: float) -> Truth:
    return TRUTH._replace(**changed)


def gemms(gpu: Gpu, dtype: str, factor: float) -> Measurements:
    """GEMMs whose tensor cores take `factor` of the sourced energy, at 90 % of the speed of the physics."""
    random = np.random.default_rng(3)
    m, n, k = (2.0 ** random.uniform(11.0, 14.0, size=(3, 60))).astype(np.int64)
    cost = at_boost(Gemm(m=m, n=n, k=k, dtype=dtype), gpu, Conditions(cache=WARM, launch="stream"))
    seconds = cost.time_s / 0.9
    joules = cost.energies_j.sum(axis=0) + (factor - 1.0) * cost.energies_j[0]
    text = {"source": "made up", "device": gpu.name, "op": "gemm", "dtype": dtype}
    counts = {"m": m.astype(float), "n": n.astype(float), "k": k.astype(float)}
    watts = gpu.power.idle_w + joules / seconds
    told = {"time_us": seconds * 1e6, "power_w": watts, "clock_mhz": gpu.clock.boost_hz * 1e-6}
    return Measurements(pd.DataFrame({**text, **counts, **told}))


def test_types_of_one_width_share_an_energy_and_others_follow_by_width(gpu: Gpu) -> None:
    fit = fit_energy(gpu, gemms(gpu, "fp16", 1.5))
    assert fit is not None
    measured = 1.5 * gpu.energy.tensor_j_per_op["fp16"]
    assert fit.gpu.energy.tensor_j_per_op["fp16"] == pytest.approx(measured, rel=0.05)
    of = fit.gpu.energy.tensor_j_per_op
    assert of["bf16"] == of["fp16"]
    assert of["tf32"] == pytest.approx(2.0 * of["fp16"])
    assert of["fp8"] == of["int8"] == pytest.approx(0.5 * of["fp16"])
    assert fit.by_width["energy.tensor.fp8"] == "energy.tensor.bf16"
    assert fit.values["energy.spread"] == fit.spread


def test_the_limits_clock_is_that_at_which_it_would_be_drawn() -> None:
    gpu = load_arch(GDDR, {"power.tdp": "220 W", "power.clocked_share": "0.25"}).physics_only()
    truth = Truth(gpu.power.idle_w, gpu.energy.dram_j_per_byte, gpu.energy.fma_j_per_op["fp32"], 0.25, 220.0)
    rows = watts_of(gpu, loops(gpu, truth, rows=60))
    assert rows is not None
    np.testing.assert_allclose(modelled_w(gpu, rows), rows.power_w, rtol=1e-3)
    np.testing.assert_allclose(held_clock(gpu, rows), rows.clock, rtol=2e-3)
    assert rows.clock.min() < 0.95


def test_no_energy_is_fitted_on_times() -> None:
    paths = {parameter.path for group in groups_of(load_arch(HBM)) for parameter in group.parameters}
    assert not {path for path in paths if path.startswith("energy.") or path in ("power.idle", "power.clock_exponent")}


def test_an_overlay_of_watts_alone(gpu: Gpu, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")
    path = tmp_path / "mine.yaml"
    rows = loops(gpu, TRUTH)
    result = simexplore.calibrate("nvidia/h200-sxm", rows, path, date="2030-01-02")
    assert not result.groups
    machine = load_arch(path)
    assert is_as_calibrated(machine)
    assert machine.power.idle_w == pytest.approx(120.0, rel=0.02)
    assert machine.calibration is not None
    assert machine.calibration.watts is not None
    assert (machine.calibration.watts.fitted, machine.calibration.watts.rows) == (20, 20)
    real = 8  # of its loops the H200 was fitted on some of the same sizes, and remembers them
    source = machine.source_of("energy.dram")
    assert source is not None
    assert source.startswith("calibrated: gpu-benches, watts of 20 rows, seed 0, 2030-01-02; ± ")
    compared = simexplore.compare(machine, rows)
    assert (compared.fitted_rows, compared.total.rows) == (20 + real, 20 - real)


def test_a_family_has_energies_and_no_boards_idle_power(gpu: Gpu, tmp_path: Path) -> None:
    path = tmp_path / "family.yaml"
    simexplore.calibrate(HBM, loops(gpu, TRUTH), path, family=True)
    text = path.read_text(encoding="utf-8")
    assert "energy.dram" in text
    assert "idle" not in text


def test_rows_that_tell_nothing_at_all_are_one_line(gpu: Gpu, tmp_path: Path) -> None:
    rows = loops(gpu, TRUTH)
    cold = Measurements(rows.frame.drop(columns="power_w"), rows.conditions_of)
    with pytest.raises(SimexploreError, match=r"nothing to calibrate .* watts tell energies"):
        simexplore.calibrate("nvidia/h200-sxm", cold, tmp_path / "mine.yaml")
