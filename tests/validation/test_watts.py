"""Watts against boards: FP32 loops by their own rows and by none of them, an H200 at its power limit, quiet operands.

The measured tables are not part of the project: they are looked for beside the checkout. A figure with a gap fails once
the gap closes, so that it is promoted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simexplore.archs.load import read_document
from simexplore.sim.studies import power_limit, reproduce, watts

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "measured"


def test_watts_of_loops() -> None:
    if not (SHARED / watts.TABLE).is_file():
        pytest.skip(f"no {watts.TABLE} beside the checkout")
    pytest.importorskip("scipy", reason="the extra [calibrate] is not installed")
    figures = watts.figures(SHARED)
    assert len({figure.device for figure in figures}) == 5
    assert not [figure for figure in figures if figure.error > figure.most]
    bounds = {(figure.device, figure.kind): figure.most for figure in figures}
    for device in ("A100 40 GB", "A40", "H200", "L40S", "L40"):
        assert bounds[device, "own"] <= 3.0
        assert bounds[device, "left_out"] <= 10.0
    assert bounds["A40", "clock"] <= 3.0


def test_an_h200_at_its_limit() -> None:
    if not all((SHARED / name).is_file() for name in power_limit.TABLES):
        pytest.skip(f"no {power_limit.TABLES[0]} beside the checkout")
    pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")
    records = reproduce("power_limit", SHARED)
    told = read_document(power_limit.PUBLISHED).data["figures"]
    for record, figure in zip(records, told, strict=True):
        low, high = figure["ratio"]
        assert (low <= record["ratio"] <= high) == (record["status"] == "enforced"), record
