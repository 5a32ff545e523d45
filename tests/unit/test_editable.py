"""An editable install is a folder of links that Python and type checkers read as the package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def backend() -> ModuleType:
    pytest.importorskip("setuptools", reason="setuptools is not here: it builds the package")
    spec = importlib.util.spec_from_file_location("backend", ROOT / "tools" / "packaging" / "backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_are_the_package(backend: ModuleType, tmp_path: Path) -> None:
    links = backend.link_tree(ROOT, tmp_path / "links")
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


def test_rooms_are_found_from_the_root_of_a_checkout(backend: ModuleType, tmp_path: Path) -> None:
    links = backend.link_tree(ROOT, tmp_path / "links")
    code = (
        f"import sys; sys.path += [{str(links)!r}]; import simexplore.archs, simexplore.sim; print(simexplore.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == str(ROOT / "simexplore" / "__init__.py")


def test_links_are_made_anew(backend: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "simexplore").mkdir()
    (tmp_path / "simexplore" / "gone.py").touch()
    backend.link_tree(ROOT, tmp_path)
    assert not (tmp_path / "simexplore" / "gone.py").exists()


def test_every_package_is_in_the_wheel() -> None:
    """Editable installs have them all; a wheel has those that are named."""
    named = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"])
    rooms = ("archs", "workloads", "kernels", "sim", "cli")
    found = {"simexplore"}
    for file in (file for room in rooms for file in (ROOT / room).rglob("__init__.py")):
        found.add(".".join(("simexplore", *file.parent.relative_to(ROOT).parts)))
    assert found == named
