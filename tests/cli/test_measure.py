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


KILLS = 3


def test_a_measurement_that_is_killed_again_and_again_loses_and_doubles_nothing(
    command: Command, tmp_path: Path
) -> None:
    """Killed after more and more rows, while rows are appended and, in later rounds, rewritten."""
    needs_vulkan()
    file = tmp_path / "neural.csv"
    call = ["measure", "--backend", "vulkan", "--suite", "neural", "-o", str(file), "--seed", "5"]
    seen: dict[str, float] = {}
    for kill in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", "from simexplore.cli.main import main; main()", *call],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for(file, len(seen) + 2, process)
        time.sleep(0.13 * kill)
        process.kill()
        process.wait()
        rows = pd.read_csv(file)
        assert rows["case"].is_unique
        now = dict(zip(rows["case"], rows["time_us"], strict=True))
        assert set(seen) <= set(now), "no row is lost"
        assert all(now[case] <= seen[case] for case in seen), "a round may only lower a time"
        seen = now
    last = json.loads(command(*call, "--json").stdout)
    assert last["already_done"] == len(seen)
    rows = pd.read_csv(file)
    assert len(rows) == last["already_done"] + last["measured"]
    assert rows["case"].is_unique
    if "rounds" in rows:  # on a CPU
        assert (rows["rounds"] >= 3).all()
    again = json.loads(command(*call, "--json").stdout)
    assert (again["measured"], again["already_done"]) == (0, len(rows))
    assert len(read_measurements(file)) == len(rows)


def _wait_for(file: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    """Until a table has so many rows, or its process is through."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and len(file.read_text().splitlines()) > rows:
            return
        time.sleep(0.02)
    assert process.poll() is not None, "nothing was written in a minute"
