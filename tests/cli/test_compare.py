"""`simexplore compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "measured"

ROWS = """source,device,op,dtype,m,n,k,time_us
mine,NVIDIA H200,gemm,bf16,1,4096,4096,9
mine,NVIDIA H200,gemm,bf16,512,4096,4096,30
mine,NVIDIA H200,gemm,fp8,512,4096,4096,20
mine,NVIDIA H200,fft2d,fp32,,,,50
"""
FIGURES = {"rows", "mape", "median_ape", "p90_ape", "bias", "interval_coverage", "rows_per_s"} | {
    "power_rows",
    "power_mape",
    "power_bias",
    "power_coverage",
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def test_json(command: Callable[..., Result], rows: Path) -> None:
    result = command("compare", "--arch", "nvidia/h200-sxm", "--measured", rows, "--physics-only", "--json")
    data = json.loads(result.stdout)
    assert data["rows"] == 3
    assert (data["machine"], data["measured"]) == ("NVIDIA H200 SXM 141 GB", [str(rows)])
    assert set(data) >= FIGURES
    assert set(data["by_op"]) == {"gemm"}
    assert set(data["by_op"]["gemm"]) == FIGURES
    assert data["refused"] == {"operator fft2d is not modelled": 1}
    assert result.stderr == ""


def test_choosing_and_several_tables(command: Callable[..., Result], rows: Path) -> None:
    both = ("--measured", rows, "--measured", rows)
    result = command("compare", "--arch", "nvidia/h200-sxm", *both, "--op", "gemm", "--dtype", "bf16", "--json")
    data = json.loads(result.stdout)
    assert (data["rows"], data["refused"]) == (4, {})


def test_table(command: Callable[..., Result], rows: Path) -> None:
    shown = command("compare", "--arch", "nvidia/h200-sxm", "--measured", rows).stdout
    lines = [line.split() for line in shown.splitlines() if line]
    assert lines[0] == ["NVIDIA", "H200", "SXM", "141", "GB:", "3", "rows"]
    assert ["gemm", "bf16", "2"] in [line[:3] for line in lines]
    assert "operator fft2d is not modelled     1" in shown


def test_watts_are_a_table_of_their_own(command: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "watts.csv"
    head, first, *_ = ROWS.splitlines()
    long = "mine,NVIDIA H200,gemm,bf16,8192,8192,8192,1500,695"
    path.write_text(f"{head},power_w\n{first},300\n{long}\n", encoding="utf-8")
    asked = ("compare", "--arch", "nvidia/h200-sxm", "--measured", path, "--physics-only")
    text = command(*asked).stdout
    assert "watts of" in text
    assert json.loads(command(*asked, "--json").stdout)["power_rows"] == 1
    path.write_text(f"{head}\n{first}\n", encoding="utf-8")
    assert "watts of" not in command(*asked).stdout


def test_overrides_change_the_prediction(command: Callable[..., Result], rows: Path) -> None:
    base = ("compare", "--arch", "nvidia/h200-sxm", "--measured", rows, "--json")
    slow = json.loads(command(*base, "--set", "sm.count=33").stdout)
    assert slow["bias"] > json.loads(command(*base).stdout)["bias"]


def test_another_device_is_a_line_on_stderr(command: Callable[..., Result], rows: Path) -> None:
    result = command("compare", "--arch", "nvidia/l40s", "--measured", rows, "--dtype", "bf16", "--json")
    assert json.loads(result.stdout)["warnings"]
    first, *others = result.stderr.splitlines()
    assert first == "simexplore: warning: 2 rows were measured on NVIDIA H200, the machine is NVIDIA L40S"
    assert ["faster than the machine's units and DRAM" in line for line in others] == [True]


def test_mistakes(fails: Callable[..., str], rows: Path, tmp_path: Path) -> None:
    def told(*arguments: object) -> str:
        return fails("compare", "--arch", "nvidia/h200-sxm", *arguments)

    assert "expected a file, found nothing" in told("--measured", tmp_path / "absent.csv")
    assert "no measured row has op 'gem'; did you mean 'gemm'" in told("--measured", rows, "--op", "gem")
    assert "nothing to compare" in told("--measured", rows, "--op", "fft2d")
    broken = tmp_path / "broken.csv"
    broken.write_text(ROWS.replace(",30", ",fast"), encoding="utf-8")
    assert f"{broken}:3: time_us: expected a time above 0 in microseconds, found 'fast'" in told("--measured", broken)


def test_measured_gemms_of_an_h200(command: Callable[..., Result]) -> None:
    file = SHARED / "aic_h200_sxm_gemm.csv"
    if not file.is_file():
        pytest.skip(f"no {file.name} beside the checkout")
    arguments = ("--measured", file, "--dtype", "bf16", "--physics-only", "--json")
    data = json.loads(command("compare", "--arch", "nvidia/h200-sxm@facts", *arguments).stdout)
    assert data["rows"] > 9000
    assert data["mape"] <= 0.20
    assert data["refused"] == {}
    assert data["predictor"] == "physics"


def test_predictors_side_by_side(command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    lines = [f"mine,NVIDIA H200,gemm,bf16,{64 * m},4096,4096,{9 + m}" for m in range(1, 21)]
    path.write_text("\n".join([ROWS.splitlines()[0], *lines]) + "\n", encoding="utf-8")
    base = ("compare", "--arch", "nvidia/h200-sxm", "--measured", path)
    both = command(*base, "--predictor", "roofline", "--predictor", "physics", "--json")
    predictors = json.loads(both.stdout)["predictors"]
    assert list(predictors) == ["roofline", "physics"]
    assert {data["rows"] for data in predictors.values()} == {4}
    assert predictors["roofline"]["bias"] < predictors["physics"]["bias"]
    alone = json.loads(command(*base, "--predictor", "roofline", "--json").stdout)
    assert (alone["predictor"], alone["rows"]) == ("roofline", 20)
    shown = command(*base, "--predictor", "roofline", "--predictor", "physics").stdout
    assert "gemm bf16, roofline" in shown
    assert "gemm bf16, physics" in shown
    assert "predictor: expected full" in fails(*base, "--predictor", "guess")
