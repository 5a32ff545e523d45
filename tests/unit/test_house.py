"""The house rules that a program can check: no import circles, and sizes that keep files and folders readable."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import networkx as nx
import pytest
from checkout import ROOMS, ROOT, tracked

MOST_FILES = 12
"""In a folder, beside its sub-folders."""
MOST_FIELDS = 16
"""Of a record's own."""
MOST_FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 6
MOST_FILE_LINES = 400
PACKAGE = "simexplore"
MODULES = [path for path in tracked() if path.suffix == ".py" and path.parts[0] in (*ROOMS, PACKAGE)]
ROOM_FILES = [path for path in MODULES if path.parts[0] in ROOMS]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    """`sim/play/__init__.py` is `simexplore.sim.play`."""
    parts = list(path.with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts if parts[0] == PACKAGE else [PACKAGE, *parts])


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the project that a file imports, for types only and inside functions too."""
    for node in ast.walk(tree(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            found = name if name in known else name.rpartition(".")[0]
            if found in known and found != module_name(path):
                yield found


def test_no_modules_import_each_other() -> None:
    known = {module_name(path): path for path in MODULES}
    edges = [(name, other) for name, path in known.items() for other in imported(path, known)]
    assert len(edges) > len(known)
    circles = [sorted(group) for group in nx.strongly_connected_components(nx.DiGraph(edges)) if len(group) > 1]
    assert not circles


def test_folders_are_small() -> None:
    counts = Counter(str(path.parent) for path in tracked())
    assert not {folder: count for folder, count in counts.items() if count > MOST_FILES}


def own_fields(node: ast.ClassDef) -> int:
    """Annotated names of a class body, constants of the class left out."""
    annotated = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    return sum("ClassVar" not in ast.unparse(item.annotation) for item in annotated)


def test_records_are_small() -> None:
    classes = [(path, node) for path in MODULES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    large = {f"{path}: {node.name}": own_fields(node) for path, node in classes if own_fields(node) > MOST_FIELDS}
    assert not large


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def lines_of(node: Function) -> int:
    """Lines from `def` to the end."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", [path for path in tracked() if path.suffix == ".py"], ids=str)
def test_functions_are_short(path: Path) -> None:
    assert not {node.name: lines_of(node) for node in functions(path) if lines_of(node) > MOST_FUNCTION_LINES}


def test_most_functions_are_very_short() -> None:
    lengths = [lines_of(node) for path in ROOM_FILES for node in functions(path)]
    assert median(lengths) <= MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("path", ROOM_FILES, ids=str)
def test_files_are_short(path: Path) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= MOST_FILE_LINES


PHYSICS = [
    path for path in ROOM_FILES if path.parts[:2] in (("sim", "mapping"), ("sim", "hardware"), ("sim", "libraries"))
]
NAMELESS = (0, 1, 2)
"""Numbers that need no name inside a function: nothing, a whole, a half or a multiply-add's two."""


@pytest.mark.parametrize("path", PHYSICS, ids=str)
def test_numbers_in_physics_have_names(path: Path) -> None:
    """A number stands at the top of its module, with a name and what it is, or in a machine's file."""
    inside = {
        (node.lineno, node.value)
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value not in NAMELESS
    }
    assert not inside
