"""The site of documents: its contents name every page, its reference is written from the code, its tutorial runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from checkout import ROOT, tracked
from click.testing import CliRunner

import simexplore
from simexplore.cli.main import main
from simexplore.workloads.ops import FAMILIES

SITE = ROOT / "tools" / "site"
TUTORIAL = (ROOT / "docs" / "guide" / "tutorial.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", SITE / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contents_name_every_document(reference: ModuleType) -> None:
    named = re.findall(r"^ +- .*: (\S+\.md)$", (SITE / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    documents = [str(path) for path in tracked() if path.suffix == ".md"]
    assert sorted(named) == sorted([*documents, *reference.pages()])


def test_the_reference_has_all_operators_keys_and_functions(reference: ModuleType) -> None:
    pages = reference.pages()
    for name, family in FAMILIES.items():
        assert f"\n## {name}\n" in pages["reference/operators.md"]
        assert family.example in pages["reference/operators.md"]
    keys = pages["reference/keys.md"]
    assert "| `capacity` | B | capacity |" in keys
    assert "\n## library.gemm\n" in keys
    assert "| `near_latency` | clk | load that hits the partition of its own SM |" in keys
    functions = [name for name in simexplore.__all__ if name.islower() and not name.startswith("_")]
    functions.remove("measure")  # it stands under the name that it has at home
    assert len(functions) > 8
    assert all(f".{name}\n" in pages["reference/python.md"] for name in functions)


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```\n(.*?)```", TUTORIAL, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("simexplore ")]
    assert len(commands) == 8
    told = {}
    for line in commands:
        one_process = ("--jobs", "1") if line.startswith("simexplore sweep") else ()
        result = CliRunner().invoke(main, [*shlex.split(line)[1:], *one_process])
        assert result.exit_code == 0, (line, result.output)
        told[line] = result.stdout
    first, _, why, *_ = told.values()
    assert re.search(r"time +203\.7 µs", first), "the table says 204 µs"
    helps = why.partition("what would help:\n")[2].splitlines()
    assert helps[1].startswith("dram.bandwidth +20 %")
    sweep = next(text for line, text in told.items() if line.startswith("simexplore sweep"))
    assert re.search(r"^best time +3816 ", sweep, re.MULTILINE), "point 3816 is the fastest"
    assert all(f"\n{name} " in sweep for name in ("knee", "better in everything"))
    documented = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8").partition("<!-- table: verdict -->")[2]
    answer = documented.partition("-o out/\n")[2].partition("\n```")[0]
    assert len(answer.splitlines()) > 12
    assert sweep.startswith(answer), "stale: python tools/documented.py docs/sweeps.md writes it anew"
    assert (tmp_path / "decode.json").is_file()


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'simexplore[docs]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install 'simexplore[docs]'")
    command = [sys.executable, str(SITE / "build.py"), "-o", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    front = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "simexplore" in front
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    assert not [
        page for page in pages if re.search(r'(src|href)="https?://[^"]*\.(js|css|woff2?)', page.read_text("utf-8"))
    ]
