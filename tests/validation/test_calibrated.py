"""The learned correction on kernels that really ran: rows that it has not seen, and what it costs.

The measured tables are not part of the project: they are looked for beside the checkout.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import simexplore
from simexplore.kernels.datasets import read_measurements
from simexplore.sim.learn.calibration import calibrate
from simexplore.sim.learn.overlay import Provenance, write_overlay

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "measured"

ROWS = 400
FILES = [
    ("nvidia/h200-sxm", "aic_h200_sxm_gemm.csv", "gemm", "bf16", 0.055),
    ("nvidia/h200-sxm", "aic_h200_sxm_quantize.csv", "quant_scale_matrix", "fp8", 0.02),
]


@pytest.mark.parametrize(("arch", "file", "op", "dtype", "bound"), FILES, ids=lambda value: str(value))
def test_physics_as_shipped_and_a_correction(
    arch: str, file: str, op: str, dtype: str, bound: float, tmp_path: Path
) -> None:
    """Bounds are those of physics that is not fitted: fitting it brings both down."""
    pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")
    if not (SHARED / file).is_file():
        pytest.skip(f"no {file} beside the checkout")
    measured = read_measurements(SHARED / file).select(op, dtype)
    learned = calibrate(arch, measured, rows=0, residual_rows=ROWS)
    overlay, residual = write_overlay(
        tmp_path / "mine.yaml", replace(learned, stayed={}), Provenance(arch, (file,), 0, 0, "")
    )
    assert residual.stat().st_size - learned.fitted.nbytes <= 100_000  # beside the fingerprints of all rows ever fitted
    result = simexplore.compare(overlay, measured)
    assert result.fitted_rows >= ROWS
    assert result.fitted_rows + result.total.rows == len(measured)
    assert result.total.mape <= bound
    table = result.table
    inside = (table["low_us"] <= table["time_us"]) & (table["time_us"] <= table["high_us"])
    assert 0.75 <= inside.mean() <= 0.85
    third = np.digitize(table["time_us"], table["time_us"].quantile([1 / 3, 2 / 3]))
    for part in range(3):
        assert 0.68 <= inside[third == part].mean() <= 0.92
