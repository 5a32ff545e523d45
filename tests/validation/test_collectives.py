"""Collectives against nccl-tests: errors by machine, and by what no row of a fit had."""

from __future__ import annotations

from pathlib import Path

import pytest

from simexplore import compare

TABLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "measured" / "aic_all_nccl.csv"
SHIPPED = {
    "h200-sxm": ("H200-SXM-141GB", 0.085),
    "h100-sxm": ("H100-SXM5-80GB", 0.08),
    "a100-sxm-80gb": ("A100-SXM4-80GB", 0.095),
    "b200": ("B200-SXM", 0.08),
    "l40s": ("L40S", 0.12),
    "rtx-pro-6000": ("RTX-PRO-6000-Server", 0.12),
}
"""Name of the device in the table, and the largest mean error."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table for each device."""
    if not TABLE.is_file():
        pytest.skip(f"{TABLE} is not here")
    import pandas as pd

    folder = tmp_path_factory.mktemp("nccl")
    for device, part in pd.read_csv(TABLE).groupby("device"):
        part.to_csv(folder / f"{device}.csv", index=False)
    return folder


@pytest.mark.parametrize("machine", SHIPPED)
def test_errors_of_shipped_machines(rows: Path, machine: str) -> None:
    device, most = SHIPPED[machine]
    found = compare(f"nvidia/{machine}", str(rows / f"{device}.csv"))
    assert found.rows == 504
    assert 0.02 < found.mape < most
    assert 0.7 < found.interval_coverage < 0.9
    assert all(kind.mape < 0.18 for kind in found.by_op.values())


def test_machines_that_nothing_was_fitted_on(rows: Path) -> None:
    for device, most in (("B300-SXM", 0.09), ("GB200", 0.09)):
        assert compare("nvidia/b200", str(rows / f"{device}.csv")).mape < most


def test_nccls_own_reckoning_is_far_better_than_the_links_rate(rows: Path) -> None:
    assert compare("nvidia/h200-sxm@facts", str(rows / "H200-SXM-141GB.csv")).mape < 0.17
