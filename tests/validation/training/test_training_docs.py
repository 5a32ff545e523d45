"""What the pages on training say: their tables are what `reproduce` prints."""

from __future__ import annotations

import re

import pytest
from checkout import ROOT
from documents import paper_is_told

from simexplore.sim.studies import reproduce

STUDIES = (ROOT / "docs" / "studies" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("study", "rows"), [("galore", 32), ("gradnormlorp", 4), ("selene", 32)])
def test_tables_are_what_is_reproduced(study: str, rows: int) -> None:
    (section,) = re.findall(rf"\n## {study}\n(.*?)(?=\n## |\Z)", STUDIES, flags=re.S)
    shown = {line for line in section.splitlines() if line.endswith((" enforced |", " known_gap |", " input |"))}
    assert len(shown) == rows
    records = reproduce(study)
    current = {
        f"| {each['quantity']} | {each['unit']} | {each['published']:.4g} | {each['simulated']:.4g} "
        f"| {each['ratio']:.2f} | {each['status']} |"
        for each in records
    }
    assert shown <= current
    assert paper_is_told(study, records)
