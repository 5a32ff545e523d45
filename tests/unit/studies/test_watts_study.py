"""Watts of FP32 loops on a twin of gpu-benches' table, whose boards draw by the equation and energies known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from made_up_rows import Truth, loops

from simexplore.archs.load import load_arch, read_document
from simexplore.errors import SimexploreError
from simexplore.sim.studies import reproduce, watts

pytest.importorskip("scipy", reason="the extra [calibrate] is not installed")

KEYS = {"paper", "quantity", "unit", "published", "simulated", "ratio", "status", "source"}
STATIC_PER_NM = {"HBM": 0.02, "GDDR": 0.06}
"""Idle power over TDP of each nanometre of feature size: what one board teaches of another holds exactly."""
DRAM = {"HBM": 90e-12, "GDDR": 60e-12}
FMA_PER_NM = 0.9e-12


def twin(folder: Path) -> None:
    """Boards whose idle power and multiply-adds are linear in feature size; the A40 meets its limit."""
    tables = []
    for told in read_document(watts.PUBLISHED).data["devices"]:
        gpu = load_arch(f"{told['arch']}@facts", told.get("set", {}))
        memory = "HBM" if gpu.dram.technology.startswith("HBM") else "GDDR"
        idle = STATIC_PER_NM[memory] * told["node_nm"] * gpu.power.tdp_w
        limit = gpu.power.tdp_w if told["key"] == "A40" else float("inf")
        truth = Truth(idle, DRAM[memory], FMA_PER_NM * told["node_nm"], gpu.power.clocked_share, limit)
        device, _, board = told["table"].partition("/")
        frame = loops(gpu, truth, rows=40, device=device).frame
        tables.append(frame.assign(gpu_index=board or "0", gflops=1.0, temp_c=50))
    table = pd.concat(tables)
    rate = 4.0 * table["elements"] / table["time_us"] * 1e-3
    table = table.assign(ai_flop_per_byte=table["flops_per_element"] / 4.0, gbps=rate)
    table.drop(columns=["elements", "flops_per_element", "time_us"]).to_csv(folder / watts.TABLE, index=False)


def test_a_twin_is_told_by_its_own_rows_and_by_the_others(tmp_path: Path) -> None:
    twin(tmp_path)
    found = {(figure.device, figure.kind): figure for figure in watts.figures(tmp_path)}
    assert {device for device, _ in found} == {"A100 40 GB", "A40", "H200", "L40S", "L40"}
    for (_, kind), figure in found.items():
        if kind in ("own", "left_out", "power"):
            assert figure.error < 2.0, figure
    clock = found["A40", "clock"]
    assert clock.error < 1.0
    assert clock.published < 1740.0
    assert found["H200", "power"].simulated == pytest.approx(found["H200", "power"].published, rel=0.01)


def test_what_stands_beside_an_error_is_what_a_constant_errs(tmp_path: Path) -> None:
    twin(tmp_path)
    told = next(entry for entry in read_document(watts.PUBLISHED).data["devices"] if entry["key"] == "H200")
    device = watts.device_of(told, tmp_path / watts.TABLE)
    held_out = device.held_out(device.gpu).power_w
    assert len(held_out) == 20
    error = 100.0 * abs(device.constant_w / held_out - 1.0).mean()
    own = next(figure for figure in watts.figures(tmp_path) if (figure.device, figure.kind) == ("H200", "own"))
    assert own.published == pytest.approx(error)
    assert error > 5.0


def test_records_have_the_promised_keys(tmp_path: Path) -> None:
    twin(tmp_path)
    records = reproduce("watts", tmp_path)
    assert records
    assert all(set(record) == KEYS and record["status"] == "enforced" for record in records)
    assert all(record["ratio"] == record["simulated"] / record["published"] for record in records)


def test_a_table_without_watts_is_one_line(tmp_path: Path) -> None:
    twin(tmp_path)
    path = tmp_path / watts.TABLE
    pd.read_csv(path).drop(columns="power_w").to_csv(path, index=False)
    with pytest.raises(SimexploreError, match="watts: expected rows of alex_a100_40 with power_w"):
        reproduce("watts", tmp_path)
