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
    assert "56.6 % of the time in the profile" in done.output
    assert "aten::sort" in done.output
    assert output.read_text().startswith("source,device,op,dtype")


def test_json(tmp_path: Path) -> None:
    arguments = ["import", "kineto", str(TRACE), "-o", str(tmp_path / "rows.csv"), "--device", "my CPU", "--json"]
    done = CliRunner().invoke(main, arguments)
    found = json.loads(done.output)
    assert found["rows"] == 11
    assert 0.56 < found["matched_share"] < 0.57
    assert 0 < found["matched_s"] < 1
    assert {"name", "reason", "calls", "time_s"} == set(found["unmatched"][0])
    assert "my CPU" in (tmp_path / "rows.csv").read_text()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["import", "ncu", str(TRACE), "-o", str(tmp_path / "rows.csv")])
    assert done.exit_code == 2
    assert "run ncu with --csv" in done.output
    assert not (tmp_path / "rows.csv").exists()


def test_a_place_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["import", "kineto", str(TRACE), "-o", str(tmp_path / "absent" / "rows.csv")])
    assert done.exit_code == 2
    assert "expected a place that can be written" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_is_left_beside_the_table(tmp_path: Path) -> None:
    output = tmp_path / "100%#?.csv"
    done = CliRunner().invoke(main, ["import", "kineto", str(TRACE), "-o", str(output)])
    assert done.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["100%#?.csv"]


NCU = """"ID","Kernel Name","Device","CC","gpu__time_duration.sum"
"","","","","us"
"0","gemm(m=4096,n=4096,k=4096,dtype=bf16)","0","9.0","260.5"
"""


def test_an_ncu_report_is_compared_as_ncu_ran_it(tmp_path: Path) -> None:
    """Base clocks and flushed caches take longer than what --clock-control none and --cache-control none measure."""
    (tmp_path / "report.csv").write_text(NCU)
    predicted = {}
    for name, more in (("ncu", []), ("free", ["--clocks", "boost", "--caches", "warm"])):
        rows = tmp_path / f"{name}.csv"
        arguments = ["import", "ncu", str(tmp_path / "report.csv"), "-o", str(rows), "--device", "NVIDIA H200"]
        assert CliRunner().invoke(main, [*arguments, *more]).exit_code == 0
        compared = ["compare", "--arch", "nvidia/h200-sxm", "--measured", str(rows), "--physics-only", "--json"]
        done = CliRunner().invoke(main, compared)
        assert done.exit_code == 0, done.output
        predicted[name] = (json.loads(done.stdout)["bias"] + 1.0) * 260.5
    assert predicted["ncu"] > 1.1 * predicted["free"]
