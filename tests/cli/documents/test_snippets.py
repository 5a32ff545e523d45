"""Python in the documents and the notebook runs, page by page from the top; YAML in them is read as what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkout import ROOT
from documents import blocks, documents
from reports import make_store

import simexplore
from simexplore.sim.explore.spec.file import read_spec

PYTHON = [document for document in documents() if blocks(document, "python")]
YAML = [(document, block) for document in documents() for block in blocks(document, "yaml")]
NEEDS = {"docs/sweeps.md": "pyarrow", "docs/reports.md": "plotly"}
SMALLER = {"steps: 10": "steps: 2", "step: 8": "step: 24"}
"""What makes an example's sweep short."""
PARENTS = {"mine-facts.yaml": "extends: nvidia/rtx-4070\n"}
"""Files that examples extend."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in: the examples, the sweep's one short, and a sweep that has run."""
    (tmp_path / "examples" / "notebooks").mkdir(parents=True)
    for example in (ROOT / "examples").glob("*.yaml"):
        text = example.read_text(encoding="utf-8")
        for long, short in SMALLER.items():
            text = text.replace(long, short)
        (tmp_path / "examples" / example.name).write_text(text, encoding="utf-8")
    make_store(tmp_path / "out", 40).close()
    for name, text in PARENTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pages_have_code() -> None:
    assert len(PYTHON) > 5
    assert len(YAML) > 6


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("document", PYTHON, ids=str)
def test_python_runs(document: Path) -> None:
    if needed := NEEDS.get(str(document)):
        pytest.importorskip(needed)
    names: dict[str, object] = {}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)


@pytest.mark.parametrize(("document", "block"), YAML, ids=[str(document) for document, _ in YAML])
def test_yaml_is_read(document: Path, block: str, desk: Path) -> None:
    file = desk / "mine.yaml"
    if "parameters:" in block and "arch:" not in block:
        block = f"arch: nvidia/h100-sxm\n{block}"  # a sweep's file without its first line
    elif not any(f"{key}:" in block for key in ("extends", "kind", "arch", "operators")):
        block = f"extends: nvidia/h200-sxm\n{block.replace('…', '{}')}"  # a section of a machine's file
    file.write_text(block, encoding="utf-8")
    if "operators:" in block:
        assert simexplore.load_workload(str(file)).nodes
    elif "parameters:" in block:
        assert read_spec(file).problem.axes
    else:
        assert simexplore.load_machine(file).name


NOTEBOOK = json.loads((ROOT / "examples" / "notebooks" / "first-steps.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk / "examples" / "notebooks")
    names: dict[str, object] = {}
    for cell in CODE:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert len(names["best"]) == 3


def test_the_notebook_keeps_no_results() -> None:
    assert len(CODE) > 5
    assert not [cell["id"] for cell in CODE if cell["outputs"] or cell["execution_count"]]
    assert NOTEBOOK["nbformat"] == 4
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
