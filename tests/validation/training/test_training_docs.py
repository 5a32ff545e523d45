"""What the pages on training say: their Python runs, and their tables are what `reproduce` prints."""

from __future__ import annotations

import re

import pytest
from checkout import ROOT

from simexplore.sim.studies import reproduce

PAGE = (ROOT / "docs" / "models" / "training.md").read_text(encoding="utf-8")
STUDIES = (ROOT / "docs" / "studies" / "training.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(code: str) -> None:
    exec(compile(code, "docs/models/training.md", "exec"), {})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize(("study", "rows"), [("galore", 32), ("gradnormlorp", 4), ("selene", 32)])
def test_tables_are_what_is_reproduced(study: str, rows: int) -> None:
    (section,) = re.findall(rf"\n## {study}\n(.*?)(?=\n## |\Z)", STUDIES, flags=re.S)
    shown = {line for line in section.splitlines() if line.endswith((" enforced |", " known_gap |", " input |"))}
    assert len(shown) == rows
    current = {
        f"| {each['quantity']} | {each['unit']} | {each['published']:.4g} | {each['simulated']:.4g} "
        f"| {each['ratio']:.2f} | {each['status']} |"
        for each in reproduce(study)
    }
    assert shown <= current
