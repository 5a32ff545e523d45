"""`devices` and `measure` as a user calls them; a measurement that is killed goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from vulkan_here import needs_vulkan

from simexplore.kernels.datasets import read_measurements

Command = Callable[..., Result]


def test_devices_lists_what_is_here_and_how_to_mend_what_is_not(command: Command) -> None:
    reports = {report["backend"]: report for report in json.loads(command("devices", "--json").stdout)}
    vulkan = reports["vulkan"]
    assert set(vulkan) == {"backend", "suites", "devices", "missing"}
    assert vulkan["devices"] or vulkan["missing"]
    assert all(missing["mend"] for report in reports.values() for missing in report["missing"])
    text = command("devices").stdout
    for device in vulkan["devices"]:
        assert device["name"] in text
    for missing in vulkan["missing"]:
        assert missing["mend"] in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "vulcan", "--suite", "exam", "-o", "x.csv"), "did you mean 'vulkan'"),
        (("--backend", "vulkan", "--suite", "exams", "-o", "x.csv"), "did you mean 'exam'"),
        (("--backend", "vulkan", "--suite", "exam", "-o", "x.txt"), "ends in .csv"),
        (("--backend", "vulkan", "--suite", "exam", "-o", "x.csv", "--device", "99"), "found 99"),
    ],
)
def test_mistakes_are_one_line(fails: Callable[..., str], arguments: tuple[str, ...], message: str) -> None:
    if arguments[1] == "vulkan":
        needs_vulkan()
    assert message in fails("measure", *arguments)


def test_a_budget_leaves_kernels_for_later(command: Command, tmp_path: Path) -> None:
    needs_vulkan()
    file = tmp_path / "micro.csv"
    call = ("measure", "--backend", "vulkan", "--suite", "micro", "-o", file, "--json")
    first = json.loads(command(*call, "--budget", "0.3").stdout)
    assert first["measured"] >= 1
    assert first["left_out"]["the time budget ended"] >= 1
    second = json.loads(command(*call, "--budget", "0").stdout)
    assert second["already_done"] == first["measured"]
    sidecar = json.loads((tmp_path / "micro.csv.json").read_text())
    assert {"device", "description", "versions", "seed", "runs"} <= set(sidecar)
    assert len(sidecar["runs"]) == 2
    assert all({"date", "command"} <= set(run) for run in sidecar["runs"])


def test_a_killed_measurement_resumes_without_losing_or_doubling_a_row(command: Command, tmp_path: Path) -> None:
    needs_vulkan()
    file = tmp_path / "exam.csv"
    call = ["measure", "--backend", "vulkan", "--suite", "exam", "-o", str(file), "--seed", "5"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from simexplore.cli.main import main; main()", *call],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and (not file.exists() or len(file.read_text().splitlines()) < 6):
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = pd.read_csv(file)
    assert 5 <= len(before) < 60, "killed too late to tell"
    assert command(*call, "--budget", "4").exit_code == 0
    after = pd.read_csv(file)
    assert len(after) > len(before)
    assert after["case"].is_unique
    pd.testing.assert_frame_equal(after.iloc[: len(before)][before.columns], before, check_dtype=False)
    assert len(read_measurements(file)) == len(after)
