"""Rows of CUDA's micro-benchmarks beside the machine's: which figure a row is, and what rows settle of a GPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simexplore.archs.load import load_arch
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.cuda.device import features_of
from simexplore.kernels.suites import cases_of
from simexplore.sim.studies import hopper
from simexplore.sim.studies.measured_micro import FIGURES, beside, settled

TOOL = Path(__file__).resolve().parents[3] / "tools" / "measure_gpu.py"
SMS = 132
CYCLES, SECONDS = 65536.0, 1e-3


def rows() -> pd.DataFrame:
    """Suite hopper and micro as a GPU of 132 SMs would have them, every kernel 65,536 clocks and a millisecond long."""
    limits = {"cores": float(SMS), "l2_bytes": float(50 << 20), "shared_memory_bytes": 232448.0}
    device = Device("cuda", 0, "any GPU", "discrete GPU", "none", features_of(9, 0), limits)
    records: list[dict[str, Any]] = []
    for suite in ("micro", "hopper"):
        for case in cases_of(suite, device, 0)[0]:
            rates = {"gflop_per_s": case.work_flops / SECONDS / 1e9, "gb_per_s": case.work_bytes / SECONDS / 1e9}
            clocks = {"cycles": CYCLES, "cycles_low": 0.9 * CYCLES, "cycles_high": 1.2 * CYCLES, "sm_mhz": 1500.0}
            records.append({**case.columns(), "time_us": SECONDS * 1e6, **rates, **clocks})
    return pd.DataFrame(records)


def test_every_kind_of_figure_has_rows_and_its_benchmark() -> None:
    gpu, table = load_arch("nvidia/h100-sxm@facts"), rows()
    found, without = beside(gpu, table)
    assert all(any(figure.of(row) for row in records(table, figure.op)) for figure in FIGURES)
    assert len(found) > 100
    assert all(figure.measured > 0.0 and figure.simulated > 0.0 for figure in found)
    by_quantity = {figure.quantity: figure for figure in found}
    latency = by_quantity["mma.sync m16n8k16 fp16, latency"]
    assert latency.measured == CYCLES / 256
    assert latency.simulated == hopper.mma_latency(gpu, 16, 8, 16, "fp16")
    assert latency.ratio == latency.simulated / latency.measured
    shared = by_quantity["distributed shared memory, clusters of 4"]
    assert shared.measured == pytest.approx(SMS // 4 * 4 * 8192 * 4 * 64 / SECONDS / 1e12)
    assert by_quantity["bulk copies of 4096 B by 264 CTAs"].simulated == hopper.bulk_copy(gpu, 4, 2)
    tensor = by_quantity["boxes of 32 x 32 x 1 words by 264 CTAs, one in flight"]
    assert tensor.simulated == hopper.bulk_copy(gpu, 4, 2, rank=2)
    assert all("no benchmark" in reason or "has no" in reason for reason in without)


def records(table: pd.DataFrame, op: str) -> list[dict[str, Any]]:
    frame = table.assign(work_bytes=table["gb_per_s"] * table["time_us"] * 1e3)
    return [{str(name): value for name, value in row.items()} for row in frame[frame["op"] == op].to_dict("records")]


def test_a_machine_without_instructions_is_told_for_each_row() -> None:
    found, without = beside(load_arch("nvidia/l40s@facts").model_copy(update={"instructions": None}), rows())
    assert {figure.quantity.split(" ")[0] for figure in found} <= {"pointer", "wgmma"}
    assert any("no instructions section" in reason for reason in without)


def test_what_rows_settle() -> None:
    table = rows()
    walk = (table["op"] == "pointer_chase") & (table["cached"] == 0)
    table.loc[walk, "cycles"] = table.loc[walk, "loads"] * (200 + 400.0 * (table.loc[walk, "bytes"] > 40 << 20))
    figures = settled(table)
    assert figures["l2_near_clk"] == pytest.approx(0.9 * CYCLES / 4096)
    assert figures["l2_far_clk"] == pytest.approx(1.2 * CYCLES / 4096)
    assert figures["wgmma_alone_clk"] == CYCLES / 256
    assert figures["busy_sm_mhz"] == 1500.0
    assert figures["l2_knee_bytes"] == pytest.approx(0.75 * (50 << 20), abs=64), "the last footprint before the step"
    assert settled(table[table["op"] == "dpx"]) == {}


def tool() -> Any:
    spec = importlib.util.spec_from_file_location("measure_gpu", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_gpu"] = module
    spec.loader.exec_module(module)
    return module


def test_the_tool_measures_compares_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tool()
    options = ["--arch", "nvidia/h100-sxm", "--root", str(tmp_path), "--backends", "null,cuda"]
    monkeypatch.setattr(sys, "argv", ["measure_gpu.py", "here", *options])
    folder = tmp_path / "here"
    folder.mkdir()
    assert module.main() == 0
    assert "null-micro.csv: 7 measured, 0 were there" in capsys.readouterr().out
    rows().assign(case="x").to_csv(folder / "cuda-hopper.csv", index=False)
    assert module.main() == 0
    said = capsys.readouterr().out
    assert "null-micro.csv: 0 measured, 7 were there" in said
    assert "mma.sync m16n8k16 fp16, latency: measured 256, simulated" in said
    document = json.loads((folder / "predicted.json").read_text())
    assert document["operators"]["null-micro.csv"]["rows"] == 7
    assert len(document["micro"]) > 100
    assert document["settled"]["busy_sm_mhz"] == 1500.0
    assert (folder / "null-micro.csv.json").exists()


def test_the_tool_says_what_is_missing_and_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tool()
    (tmp_path / "null-micro.csv").write_text("case\nx\n")
    wrong = module.measured(tmp_path, ["null", "cuda"], {"cuda": 99}, 1.0)
    assert "expected the sidecar" in wrong["null-micro.csv"]
    assert set(wrong) == {"null-micro.csv", "cuda"}
    assert "cuda: left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--backends", "cuda", "--device", "cuda=99"), "expected a device to measure on, found none: cuda: "),
        (("--backends", "nothing"), "expected a device to measure on, found none: "),
        (("--device", "cuda=x"), "--device: expected such as cuda=0,torch=1, found 'cuda=x'"),
        (("--arch", "nvidia/h100-smx"), "did you mean 'nvidia/h100-sxm'"),
    ],
)
def test_the_tool_without_a_device_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...],
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["measure_gpu.py", "x", "--arch", "nvidia/t4", "--root", str(tmp_path), *options])
    assert tool().main() == 2
    told = capsys.readouterr()
    assert told.err.startswith("measure_gpu.py: ")
    assert said in told.err
    assert told.err.count("\n") == 1
    assert "has all of it" not in told.out
    assert not list(tmp_path.iterdir())
