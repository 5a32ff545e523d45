"""An editable install is a folder of links that Python and type checkers read as the package."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from links import ROOT, link_tree


def test_links_are_the_package(tmp_path: Path) -> None:
    links = link_tree(ROOT, tmp_path / "links")
    code = "import simexplore.sim.demand as it, simexplore.archs; print(it.__file__, simexplore.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(links), *sys.path]!r}; {code}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split() == [
        str(links / "simexplore" / "sim" / "demand.py"),
        str(links / "simexplore" / "__init__.py"),
    ]
    assert (links / "simexplore" / "py.typed").exists()
    assert not (links / "simexplore" / "__pycache__").exists()


def test_rooms_are_found_from_the_root_of_a_checkout(tmp_path: Path) -> None:
    links = link_tree(ROOT, tmp_path / "links")
    code = (
        f"import sys; sys.path += [{str(links)!r}]; import simexplore.archs, simexplore.sim; print(simexplore.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == str(ROOT / "simexplore" / "__init__.py")


def test_links_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "simexplore").mkdir()
    (tmp_path / "simexplore" / "gone.py").touch()
    link_tree(ROOT, tmp_path)
    assert not (tmp_path / "simexplore" / "gone.py").exists()


def test_every_package_is_in_the_wheel() -> None:
    """Editable installs have them all; a wheel has those that are named."""
    named = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"])
    rooms = ("archs", "workloads", "kernels", "sim", "cli")
    found = {"simexplore"}
    for file in (file for room in rooms for file in (ROOT / room).rglob("__init__.py")):
        found.add(".".join(("simexplore", *file.parent.relative_to(ROOT).parts)))
    assert found == named


def test_a_source_archive_can_build_itself() -> None:
    """Setuptools packs only its own packages by itself; the backend and what it imports are named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    named = [line.removeprefix("include ") for line in (ROOT / "MANIFEST.in").read_text("utf-8").splitlines()]
    packed = {path for pattern in named for path in ROOT.glob(pattern)}
    assert {path for folder in project["backend-path"] for path in (ROOT / folder).glob("*.py")} <= packed
