"""Every one-line mutant of a file, and the sample that is tried."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

SWAPPED = (("max", "min"), ("maximum", "minimum"), ("ceil", "floor"), ("any", "all"))
SWAPS = dict(SWAPPED) | {other: one for one, other in SWAPPED}
QUIET = {"__repr__", "__str__", "__format__"}
"""Functions whose results only people read."""
CHECKS = {"isinstance", "len", "cast", "TypeVar"}
"""Calls in which a change is a type error, or none."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    line: int
    """Where the change is; the tests that run it are the ones to try."""
    last_line: int
    before: str
    after: str
    source: str
    """The whole file as changed."""
    name: str = ""


def swap_function(node: cst.Call) -> Iterator[cst.Call]:
    """The other end: `max` for `min`, `np.floor` for `np.ceil`."""
    named = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
    if isinstance(named, cst.Name) and named.value in SWAPS:
        yield node.with_deep_changes(named, value=SWAPS[named.value])


def next_number(node: cst.BaseNumber) -> Iterator[cst.CSTNode]:
    """mutmut's n + 1, but where n is so large that nothing could tell."""
    if not isinstance(node, (cst.Integer, cst.Float)) or abs(node.evaluated_value) < 1e6:
        yield from mutators.operator_number(node)


Operator = Callable[[cst.CSTNode], Iterable[cst.CSTNode]]
OPERATORS: tuple[tuple[type, Operator], ...] = (
    (cst.BaseNumber, next_number),
    (cst.Name, mutators.operator_name),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.IfExp, mutators.operator_if_exp),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, mutators.operator_swap_op),
    (cst.Call, swap_function),
)
"""mutmut's operators that change what is computed. Those that put None in a value's place are left out: any run that
comes by notices them, and they would make the share look better than the tests are."""


def is_quiet(node: cst.CSTNode) -> bool:
    """Whether a change inside would be of a message, of a type, or of nothing that a test could see."""
    if isinstance(node, cst.FunctionDef):
        return node.name.value in QUIET
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
        return node.func.value in CHECKS or node.func.value.endswith("Error")
    if isinstance(node, cst.If):
        return isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"
    return isinstance(node, (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.Raise, cst.FormattedString))


def is_type_alias(node: cst.CSTNode) -> bool:
    """`Number = int | float`, at the top of a module."""
    return isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.BitOr)


class Visitor(cst.CSTVisitor):
    """Collects (node, what it becomes) in the order of the text."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int, int]] = []
        self._depth = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if is_quiet(node) or (self._depth == 0 and is_type_alias(node)):
            return False
        self._depth += isinstance(node, cst.FunctionDef)
        where = self.get_metadata(PositionProvider, node, None)
        for kind, operator in OPERATORS:
            if where is not None and isinstance(node, kind):
                self.found += [(node, other, where.start.line, where.end.line) for other in operator(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self._depth -= isinstance(original_node, cst.FunctionDef) and not is_quiet(original_node)


def mutants_of(root: Path, path: str) -> list[Callable[[], Mutant]]:
    """All mutants of a file, each made when it is called: the text of a file is only written out for the sample."""
    wrapper = MetadataWrapper(cst.parse_module((root / path).read_text(encoding="utf-8")))
    visitor = Visitor()
    wrapper.visit(visitor)
    return [lambda one=one: _made(path, wrapper.module, *one) for one in visitor.found]


def _made(path: str, module: cst.Module, node: cst.CSTNode, other: cst.CSTNode, first: int, last: int) -> Mutant:
    source = module.deep_replace(node, other).code
    return changed(path, module.code, source, first, last)


def changed(path: str, before: str, after: str, first: int, last: int, name: str = "") -> Mutant:
    """The mutant, shown by the first line in which the two texts differ."""
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    number, (old, new) = next((n, pair) for n, pair in enumerate(lines, 1) if pair[0] != pair[1])
    return Mutant(path, max(number, first), max(number, last), old.strip(), new.strip(), after, name)


def sample(root: Path, folders: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """`size` mutants of the folders' files, and of single files, the same for the same files, size and seed."""
    paths = sorted({str(path.relative_to(root)) for each in folders for path in files_of(root / each, "*.py")})
    makers = [maker for path in paths for maker in mutants_of(root, path)]
    chosen = random.Random(seed).sample(range(len(makers)), min(size, len(makers)))
    return [mutant for mutant in (makers[index]() for index in sorted(chosen)) if is_python(mutant.source)]


def files_of(path: Path, pattern: str) -> list[Path]:
    """A file itself, or those in a folder and below it whose names fit."""
    return [path] if path.is_file() else list(path.rglob(pattern))


def is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
