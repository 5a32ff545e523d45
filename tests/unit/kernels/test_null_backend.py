"""The null backend: every part of measuring without a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.registry import backend_of
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measuring import measure_suite
from simexplore.kernels.null.device import DEVICE, NullBackend, NullSession, made_up_s
from simexplore.kernels.problems import problem_of
from simexplore.kernels.runner import Effort, measure_case
from simexplore.kernels.suites import cases_of

GEMM = Case("gemm", {"m": 32, "n": 16, "k": 8, "dtype": "fp32"}, "numpy")


def test_times_are_the_formula_and_results_the_reference() -> None:
    with NullSession() as session:
        measured = measure_case(session, GEMM, seed=1, effort=Effort(max_samples=8))
        inputs = problem_of(GEMM).inputs(GEMM, np.random.default_rng(0))
        result = session.prepare(GEMM).run(inputs)["c"]
    assert measured.timing.time_s == made_up_s(GEMM)
    assert measured.timing.relative_width == 0.0
    assert result == pytest.approx(inputs["a"].astype(float) @ inputs["b"], rel=1e-6)


def test_a_suite_becomes_a_table_that_is_read_back(tmp_path: Path) -> None:
    outcome = measure_suite("null", "micro", tmp_path / "null.csv", seed=3)
    table = read_measurements(tmp_path / "null.csv")
    assert len(table) == outcome.measured == len(cases_of("micro", DEVICE, 3)[0])
    assert set(table.frame["source"]) == {"simexplore/null"}
    assert "made-up" in table.frame["device"].iloc[0]
    again = measure_suite("null", "micro", tmp_path / "null.csv", seed=3)
    assert (again.measured, again.already_done) == (0, outcome.measured)


def test_the_seed_draws_the_sizes() -> None:
    keys = [[case.key for case in cases_of("micro", DEVICE, seed)[0]] for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]


def test_there_is_one_device_and_it_is_none() -> None:
    report = backend_of("null").report()
    assert [device.kind for device in report.devices] == ["none"]
    with pytest.raises(SimexploreError, match="found 1"):
        NullBackend().open(1)


def test_what_has_no_reference_has_no_time() -> None:
    with pytest.raises(SimexploreError, match="no numpy reference"):
        NullSession().prepare(Case("nonsense", {"dtype": "fp32"}, "numpy"))
