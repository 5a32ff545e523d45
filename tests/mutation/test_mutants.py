"""The tests notice when the physics is wrong by one line: most of a fixed sample, and all of ten named mistakes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMED = yaml.safe_load((ROOT / "tools" / "named_mutants.yaml").read_text(encoding="utf-8"))
LEAST_SHARE = 0.7
"""Of a sample in which some are equal to the code: 1 for 2 where sizes are in millions, + for - before zeros."""


@pytest.mark.parametrize("entry", NAMED, ids=lambda entry: entry["name"])
def test_a_named_mistake_can_be_made(entry: dict[str, str]) -> None:
    """Its line is where the table says, once: code that moves takes its entry along."""
    assert (ROOT / entry["file"]).read_text(encoding="utf-8").count(entry["line"]) == 1
    assert entry["line"] != entry["becomes"]


def test_there_are_ten_named_mistakes() -> None:
    assert len({entry["name"] for entry in NAMED}) == len(NAMED) == 10


def test_mutants_can_be_drawn_of_some_files() -> None:
    if importlib.util.find_spec("mutmut") is None:
        pytest.skip("mutmut is not installed: pip install 'simexplore[dev]'")
    only = ["sim/mapping/columns.py", "sim/hardware/die"]
    call = [sys.executable, str(ROOT / "tools" / "mutants.py"), "--list", "--sample", "1000", "--only", *only]
    listed = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    files = {line.partition(":")[0] for line in listed if not line.startswith(" ")}
    assert {"sim/mapping/columns.py", "sim/hardware/die/area.py"} < files
    assert all(file.startswith(tuple(only)) for file in files)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `tools/mutants.py` says of 32 mutants and the named ones; about six minutes on two cores."""
    if importlib.util.find_spec("mutmut") is None:
        pytest.skip("mutmut is not installed: pip install 'simexplore[dev]'")
    call = [sys.executable, str(ROOT / "tools" / "mutants.py"), "--named", "--json"]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def told(verdicts: list[dict[str, Any]]) -> str:
    """The mutants that no test noticed, for people."""
    missed = [verdict for verdict in verdicts if not verdict["noticed"]]
    return "\n".join(f"{one['path']}:{one['line']}\n  - {one['before']}\n  + {one['after']}" for one in missed)


@pytest.mark.mutation
def test_most_mutants_are_noticed(found: dict[str, Any]) -> None:
    assert found["sample"] == 32
    assert found["share"] >= LEAST_SHARE, told([one for one in found["verdicts"] if not one["name"]])


@pytest.mark.mutation
@pytest.mark.parametrize("name", [entry["name"] for entry in NAMED])
def test_a_named_mistake_is_noticed(found: dict[str, Any], name: str) -> None:
    (verdict,) = (one for one in found["verdicts"] if one["name"] == name)
    assert verdict["noticed"], told([verdict])
