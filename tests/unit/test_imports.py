"""Imports run one way, heavy ones have one home, and the command's help needs none of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("archs", "workloads", "kernels", "sim", "cli")
MAY_IMPORT = {
    "archs": {"archs"},
    "workloads": {"workloads"},
    "kernels": {"archs", "workloads", "kernels"},
    "sim": {"archs", "workloads", "kernels", "sim"},
    "cli": {"archs", "workloads", "kernels", "sim", "cli"},
}
LEVELS = {
    "demand": 0,
    "conditions": 0,
    "keeping": 0,
    "hardware": 1,
    "libraries": 2,
    "mapping": 3,
    "estimate": 4,
    "play": 5,
    "training": 5,
    "learn": 6,
    "compare": 6,
    "edge": 7,
    "serve": 7,
    "explain": 7,
    "explore": 8,
    "studies": 8,
    "report": 9,
}
"""Inside sim, a module imports none of a higher level."""
HOMES = {"yaml": {"archs/load.py"}, "simpy": {"sim/play/engine.py"}}
FORBIDDEN = {"pycuda"}
RUNTIMES = {
    "vulkan": ("kernels/vulkan/",),
    "torch": ("kernels/torch_/", "workloads/importers/"),
    "onnx": ("workloads/importers/",),
    "cupy": ("kernels/cuda/",),
    "cuda": ("kernels/cuda/",),
    "faiss": ("kernels/search/",),
}
"""A runtime is imported only in its backend's folder or the importers', and there lazily: `import_module` in a
function."""


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_are_modules_to_check() -> None:
    assert len(modules()) > 30


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    room, *inside = path.relative_to(ROOT).parts
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ROOMS, f"import simexplore.{name}, not {name}"
        if parts[0] == "simexplore" and len(parts) > 1 and parts[1] in ROOMS:
            assert parts[1] in MAY_IMPORT[room], f"{room} imports {name}"
            if room == "sim" and parts[1] == "sim" and len(parts) > 2:
                mine, its = LEVELS[Path(inside[0]).stem], LEVELS[parts[2]]
                assert its <= mine, f"{path.name} imports {name}"
        elif room != "cli" and parts[:2] in (["simexplore", "api"], ["simexplore", "cli"]):
            pytest.fail(f"{room} imports the public face")
        home = HOMES.get(parts[0])
        assert home is None or str(path.relative_to(ROOT)) in home, f"{name} is imported outside {home}"
        assert parts[0] not in FORBIDDEN
        folders = RUNTIMES.get(parts[0])
        inside_one = folders is None or str(path.relative_to(ROOT)).startswith(folders)
        assert inside_one, f"{name} is imported outside {folders}"


def test_the_core_does_not_print() -> None:
    for path in modules():
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not printing, f"{path}:{printing[0]}: print"


HEAVY = ("numpy", "pandas", "networkx", "pydantic", "simpy", "yaml", "rich", "aiconfigurator_core", "scipy")


@pytest.mark.parametrize(
    "code",
    [
        "from simexplore.cli.main import main; main(['--help'], standalone_mode=False)",
        "import simexplore; dir(simexplore); simexplore.SimexploreError",
    ],
    ids=["help", "public face"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    script = f"import sys\n{code}\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
