"""`simexplore calibrate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from made_up_rows import gemms

from simexplore.archs.load import load_arch
from simexplore.sim.learn import correction as residual_fit

ARCH = "nvidia/h100-sxm"
PHYSICS_AS_IT_IS = ("--rows", 0)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual_fit, "SETTINGS", (residual_fit.Setting(3, 30, 0.2),))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    gemms(load_arch(ARCH).physics_only(), 150).frame.to_csv(path, index=False)
    return path


def test_json_then_run_and_compare(command: Callable[..., Result], rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")
    mine = tmp_path / "mine.yaml"
    arguments = ("calibrate", ARCH, "--measured", rows, *PHYSICS_AS_IT_IS, "--residual-rows", 100, "-o", mine)
    data = json.loads(command(*arguments, "--json").stdout)
    group = data["groups"]["gemm bf16 stream"]
    assert (group["rows"], group["held_out"]["rows"]) == (100, 50)
    assert (data["values"], data["unseen"], data["refused"]) == ({}, [], {})
    compared = json.loads(command("compare", "--arch", mine, "--measured", rows, "--json").stdout)
    assert (compared["rows"], compared["fitted_rows"]) == (50, 100)
    assert compared["mape"] == pytest.approx(group["held_out"]["full_mape"], rel=0.01)
    assert len(group["held_out"]["coverage_by_size"]) == 3
    assert 0.0 < compared["interval_coverage"] <= 1.0
    physics = json.loads(command("compare", "--arch", mine, "--measured", rows, "--json", "--physics-only").stdout)
    assert physics["mape"] == pytest.approx(group["held_out"]["physics_mape"], rel=0.01)
    shown = command("compare", "--arch", mine, "--measured", rows).stdout
    assert "50 rows (100 more left out: the machine was fitted on them)" in shown
    run = json.loads(command("run", "gemm(m=512,n=512,k=512)", "--arch", mine, "--json").stdout)
    assert run["time_low_s"] < run["time_s"] < run["time_high_s"]
    assert command("arch", "validate", mine).exit_code == 0


def test_table_without_a_correction(command: Callable[..., Result], rows: Path, tmp_path: Path) -> None:
    arguments = ("calibrate", ARCH, "--measured", rows, *PHYSICS_AS_IT_IS, "--residual-rows", 0)
    result = command(*arguments, "-o", tmp_path / "mine.yaml")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["gemm", "bf16", "stream", "0", "0", *4 * "–"] in lines
    assert (
        result.stderr == f"simexplore: machine written to {tmp_path}/mine.yaml: use it as --arch {tmp_path}/mine.yaml\n"
    )


def test_mistakes(command: Callable[..., Result], fails: Callable[..., str], rows: Path, tmp_path: Path) -> None:
    def told(output: Path) -> str:
        arguments = ("calibrate", ARCH, "--measured", rows, *PHYSICS_AS_IT_IS, "--residual-rows", 0)
        return fails(*arguments, "-o", output)

    assert "the overlay can't be written" in told(tmp_path / "absent" / "mine.yaml")
    ending = command("calibrate", ARCH, "--measured", rows, "-o", tmp_path / "mine.txt")
    assert ending.exit_code == 2
    assert "expected a name that ends in .yaml, found 'mine.txt'" in ending.stderr
