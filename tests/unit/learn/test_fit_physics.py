"""Fitting physics to rows made up with other values of a machine: what they show is found, what they hide is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simexplore.archs.fields import field_of, with_columns
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.measurement import Measurements
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.estimate.operators import physics
from simexplore.sim.learn.parameters import STREAMS
from simexplore.sim.learn.physics import Fit, fit_physics
from simexplore.workloads.ops import Add

pytest.importorskip("scipy", reason="the extra [calibrate] is not installed")

MACHINE = load_arch("nvidia/h200-sxm@facts")
EFFICIENCY = "dram.efficiency"


def additions(gpu: Gpu, elements: np.ndarray) -> Measurements:
    """Times that `gpu` would take for sums of two vectors of so many elements, 1 % apart at random."""
    op = Add(elements=elements, dtype="fp32")
    seconds = physics(op, gpu, Conditions(cache=WARM, launch="stream")).time_s
    noisy = seconds * np.exp(0.01 * np.random.default_rng(1).normal(size=len(elements)))
    text = {"source": "made up", "device": gpu.name, "op": "add", "dtype": "fp32"}
    return Measurements(pd.DataFrame({**text, "elements": elements.astype(np.float64), "time_us": noisy * 1e6}))


def with_efficiency(share: float) -> Gpu:
    return MACHINE.model_copy(update={"dram": MACHINE.dram.model_copy(update={"efficiency": share})})


def test_what_long_rows_show_is_found() -> None:
    rows = additions(with_efficiency(0.7), np.unique(np.geomspace(1e5, 1e9, 120).astype(np.int64)))
    fit = fit_physics(MACHINE, rows, rows=100)
    assert fit.values[EFFICIENCY] == pytest.approx(0.7, rel=0.03)
    assert fit.gpu.dram.efficiency == fit.values[EFFICIENCY]
    assert fit.uncertainty[EFFICIENCY] is not None
    assert fit.uncertainty[EFFICIENCY] < 0.05
    assert len(fit.fitted_rows) == len(set(fit.fitted_rows.tolist())) == 100


def test_what_short_rows_hide_keeps_its_sourced_value() -> None:
    rows = additions(with_efficiency(0.7), np.unique(np.geomspace(1e3, 1e6, 120).astype(np.int64)))
    fit = fit_physics(MACHINE, rows, rows=100)
    assert EFFICIENCY not in fit.values
    assert fit.uncertainty[EFFICIENCY] is None
    assert fit.gpu.dram.efficiency == MACHINE.dram.efficiency


def test_what_is_hidden_only_once_others_are_gone_keeps_its_sourced_value_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fit tells one parameter fewer, as where two stand for each other: no value is kept that the last one hid."""
    rows = additions(with_efficiency(0.7), np.unique(np.geomspace(1e5, 1e9, 60).astype(np.int64)))
    hidden: list[int] = []

    def one_more_hidden(_fit: Fit, x: np.ndarray, _jacobian: np.ndarray) -> np.ndarray:
        hidden.append(len(hidden))
        return np.where(np.arange(len(x)) < len(hidden) // 2, 0.76, 0.74)

    monkeypatch.setattr(Fit, "_errors", one_more_hidden)
    monkeypatch.setattr(Fit, "share_borne", lambda _fit: (1.0, 0.01))
    fit = fit_physics(MACHINE, rows, rows=50)
    assert len(hidden) > 4
    assert fit.values
    assert all(error is None or error < 0.75 for error in fit.uncertainty.values())
    assert set(fit.values) == {path for path, error in fit.uncertainty.items() if error is not None}


@pytest.mark.parametrize("zeros", [1, 8])
def test_a_value_of_which_the_source_says_0_stays_0(zeros: int) -> None:
    """A factor moves no 0. With all of a group's values at 0 nothing is left to fit."""
    paths = [parameter.path for parameter in STREAMS.parameters]
    fields = [field_of(path, MACHINE) for path in paths if path != EFFICIENCY or zeros > 1][:zeros]
    machine = with_columns(MACHINE, dict.fromkeys(fields, 0.0))
    assert isinstance(machine, Gpu)
    rows = additions(with_efficiency(0.7), np.unique(np.geomspace(1e5, 1e9, 60).astype(np.int64)))
    if zeros > 1:
        assert fit_physics(machine, rows, rows=50).families == ()
        return
    fit = fit_physics(machine, rows, rows=50)
    assert paths[0] not in fit.values
    assert fields[0].read(fit.gpu) == 0.0
    assert np.isfinite(list(fit.values.values())).all()
    assert fit.values[EFFICIENCY] == pytest.approx(0.7, rel=0.05)
