"""What a sweep answers on the terminal, in JSON and on its page; a point as an arch file that every command takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sweeps import write

import simexplore
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.report.sweep import sweep_html

TEXT = """\
name: memory of an H200
arch: nvidia/h200-sxm
workload: gemm(m=16,n=8192,k=8192)
parameters:
  dram.bandwidth: [2.4 TB/s, 3.6 TB/s, 4.8 TB/s, 7.2 TB/s, 9.6 TB/s]
  sm.count: [66, 132, 160]
  l2.bandwidth: 40 B/clk * sm.count
define:
  area_mm2: 300 mm2 + 2 mm2 * sm.count + 20 mm2 * dram.bandwidth / 0.8 TB/s
objectives: [time_s, area_mm2]
"""
"""A GEMM of a few rows, which DRAM bounds: 15 points."""
AREA_TODAY = 300.0 + 2.0 * 132 + 20.0 * 6.0


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep, finished, with what its verdict stands on."""
    folder = tmp_path_factory.mktemp("judged")
    Sweep.from_yaml(write(folder, TEXT)).fill(folder / "out", judge=True)
    return folder / "out"


@pytest.fixture(scope="module")
def told(judged: Path) -> dict[str, Any]:
    from simexplore.sim.explore.verdict.verdict import verdict_of

    with Store.open(judged) as store:
        return verdict_of(store).to_json()


def test_today_is_the_machine_as_it_is(told: dict[str, Any]) -> None:
    today = told["today"]
    assert today["axes"] == {"dram.bandwidth": 4.8e12, "sm.count": 132.0, "l2.bandwidth": 5020.0}
    assert today["values"]["area_mm2"] == pytest.approx(AREA_TODAY)
    alone = simexplore.estimate("gemm(m=16,n=8192,k=8192)", "nvidia/h200-sxm")
    assert today["values"]["time_s"] == pytest.approx(alone.time_s, rel=1e-9)
    assert set(today["ratios"].values()) == {1.0}


def test_designs_are_points_beside_today(told: dict[str, Any], judged: Path) -> None:
    with Store.open(judged) as store:
        table = store.results().set_index("point")
    assert 3 <= len(told["designs"]) <= 5
    for design in told["designs"]:
        row = table.loc[design["point"]]
        assert design["values"] == {"time_s": row["time_s"], "area_mm2": row["area_mm2"]}
        assert design["ratios"]["area_mm2"] == pytest.approx(row["area_mm2"] / AREA_TODAY)
        assert design["axes"]["l2.bandwidth"] == 40.0 * row["sm.count"]
    times = [design["values"]["time_s"] for design in told["designs"]]
    assert times == sorted(times)
    assert told["designs"][0]["why"] == "best time_s"
    assert told["conflict"]["objectives"] == ["time_s", "area_mm2"]
    assert told["distinct"] <= told["front"]


def test_a_change_is_told_with_what_it_takes(told: dict[str, Any]) -> None:
    wider = next(
        step for step in told["today"]["steps"] if step["axis"] == "dram.bandwidth" and step["after"] == 7.2e12
    )
    assert wider["before"] == 4.8e12
    assert wider["takes"]["area_mm2"] == pytest.approx(60.0)
    assert 0.15 < wider["gains"]["time_s"] < 1.0 / 3.0, "of a time that is mostly DRAM's"
    assert wider["gains"]["area_mm2"] == pytest.approx(-60.0 / (300.0 + 264.0 + 120.0))
    assert wider["per"]["time_s"]["area_mm2"] == pytest.approx(wider["gains"]["time_s"] / 60.0)
    assert "area_mm2" not in wider["per"], "it is no gain"
    ways = [(step["axis"], step["after"]) for step in told["today"]["steps"]]
    assert ways == [("dram.bandwidth", 3.6e12), ("dram.bandwidth", 7.2e12), ("sm.count", 66.0), ("sm.count", 160.0)]
    assert told["designs"][0]["steps"], "designs have next changes too"


def test_the_verdict_stands_first(command: Callable[..., Result], judged: Path) -> None:
    path = judged.parent / "sweep.yaml"
    lines = command("sweep", path, "-o", judged, "--jobs", "1").stdout.splitlines()
    assert lines[0] == "What to build beside NVIDIA H200 SXM 141 GB as it is:"
    assert lines[2].split() == ["design", "point", "dram.bandwidth", "sm.count", "time", "area"]
    assert lines[3].split()[:5] == ["today", "–", "4.8", "TB/s", "132"]
    assert "time and area, which conflict most" in "\n".join(lines)
    assert json.loads(command("pareto", judged, "--json").stdout)["verdict"]["machine"] == "NVIDIA H200 SXM 141 GB"


def test_the_verdict_is_on_the_page(judged: Path) -> None:
    pytest.importorskip("plotly")
    with Store.open(judged) as store:
        html = sweep_html(store, "now")
    assert "What to build beside NVIDIA H200 SXM 141 GB as it is" in html
    assert '"scatter":{"x":"time_s","y":"area_mm2"' in html


def test_a_sweep_of_work_alone_has_no_verdict(command: Callable[..., Result], tmp_path: Path) -> None:
    text = "arch: nvidia/h200-sxm\nworkload: gemm(m=16,n=8192,k=8192)\nparameters:\n  workload.m: [16, 32]\n"
    lines = command("sweep", write(tmp_path, text), "-o", tmp_path / "out", "--jobs", "1").stdout.splitlines()
    assert lines[0].startswith("no verdict: ")


def test_a_point_becomes_an_arch_file(command: Callable[..., Result], judged: Path, tmp_path: Path) -> None:
    file, trace = tmp_path / "mine.yaml", tmp_path / "trace.json"
    shown = command("arch", "from-point", judged, 14, "-o", file)
    assert shown.stdout == f"{file}: NVIDIA H200 SXM 141 GB, point 14\n"
    machine = simexplore.load_arch(file)
    assert (machine.dram.bandwidth_bytes_per_s, machine.sm.count) == (9.6e12, 160)
    assert machine.l2.bandwidth_bytes_per_clk == 6400.0
    for key in ("dram.bandwidth", "sm.count", "l2.bandwidth"):
        assert machine.source_of(key).startswith("point 14 of the sweep 'memory of an H200' (grid, seed 0)")
    assert "point 14" not in machine.source_of("l2.capacity")
    with Store.open(judged) as store:
        stored = store.results().set_index("point").loc[14, "time_s"]
    arguments = ("gemm(m=16,n=8192,k=8192)", "--arch", file)
    run = json.loads(command("run", *arguments, "--json", "--estimate").stdout)
    assert run["time_s"] == pytest.approx(stored, rel=1e-9)
    assert command("run", *arguments, "--trace", trace).exit_code == 0
    assert json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    assert command("arch", "from-point", judged, 14).stdout == file.read_text(encoding="utf-8")


def test_mistakes(fails: Callable[..., str], judged: Path, tmp_path: Path) -> None:
    assert "expected a point from 0 to 14, found 15" in fails("arch", "from-point", judged, 15)
    assert "can't be written" in fails("arch", "from-point", judged, 1, "-o", tmp_path / "absent" / "mine.yaml")
