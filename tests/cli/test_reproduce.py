"""`simexplore reproduce`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import simexplore
from simexplore.cli.model import reproduce as command_module
from simexplore.errors import SimexploreError

RECORD = {
    "paper": "A paper",
    "quantity": "mean error",
    "unit": "%",
    "published": 10.0,
    "simulated": 5.0,
    "ratio": 0.5,
    "status": "enforced",
    "source": "its abstract",
}


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two studies: one with a record, one whose table is missing."""

    def run(name: str, measured: Path | None) -> list[dict[str, Any]]:
        if name == "good":
            return [RECORD]
        raise SimexploreError(f"{name}: expected its table; it comes from somewhere")

    monkeypatch.setattr(command_module, "STUDIES", {"good": None, "lost": None})
    monkeypatch.setattr(command_module, "reproduce_study", run)


def test_json_has_the_promised_keys(command: Callable[..., Result], studies: None) -> None:
    (told,) = json.loads(command("reproduce", "good", "--json").stdout)
    assert told == {"version": simexplore.__version__, "machine": None, "workload": None, "study": "good", **RECORD}


def test_table(command: Callable[..., Result], studies: None) -> None:
    lines = [line.split() for line in command("reproduce", "good").stdout.splitlines() if line]
    assert lines == [
        ["A", "paper"],
        ["quantity", "unit", "published", "simulated", "ratio", "status"],
        ["mean", "error", "%", "10", "5", "0.50", "enforced"],
        ["1", "enforced,", "0", "known", "gaps"],
    ]


def test_inputs_are_counted_apart(
    command: Callable[..., Result], studies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [RECORD, {**RECORD, "status": "known_gap"}, {**RECORD, "status": "input"}, {**RECORD, "status": "input"}]
    monkeypatch.setattr(command_module, "reproduce_study", lambda _name, _measured: records)
    said = command("reproduce", "good").stdout
    assert "1 enforced, 1 known gap; 2 inputs, which came back and count for nothing" in said


def test_a_study_without_its_table_ends_with_code_2_after_the_others(
    command: Callable[..., Result], fails: Callable[..., str], studies: None
) -> None:
    result = command("reproduce", "--json")
    assert result.exit_code == 2
    assert [record["paper"] for record in json.loads(result.stdout)] == [RECORD["paper"]]
    assert result.stderr == "simexplore: lost: expected its table; it comes from somewhere\n"
    assert "it comes from somewhere" in fails("reproduce", "lost")


def test_what_must_be_known_of_a_study_is_told_beside_its_figures(
    command: Callable[..., Result], studies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "caveat", {"good": "read too late", "lost": "never said"}.get)
    for extra in ((), ("--json",)):
        result = command("reproduce", "good", *extra)
        assert result.stderr == "simexplore: good: read too late\n"
        assert "read too late" not in result.stdout
    assert "never said" not in command("reproduce").stderr


def test_gpperf_without_its_tables(fails: Callable[..., str], tmp_path: Path) -> None:
    assert "github.com/pavlyhalim/GPPerf" in fails("reproduce", "gpperf", "--measured", tmp_path)
