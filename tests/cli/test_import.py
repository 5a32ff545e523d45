"""`simexplore import`: a profile in, measurements out."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from simexplore.cli.main import main

TRACE = Path(__file__).resolve().parents[1] / "data" / "kineto-cpu.json"


def test_rows_are_written_and_the_rest_is_listed(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    done = CliRunner().invoke(main, ["import", "kineto", str(TRACE), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "11 operators from 13 calls" in done.output
    assert "aten::sort" in done.output
    assert output.read_text().startswith("source,device,op,dtype")


def test_json(tmp_path: Path) -> None:
    arguments = ["import", "kineto", str(TRACE), "-o", str(tmp_path / "rows.csv"), "--device", "my CPU", "--json"]
    done = CliRunner().invoke(main, arguments)
    found = json.loads(done.output)
    assert found["rows"] == 11
    assert {"name", "reason", "calls", "time_s"} == set(found["unmatched"][0])
    assert "my CPU" in (tmp_path / "rows.csv").read_text()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["import", "ncu", str(TRACE), "-o", str(tmp_path / "rows.csv")])
    assert done.exit_code == 2
    assert "run ncu with --csv" in done.output
    assert not (tmp_path / "rows.csv").exists()
