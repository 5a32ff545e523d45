"""An Intel GPU beside its rows of aiconfigurator-core: by its facts alone, and as it ships."""

from __future__ import annotations

import pytest

import simexplore
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import Measurements

NAME = "intel/arc-pro-b60"


def table(operator: str) -> Measurements:
    pytest.importorskip("aiconfigurator_core", reason="the extra [measured] is not installed")
    return read_measurements(f"aiconfigurator:b60/{operator}/vllm/0.26.0")


@pytest.mark.parametrize(("operator", "bound"), [("gemm", 0.06), ("attention", 0.082), ("moe", 0.115)])
def test_rows_that_nothing_was_fitted_on(operator: str, bound: float) -> None:
    found = simexplore.compare(NAME, table(operator))
    assert found.fitted_rows > 0
    assert found.total.mape <= bound
    assert 0.76 <= found.total.interval_coverage <= 0.84  # type: ignore[operator]


def test_large_products_by_facts_alone() -> None:
    """Where the host holds nothing back, sourced rates and oneDNN's tiles tell bf16 GEMMs to a tenth."""
    frame = table("gemm").frame
    large = (frame["dtype"] == "bf16") & (frame["m"] >= 1024) & (frame["n"] >= 1024) & (frame["k"] >= 1024)
    measured = Measurements(frame[large].reset_index(drop=True), table("gemm").conditions_of)
    assert len(measured) > 800
    assert simexplore.compare(f"{NAME}@facts", measured).total.mape <= 0.1
