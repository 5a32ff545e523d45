"""`simexplore calibrate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from made_up_rows import Truth, gemms, loops

import simexplore
from simexplore.archs.load import load_arch
from simexplore.sim.learn import correction as residual_fit

ARCH = "nvidia/h100-pcie"
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


def test_watts_alone(command: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="the extra [calibrate] is not installed")
    table, output = tmp_path / "watts.csv", tmp_path / "mine.yaml"
    gpu = load_arch(ARCH).physics_only()
    loops(gpu, Truth(130.0, 90e-12, 5e-12)).frame.to_csv(table, index=False)
    arguments = ("calibrate", ARCH, "--measured", table, "-o", output)
    told = command(*arguments).stdout
    assert "watts" in told
    assert "power.idle" in told
    data = json.loads(command(*arguments, "--json").stdout)
    assert data["watts"]["fitted"] == data["watts"]["rows"] == 20
    assert data["groups"] == {}
    assert load_arch(output).power.idle_w == pytest.approx(130.0, rel=0.02)


def test_identical_rows_teach_one_factor(command: Callable[..., Result], tmp_path: Path) -> None:
    """A thousand times the same kernel: nothing tells its rows apart, and the correction is that of all.

    It is too short a kernel to meet the power limit, so that how the rows were repeated does not matter.
    """
    pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")
    table = tmp_path / "same.csv"
    row = "mine,H100,gemm,bf16,128,4096,4096,50.0\n"
    table.write_text("source,device,op,dtype,m,n,k,time_us\n" + 1000 * row, encoding="utf-8")
    output = tmp_path / "same.yaml"
    assert command("calibrate", ARCH, "--measured", table, "--rows", 0, "-o", output).exit_code == 0
    work = (
        "run",
        "gemm(m=128,n=4096,k=4096)",
        "--arch",
        output,
        "--cache",
        "warm",
        "--launch",
        "stream",
        "--burst",
        "--json",
    )
    told = json.loads(command(*work).stdout)
    assert told["time_s"] == pytest.approx(50e-6, rel=0.05)
    assert told["correction"]["applied"] == 1


@pytest.mark.parametrize(
    ("missing", "extra"), [("scipy.optimize", ("--residual-rows", 0)), ("sklearn.ensemble", ("--rows", 0))]
)
def test_a_missing_package_is_named(
    fails: Callable[..., str], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str,
    extra: tuple[object, ...]
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, missing, None)
    told = fails("calibrate", "nvidia/h100-pcie", "--measured", rows, "-o", tmp_path / "x.yaml", *extra)
    assert "pip install 'simexplore[calibrate]'" in told


@pytest.mark.parametrize("output", ["x.txt", "absent/x.yaml", "folder.yaml"])
def test_what_cannot_be_written_is_told_before_the_fit(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("it was fitted")

    monkeypatch.setattr("simexplore.sim.learn.calibration.calibrate", never)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(simexplore.SimexploreError):
        simexplore.calibrate("nvidia/l4", rows, tmp_path / output)
    with pytest.raises(
        simexplore.SimexploreError, match=r"^apart: .*found 'vllm', whose values no other engine shares"
    ):
        simexplore.calibrate(ARCH, rows, tmp_path / "mine.yaml", engine="vllm", apart=True)
    with pytest.raises(simexplore.SimexploreError, match=r"^apart: .*found a family: leave one"):
        simexplore.calibrate(ARCH, rows, tmp_path / "mine.yaml", family=True, apart=True)
    with pytest.raises(simexplore.SimexploreError, match="leave out @"):
        simexplore.calibrate("nvidia/l4@facts", rows, tmp_path / "x.yaml")
