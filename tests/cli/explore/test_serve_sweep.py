"""`simexplore sweep` over loads that are served: killed, gone on with by others, judged, reported."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from served import SERVED
from sweeps import start, stored, wait_for, write

Command = Callable[..., Result]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with signals")
def test_killed_and_gone_on_with_by_one_process_it_ends_with_the_same_bytes(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write(tmp_path, SERVED, ("[4, 12.3456789]", "[4, 12.3456789, 20]"))
    shown = command("sweep", path, "-o", tmp_path / "whole", "--jobs", "1")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("What to build beside NVIDIA H100 SXM5 80 GB as it is, serve.rate = 4:\n")
    assert "6 points" in shown.stdout
    assert "bound" not in shown.stdout
    assert (tmp_path / "whole" / "report.html").stat().st_size > 10_000
    process = start(path, tmp_path / "killed", jobs=2)
    wait_for(tmp_path / "killed", 3, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert stored(tmp_path / "killed") in (3, 6)
    assert command("sweep", path, "-o", tmp_path / "killed", "--jobs", "1").exit_code == 0
    tables = [tmp_path / name / "results.parquet" for name in ("whole", "killed")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    told = json.loads(command("pareto", tmp_path / "killed", "--json").stdout)
    assert told["objectives"] == {"ttft_p99_s": "min", "energy_per_output_token_j": "min"}
    assert told["verdict"]["today"]["values"]["ttft_p99_s"] > 0.0


def test_what_it_will_take_is_told_before(command: Command, tmp_path: Path) -> None:
    told = json.loads(command("sweep", write(tmp_path, SERVED), "--dry-run", "--jobs", "1", "--json").stdout)
    assert told["points"] == 4
    assert 0.0 < told["point_s"] < 20.0
    assert not (tmp_path / "out").exists()
