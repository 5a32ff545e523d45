"""Small arithmetic over named quantities, with units: `0.3 MiB * sm.count`, `815 mm2 * sm.count / 132`.

An expression is parsed by Python's own parser and walked by hand: numbers, quantities, dotted names, + - * / **,
and a few functions; nothing else is reached. Values are floats or arrays in SI, and units are checked.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simexplore.archs import units
from simexplore.archs.units import Dimension, nearest, show
from simexplore.errors import SimexploreError
from simexplore.sim.explore.table import MEETS

Powers = tuple[tuple[str, float], ...]
"""A unit as sorted powers of base units: bytes per second is (('B', 1), ('s', -1))."""
NUMBER: Powers = ()

_BASE: dict[str, dict[str, float]] = {
    "B": {"B": 1},
    "s": {"s": 1},
    "clk": {"clk": 1},
    "Hz": {"clk": 1, "s": -1},
    "B/s": {"B": 1, "s": -1},
    "B/clk": {"B": 1, "clk": -1},
    "op/s": {"op": 1, "s": -1},
    "op/clk": {"op": 1, "clk": -1},
    "W": {"J": 1, "s": -1},
    "J": {"J": 1},
    "J/op": {"J": 1, "op": -1},
    "J/B": {"J": 1, "B": -1},
    "m": {"m": 1},
    "m2": {"m": 2},
    "USD": {"USD": 1},
    "USD/B": {"USD": 1, "B": -1},
    "1/s": {"s": -1},
    "1": {},
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": np.minimum,
    "max": np.maximum,
    "sqrt": np.sqrt,
    "ceil": np.ceil,
    "floor": np.floor,
    "round": np.rint,
    "log2": np.log2,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_UNITS = {unit: dimension for dimension in units.DIMENSIONS for unit in dimension.units}
_QUANTITY = re.compile(
    r"(?<![\w.])((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*("
    + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
    + r")(?![\w²])"
)
_MAX_LENGTH = 500
_MAX_DEPTH = 100
"""Levels of operations: walking, pickling and copying an expression take a stack frame or more for each."""


@dataclass(frozen=True)
class Amount:
    """A number or array in SI, and its unit."""

    value: Any
    powers: Powers = NUMBER


def powers_of(unit: str) -> Powers:
    """The base units of an SI unit as arch files and columns name it; text and the like are plain numbers."""
    return _sorted(_BASE.get(unit, {}))


def quantity_of(text: str) -> tuple[float, Dimension]:
    """A written quantity of any dimension: its SI value and what it measures.

    Raises:
        SimexploreError: it is none.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise SimexploreError(f"expected a quantity such as '141 GB', found {show(text)}")
    dimension = _UNITS[match.group(2)]
    return units.parse(f"{match.group(1)} {match.group(2)}", dimension), dimension


@dataclass(frozen=True)
class Expression:
    """A parsed expression; evaluate it with values for its names."""

    text: str
    tree: ast.expr
    quantities: tuple[str, ...]
    names: frozenset[str]

    def evaluate(self, values: Mapping[str, Amount]) -> Amount:
        """Its value; arrays of one shape broadcast.

        Raises:
            SimexploreError: units that don't go together.
        """
        with np.errstate(all="ignore"):
            return self._walk(self.tree, values)

    def _walk(self, node: ast.expr, values: Mapping[str, Amount]) -> Amount:
        if isinstance(node, ast.Constant):
            return Amount(float(str(node.value)))
        if isinstance(node, ast.Name | ast.Attribute):
            return self._named(_dotted(node), values)
        if isinstance(node, ast.UnaryOp):
            inner = self._walk(node.operand, values)
            return Amount(-inner.value if isinstance(node.op, ast.USub) else inner.value, inner.powers)
        if isinstance(node, ast.Call):
            return self._call(node, values)
        assert isinstance(node, ast.BinOp)
        return self._combine(node, self._walk(node.left, values), self._walk(node.right, values))

    def _named(self, name: str, values: Mapping[str, Amount]) -> Amount:
        if name.startswith("__quantity"):
            value, dimension = quantity_of(self.quantities[int(name.removeprefix("__quantity"))])
            return Amount(value, powers_of(dimension.si))
        return values[name]

    def _combine(self, node: ast.BinOp, left: Amount, right: Amount) -> Amount:
        value = _OPERATORS[type(node.op)](np.asarray(left.value, dtype=np.float64), right.value)
        if isinstance(node.op, ast.Pow):
            if right.powers or np.ndim(right.value) or (left.powers and not isinstance(node.right, ast.Constant)):
                raise SimexploreError(f"expected a plain number as exponent, found {show(ast.unparse(node.right))}")
            return Amount(value, _sorted({base: power * float(right.value) for base, power in left.powers}))
        if isinstance(node.op, ast.Mult | ast.Div):
            sign = 1.0 if isinstance(node.op, ast.Mult) else -1.0
            powers = dict(left.powers)
            for base, power in right.powers:
                powers[base] = powers.get(base, 0.0) + sign * power
            return Amount(value, _sorted(powers))
        _agree(left, right, self.text)
        return Amount(value, left.powers)

    def _call(self, node: ast.Call, values: Mapping[str, Amount]) -> Amount:
        assert isinstance(node.func, ast.Name)
        first, *others = (self._walk(argument, values) for argument in node.args)
        for other in others:
            _agree(first, other, self.text)
        name = node.func.id
        if name == "sqrt":
            return Amount(np.sqrt(first.value), _sorted({base: power / 2.0 for base, power in first.powers}))
        if name in ("ceil", "floor", "round", "log2") and first.powers:
            raise SimexploreError(f"expected a plain number in {name}(), found one in {unit_text(first.powers)}")
        value = first.value if others else _FUNCTIONS[name](first.value) if name not in ("min", "max") else first.value
        for other in others:
            value = _FUNCTIONS[name](value, other.value)
        return Amount(value, first.powers)


