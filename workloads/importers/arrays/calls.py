"""A call as a framework has it: its name, its operands as shapes, and what else it was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simexplore.workloads.importers.lowering import Value


@dataclass(frozen=True, slots=True)
class AtenCall:
    """A call of an ATen operation: its name without overload, its arguments with a `Value` for each tensor, results."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: tuple[Value, ...]

    @property
    def tensors(self) -> tuple[Value, ...]:
        """All tensors among the arguments, those in lists too."""
        return tuple(values_in((*self.args, *self.kwargs.values())))

    def value(self, index: int) -> Value:
        """A tensor among the arguments."""
        value = self.args[index]
        assert isinstance(value, Value)
        return value

    def option(self, index: int, name: str, default: Any) -> Any:
        """An argument by position or by name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)


def values_in(arguments: Sequence[Any]) -> list[Value]:
    """The tensors among arguments, those in lists too."""
    found: list[Value] = []
    for each in arguments:
        if isinstance(each, Value):
            found.append(each)
        elif isinstance(each, list | tuple):
            found += values_in(each)
    return found


@dataclass(frozen=True, slots=True)
class OnnxCall:
    """A node of an ONNX graph: its operation, attributes, and its operands (None: left out) and results.

    `numbers` are those that are in the file of small operands of integers, such as axes; none of others.
    """

    name: str
    attributes: Mapping[str, Any]
    operands: tuple[Value | None, ...]
    results: tuple[Value, ...]
    opset: int
    numbers: tuple[tuple[int, ...] | None, ...] = ()

    def value(self, index: int) -> Value:
        """An operand."""
        value = self.operands[index]
        assert value is not None
        return value

    @property
    def given(self) -> tuple[Value, ...]:
        """The operands that are not left out."""
        return tuple(each for each in self.operands if each is not None)

    def told(self, index: int, name: str) -> tuple[int, ...] | None:
        """Integers that an attribute tells, or in newer files an operand; None where neither is in the file."""
        found = self.attributes.get(name, self.numbers[index] if index < len(self.numbers) else None)
        return (found,) if isinstance(found, int) else found if found is None else tuple(found)
