"""`simexplore sweep` and `simexplore pareto`."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from sweeps import GEMM, SMALL, killed_again_and_again, start, stored, wait_for, write

import simexplore
from simexplore.sim.explore.store import Store

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*.yaml"))
SWEEPS = [path for path in EXAMPLES if "\nparameters:" in path.read_text(encoding="utf-8")]
ONE = ("--jobs", "1")


def test_a_sweep_prints_its_front_and_where_things_lie(command: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    shown = command("sweep", write(tmp_path), "-o", out, *ONE, "--export", tmp_path / "table.csv").stdout
    assert shown.startswith("What to build beside NVIDIA H200 SXM 141 GB as it is, decode.context = 1024:\n")
    assert "\nsmall: 24 points, 4 of them against area_mm2 <= 800 mm2\n" in shown
    assert "on the Pareto front of time_s, area_mm2" in shown
    (header,) = (line.split() for line in shown.splitlines() if line.lstrip().startswith("point"))
    assert header == ["point", "dram.bandwidth", "sm.count", "decode.context", "time_s", "area_mm2", "bound"]
    assert f"table   {out / 'results.parquet'}" in shown
    assert f"report  {out / 'report.html'}" in shown
    assert (out / "report.html").stat().st_size > 10_000
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(pd.read_parquet(out / "results.parquet")) == 24


def test_json_is_a_line_for_each_point(command: Callable[..., Result], tmp_path: Path) -> None:
    path = write(tmp_path, SMALL, ("[1024, 4096]", "[1024, 100000000]"))
    lines = [json.loads(line) for line in command("sweep", path, "-o", tmp_path, *ONE, "--json").stdout.splitlines()]
    last = lines.pop()
    verdict = last["verdict"]
    assert (last["version"], last["machine"], last["sweep"]) == (simexplore.__version__, verdict["machine"], "small")
    assert verdict["machine"] == "NVIDIA H200 SXM 141 GB"
    assert sorted(line["point"] for line in lines) == list(range(24))
    fine = [line for line in lines if "error" not in line]
    assert len(fine) == 12
    assert {"time_s", "energy_j", "peak_memory_bytes", "tokens_per_s", "bound", "feasible", "area_mm2"} <= set(fine[0])
    assert isinstance(fine[0]["sm.count"], int)
    assert isinstance(fine[0]["feasible"], bool)
    (failed, *_) = (line for line in lines if "error" in line)
    assert failed["time_s"] is None
    assert "device memory" in failed["error"]
    again = command("sweep", path, "-o", tmp_path, *ONE, "--json")
    assert json.loads(again.stdout) == last, "what is done is not done again"


def test_failures_are_told(command: Callable[..., Result], tmp_path: Path) -> None:
    some = write(tmp_path, SMALL, ("[1024, 4096]", "[1024, 100000000]"))
    assert "12 points failed (1 causes); the first: needs" in command("sweep", some, "-o", tmp_path / "a", *ONE).stdout
    none = write(tmp_path, SMALL, ("[1024, 4096]", "[100000000]"))
    for options in ((), ("--json",)):
        result = command("sweep", none, "-o", tmp_path / "b", *ONE, *options)
        assert result.exit_code == 2
        assert result.stderr.startswith(
            "simexplore: expected a point that can be evaluated, found none of 12; the first"
        )
        assert "device memory" in result.stderr


def test_a_dry_run(command: Callable[..., Result], tmp_path: Path) -> None:
    path = write(tmp_path)
    data = json.loads(command("sweep", path, "--dry-run", "--jobs", "2", "--json").stdout)
    assert set(data) == {"version", "machine", "workload", "sweep", "points", "jobs", "point_s", "time_s"}
    assert data["points"] == 24
    assert data["time_s"] == pytest.approx(24 / min(2, os.cpu_count() or 1) * data["point_s"])
    shown = command("sweep", path, "--dry-run", "--sampler", "random", "--budget", "2000000", *ONE).stdout
    assert shown.startswith("2,000,000 points, ")
    assert "about " in shown
    assert not (tmp_path / "sweep.sqlite").exists()


def test_options_of_the_command(command: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    for sampler in ("random", "nsga2"):
        options = ("--sampler", sampler, "--budget", "12", "--seed", "3", "--fidelity", "execute")
        command("sweep", write(tmp_path), "-o", tmp_path / sampler, *ONE, *options)
        with Store.open(tmp_path / sampler) as store:
            assert store.metadata["sampler"] == sampler
            assert store.metadata["fidelity"] == "execute"
            assert store.metadata["seed"] == 3
            assert 6 <= store.count() <= 12


def test_another_sweep_in_the_folder_is_refused(
    command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path
) -> None:
    command("sweep", write(tmp_path), "-o", tmp_path / "out", *ONE)
    changed = write(tmp_path, SMALL, ("steps: 4", "steps: 5"))
    told = fails("sweep", changed, "-o", tmp_path / "out", *ONE)
    assert "holds another sweep (its parameters were others): choose another folder with -o" in told


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("", 1, "top level"),
        ("arch: nvidia/h200-sxm\nworkload: gelu(elements=4)\nparameters:\n  sm.cuont: [1]\n", 4, "'sm.cuont'"),
        (SMALL.replace("2.4 TB/s", "2.4 TB"), 7, "from"),
        (SMALL.replace("[time_s, area_mm2]", "[time_s, csot]"), 13, "objectives.1"),
        (SMALL + "samplr: sobol\n", 16, "samplr"),
    ],
)
def test_a_malformed_file_is_one_line_and_code_2(
    fails: Callable[..., str], tmp_path: Path, text: str, line: int, key: str
) -> None:
    path = write(tmp_path, text)
    told = fails("sweep", path, "-o", tmp_path / "out")
    assert told.startswith(f"simexplore: {path}:{line}: ")
    assert key in told
    assert "expected" in told
    assert "found" in told
    assert not (tmp_path / "out").exists()


def test_mistakes(fails: Callable[..., str], command: Callable[..., Result], tmp_path: Path) -> None:
    assert "a readable file" in fails("sweep", tmp_path / "absent.yaml", "-o", tmp_path)
    assert "expected a folder that simexplore sweep has written" in fails("pareto", tmp_path / "nothing")
    missing = command("sweep", write(tmp_path))
    assert missing.exit_code == 2
    assert "--output" in missing.stderr


@pytest.mark.parametrize("installed", [True, False])
def test_a_scheduler_that_is_not_there(
    fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if installed:
        pytest.importorskip("distributed", reason="the extra [sweep] is not installed")
    else:
        monkeypatch.setitem(sys.modules, "distributed", None)
    told = fails("sweep", write(tmp_path), "-o", tmp_path, "--scheduler", "tcp://127.0.0.1:1")
    assert ("expected a Dask scheduler" if installed else "pip install 'simexplore[sweep]'") in told


def test_pareto(command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command("sweep", write(tmp_path), "-o", out, *ONE)
    shown = command("pareto", out, "--objectives", "time_s,energy_j").stdout
    assert "on the Pareto front of time_s, energy_j" in shown
    assert "hypervolume" in shown
    data = json.loads(command("pareto", out, "--json").stdout)
    assert data["objectives"] == {"time_s": "min", "area_mm2": "min"}
    assert data["hypervolume"] > 0
    assert {point["status"] for point in data["points"]} == {"front"}
    everything = json.loads(command("pareto", out, "--json", "--all").stdout)
    assert len(everything["points"]) == 20
    assert json.loads(command("pareto", out, "--objectives", "utilization.dram", "--json").stdout)["objectives"] == {
        "utilization.dram": "max"
    }
    assert "did you mean 'time_s'" in fails("pareto", out, "--objectives", "tme_s")


@pytest.mark.parametrize("example", SWEEPS, ids=lambda path: path.name)
def test_examples_run(command: Callable[..., Result], tmp_path: Path, example: Path) -> None:
    options = ("--sampler", "random", "--budget", "40", *ONE)
    shown = command("sweep", example, "-o", tmp_path, *options).stdout
    assert re.search(r"\b\d\d points", shown)
    assert "on the Pareto front" in shown
    with Store.open(tmp_path) as store:
        failed = store.failures()
    assert all("of memory at cpu" in error for error in failed["error"])  # host memory is an axis of one


def test_killed_at_random_moments_it_ends_with_the_same_bytes(command: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write(tmp_path, GEMM.format(steps=12))
    command("sweep", path, "-o", tmp_path / "whole", *ONE)
    died = killed_again_and_again(path, tmp_path / "killed", 14 * 12**2, kills=3, seed=1)
    assert died >= 2
    tables = [tmp_path / name / "results.parquet" for name in ("whole", "killed")]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(command: Callable[..., Result], tmp_path: Path) -> None:
    path, out = write(tmp_path, GEMM.format(steps=60)), tmp_path / "out"
    process = start(path, out)
    wait_for(out, 100, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("simexplore: stopped: ")
    assert f"points are in {out}; the same command goes on from there" in said
    assert "Traceback" not in said
    assert 100 <= stored(out) < 14 * 60**2


def test_ctrl_c_while_workers_start_is_as_clean(tmp_path: Path) -> None:
    """A terminal sends it to all processes of the command."""
    path, out = write(tmp_path, GEMM.format(steps=60)), tmp_path / "out"
    process = start(path, out, jobs=2)
    until = time.monotonic() + 60.0
    while not (out / "sweep.sqlite").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("simexplore: stopped: ")
    assert "Traceback" not in said