@dataclass(frozen=True)
class Condition:
    """A comparison of two expressions."""

    text: str
    left: Expression
    right: Expression
    symbol: str

    @property
    def column(self) -> str:
        """Name of the column that says where it holds."""
        return MEETS + " ".join(self.text.split())

    @property
    def names(self) -> frozenset[str]:
        """The names of the quantities that the expression speaks of."""
        return self.left.names | self.right.names

    def holds(self, values: Mapping[str, Amount]) -> Any:
        """True where it does; an array where the values are arrays.

        Raises:
            SimexploreError: the two sides have different units.
        """
        left, right = self.left.evaluate(values), self.right.evaluate(values)
        _agree(left, right, self.text)
        return _COMPARISONS[self.symbol](left.value, right.value)


def parse(text: str, known: Mapping[str, object] | None = None) -> Expression:
    """An expression from its text; names must be in `known` where it is given.

    Raises:
        SimexploreError: `expected …, found …`.
    """
    if len(text) > _MAX_LENGTH:
        raise SimexploreError(f"expected an expression of at most {_MAX_LENGTH} characters, found {len(text)}")
    quantities: list[str] = []

    def placed(match: re.Match[str]) -> str:
        quantities.append(match.group(0))
        return f"__quantity{len(quantities) - 1}"

    try:
        if "#" in text:  # Python would take the rest for a comment
            raise SyntaxError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(_QUANTITY.sub(placed, text.strip()), mode="eval").body
        _check_depth(tree)
        names = frozenset(_names(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SimexploreError(
            f"expected an expression such as '0.3 MiB * sm.count', found {show(text)} (it does not parse)"
        ) from None
    for name in sorted(names):
        if known is not None and name not in known:
            raise SimexploreError(f"expected the name of a known value, found {show(name)}{nearest(name, [*known])}")
    return Expression(text, tree, tuple(quantities), names)


def parse_condition(text: str, known: Mapping[str, object] | None = None) -> Condition:
    """A condition such as `peak_memory_bytes <= 141 GB`.

    Raises:
        SimexploreError: `expected …, found …`.
    """
    parts = re.split(r"(<=|>=|<|>)", text, maxsplit=2)
    if len(parts) != 3:
        raise SimexploreError(f"expected one comparison such as 'peak_memory_bytes <= 141 GB', found {show(text)}")
    return Condition(text, parse(parts[0], known), parse(parts[2], known), parts[1])


def unit_text(powers: Powers) -> str:
    """Base units for people: `B/s`, or `no unit`."""
    over = " ".join(base if power == 1 else f"{base}^{power:g}" for base, power in powers if power > 0)
    under = "".join(f"/{base}" if power == -1 else f"/{base}^{-power:g}" for base, power in powers if power < 0)
    return (over or "1") + under if powers else "no unit"


def _agree(left: Amount, right: Amount, text: str) -> None:
    if left.powers != right.powers:
        found = f"{unit_text(left.powers)} and {unit_text(right.powers)}"
        raise SimexploreError(f"expected the same unit on both sides, found {found} in {show(text)}")


def _sorted(powers: Mapping[str, float]) -> Powers:
    return tuple(sorted((base, float(power)) for base, power in powers.items() if power))


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise SyntaxError


def _check_depth(tree: ast.expr) -> None:
    """No more levels than `_MAX_DEPTH`, found without a stack frame for each."""
    level: list[ast.AST] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise SimexploreError(f"expected at most {_MAX_DEPTH} levels of operations, found more")


def _names(node: ast.expr) -> Iterator[str]:
    """The names that an expression needs; raises SyntaxError for what no expression may hold."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise SyntaxError
        if not np.isfinite(float(str(node.value))):
            raise SyntaxError
    elif isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node)
        if not name.startswith("__quantity"):
            yield name
        elif isinstance(node, ast.Attribute):  # a number has no parts
            raise SyntaxError
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        yield from _names(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield from _names(node.left)
        yield from _names(node.right)
    elif _is_call(node):
        assert isinstance(node, ast.Call)
        for argument in node.args:
            yield from _names(argument)
    else:
        raise SyntaxError


def _is_call(node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords):
        return False
    several = node.func.id in ("min", "max")
    return node.func.id in _FUNCTIONS and (len(node.args) >= 2 if several else len(node.args) == 1)
