"""The pages about systems: the machine they show loads, and their tables are what the code says."""

from __future__ import annotations

import re

import pytest
from checkout import ROOT

from simexplore.archs.load import read_document, resolve
from simexplore.archs.views.machines import list_systems, system_of_layer
from simexplore.workloads.operators.parameters import signature
from simexplore.workloads.ops import AROUND

PAGE = (ROOT / "docs" / "systems" / "systems.md").read_text(encoding="utf-8")
FUYOU = (ROOT / "docs" / "systems" / "fuyou.md").read_text(encoding="utf-8")


def test_the_file_is_a_system(tmp_path: pytest.TempPathFactory) -> None:
    text, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "mine.yaml"  # type: ignore[operator]
    file.write_text(text, encoding="utf-8")
    system = system_of_layer(resolve(file))
    assert set(system.devices) == {"gpu", "cpu", "ssd"}
    assert system.place("ssd").capacity_bytes == 4e12
    assert system.links["array"].port == "chipset"


def test_all_systems_and_operators_are_listed() -> None:
    assert [name for name in list_systems() if f"`{name}`" not in PAGE] == []
    for name, record in AROUND.items():
        assert f"| `{name}` | `{signature(record)}` |" in PAGE


def test_published_figures_on_the_page_are_the_files() -> None:
    table = read_document(ROOT / "workloads" / "published" / "systems" / "fuyou.yaml").data
    numbers = {float(number) for number in re.findall(r"\d+\.?\d*", FUYOU)}
    assert {float(figure["published"]) for figure in table["figures"]} <= numbers
