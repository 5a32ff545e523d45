"""Figures in the documents are those that the commands print, and commands in README run on what is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from ablation import OFF
from checkout import ROOT
from click.testing import CliRunner

from simexplore.cli.main import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
QUESTIONS = (ROOT / "docs" / "guide" / "questions.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documented", ROOT / "tools" / "documented.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "document",
    ["../README.md", "energy.md", "area-and-cost.md", "studies/ngpc.md", "explain.md", "lab/accuracy.md"],
)
def test_marked_figures_are_current(tool: ModuleType, document: str) -> None:
    """Stale: `python tools/documented.py` writes them anew."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    assert tool.MARKED.search(text)
    assert tool.generated(text) == text


def test_what_is_marked_is_replaced_and_nothing_else(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tool.TABLES, "mine", lambda: "new")
    text = "a <!-- table: mine -->old\nones<!-- /table --> b <!-- figure --> c"
    assert tool.generated(text) == "a <!-- table: mine -->new<!-- /table --> b <!-- figure --> c"
    with pytest.raises(KeyError):
        tool.generated("<!-- table: nobody's -->x<!-- /table -->")


def test_the_notebook_has_every_mechanism_that_can_be_switched_off() -> None:
    text = (ROOT / "docs" / "lab" / "notebook.md").read_text(encoding="utf-8")
    told = text.partition("| switched off | L40S | A100 |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert [line.split("|")[1].strip() for line in told.splitlines()] == list(OFF)


def test_the_sensitivities_are_of_the_machine_in_the_table() -> None:
    text = (ROOT / "docs" / "studies" / "ngpc.md").read_text(encoding="utf-8")
    (mean,) = (line for line in text.splitlines() if line.startswith("| **mean (published)**"))
    (shipped,) = (line for line in text.splitlines() if line.startswith("| as shipped"))
    figures = re.findall(r"\*\*([\d.]+)x", mean)
    assert [cell.strip() for cell in shipped.split("|")[2:4]] == [figures[0], figures[-1]]


def row(asked: str, text: str = README) -> tuple[list[str], str]:
    """The command of a row of a table, by its question, and the row."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {asked} |"))
    found = re.search(r"`simexplore ([^`]+)`", line)
    assert found is not None
    return shlex.split(found[1]), line


def microseconds(arguments: list[str]) -> str:
    shown = CliRunner().invoke(main, arguments).stdout
    (time,) = re.findall(r"^time +([\d.]+) µs$", shown, re.MULTILINE)
    return f"{float(time):.0f} µs"


def test_the_changed_gpu_of_readme_shows_what_it_says() -> None:
    arguments, line = row("what one operator costs on a changed GPU")
    unchanged = arguments[: arguments.index("--set")]
    assert f"({microseconds(arguments)}; {microseconds(unchanged)} on the unchanged one" in line
    assert microseconds(arguments) != microseconds(unchanged)


def test_the_profile_that_is_imported_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, _ = row("what a profile says", QUESTIONS)
    monkeypatch.chdir(ROOT)
    output = tmp_path / "runs.csv"
    result = CliRunner().invoke(main, [str(output) if part == "runs.csv" else part for part in arguments])
    assert result.exit_code == 0
    assert output.stat().st_size > 100


def test_what_commands_write_is_not_offered_to_git() -> None:
    assert "out/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize(
    "document", ["workloads.md", "arch-files.md", "calibration.md", "energy.md", "sweeps.md", "studies/ngpc.md"]
)
def test_tables_have_a_head_and_rows_as_wide(document: str) -> None:
    """A blank line within a table cuts it in two, the second without a head."""
    lines = ["", *(ROOT / "docs" / document).read_text(encoding="utf-8").splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert re.fullmatch(r"\|(-+\|)+", after.replace(" ", "")), f"{document}: a table without a head: {line}"
