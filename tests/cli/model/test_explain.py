"""`simexplore explain`, and `simexplore run` on several machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from simexplore.sim.explain import what_if

GEMM = "gemm(m=512,n=4096,k=4096)"
H200, A100 = ("--arch", "nvidia/h200-sxm"), ("--arch", "nvidia/a100-sxm-80gb")


def test_an_operator_is_explained(command: Callable[..., Result]) -> None:
    told = json.loads(command("explain", GEMM, *H200, "--json").stdout)
    run = json.loads(command("run", GEMM, *H200, "--json", "--estimate").stdout)
    assert all(told[key] == run[key] for key in ("version", "machine", "workload", "time_s"))
    assert sum(told["parts_s"].values()) == pytest.approx(told["time_s"], rel=1e-9)
    (op,) = told["ops"]
    assert op["roofline_s"] < told["time_s"]
    first = told["what_if"][0]
    again = ("--set", next(f"{key}={value}" for key, value in first["set"].items()))
    if len(first["set"]) == 1:
        changed = json.loads(command("run", GEMM, *H200, *again, "--json").stdout)
        assert changed["time_s"] == pytest.approx(first["time_s"], rel=0.01)
    assert {origin["kind"] for origin in told["origins"]} == {"cited", "calibrated"}


@pytest.fixture
def few_knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would help is asked of the first knobs alone: each is a machine to load."""
    monkeypatch.setattr(what_if, "KNOBS", what_if.KNOBS[:3])


@pytest.mark.usefixtures("few_knobs")
def test_an_explanation_is_read(command: Callable[..., Result], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = command("explain", GEMM, *H200, "--set", "sm.count=96", "--report", page)
    lines = result.stdout.splitlines()
    assert lines[0] == "gemm(m=512,n=4096,k=4096,dtype=bf16) on NVIDIA H200 SXM 141 GB"
    for title in ("where the time goes:", "grid and occupancy:", "what would help:", "where the numbers come from:"):
        assert title in lines
    assert any(line.split()[:3] == ["sm.count", "96", "own"] for line in lines)
    html = page.read_text(encoding="utf-8")
    assert '"what-if"' in html
    assert "NVIDIA H200 SXM 141 GB" in html


@pytest.mark.usefixtures("few_knobs")
def test_physics_only_is_without_what_was_learned(command: Callable[..., Result]) -> None:
    told = json.loads(command("explain", GEMM, *H200, "--physics-only", "--json").stdout)
    assert told["ops"][0]["correction"] == 1.0
    assert told["time_s"] == pytest.approx(
        json.loads(command("run", GEMM, *H200, "--physics-only", "--estimate", "--json").stdout)["time_s"]
    )
    assert abs(told["what_if"][0]["gain"]) < 0.5


@pytest.mark.parametrize("name", ["run", "explain"])
def test_several_machines_are_one_table(command: Callable[..., Result], name: str) -> None:
    shown = command(name, GEMM, *H200, *A100).stdout
    assert shown.startswith("gemm(m=512,n=4096,k=4096,dtype=bf16) on 2 machines\n")
    assert "NVIDIA A100 SXM4 80 GB" in shown
    told = json.loads(command(name, GEMM, *H200, *A100, "--json").stdout)
    assert len(told["machines"]) == 2
    first, second = told["compared"]
    assert first["time_ratio"] == 1.0
    assert second["time_ratio"] == pytest.approx(second["time_s"] / first["time_s"])
    assert second["time_differs"] is True
    assert second["time_s"] == told["machines"][1]["time_s"]


def test_machines_of_a_workload_by_kind(command: Callable[..., Result]) -> None:
    arguments = ("llm/llama-3-8b/decode", "--param", "layers=1", *H200, *A100)
    lines = command("run", *arguments).stdout.splitlines()
    assert any(line.startswith("time of ") for line in lines)
    assert any(line.startswith("attention_decode ") for line in lines)


def test_a_trace_is_of_one_machine(command: Callable[..., Result], tmp_path: Path) -> None:
    result = command("run", GEMM, *H200, *A100, "--trace", tmp_path / "trace.json")
    assert result.exit_code == 2
    assert "--trace is of one machine" in result.stderr
