"""Parameters as dataclass fields: one table that is schema, defaults, validation and documentation at once.

Operator records and workload options are frozen dataclasses whose fields carry a `Parameter` in their metadata.
`from_values` builds one from a user's values, `validate` checks one that was built in Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.workloads.dtypes import DTYPES, told
from simexplore.workloads.hints import did_you_mean, found, in_words

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_COUNT = 2**53
"""Largest count accepted: the last one that a float holds exactly."""

Record = TypeVar("Record", bound="DataclassInstance")

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,30}\s*")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a field means and which values it takes.

    Args:
        description: what it is, with its unit where it has one.
        kind: `count` (an integer), `lengths` (several of them), `dtype` (a name in `DTYPES`) or `label` (a word that
            changes no number).
        minimum: least value of a count.
    """

    description: str
    kind: Literal["count", "lengths", "dtype", "label"]
    minimum: int = 1

    @property
    def written(self) -> Literal["int", "text"]:
        """What a table has its values as."""
        return "int" if self.kind == "count" else "text"

    @property
    def expected(self) -> str:
        """The accepted values in words."""
        if self.kind == "dtype":
            return f"a dtype ({', '.join(DTYPES)})"
        if self.kind == "label":
            return "a word of letters, digits, '_', '.' and '-'"
        if self.kind == "lengths":
            return "positive integers with + between them"
        return "a positive integer" if self.minimum == 1 else f"an integer from {self.minimum}"


class ParameterError(SimexploreError):
    """A parameter is unknown, missing or has a bad value. `parameter` is None when the fault is in no single one."""

    def __init__(self, owner: str, parameter: str | None, expected: str, found_instead: str) -> None:
        self.owner, self.parameter, self.expected, self.found = owner, parameter, expected, found_instead
        where = owner if parameter is None else f"{owner}: {in_words(parameter)}"
        super().__init__(f"{where}: expected {expected}, found {found_instead}")


def count_of(description: str, minimum: int = 1) -> dict[str, Parameter]:
    """Field metadata of a count."""
    return {"parameter": Parameter(description, "count", minimum)}


def lengths_of(description: str) -> dict[str, Parameter]:
    """Field metadata of several positive integers, as `512+77+1`."""
    return {"parameter": Parameter(description, "lengths")}


def dtype_of(description: str) -> dict[str, Parameter]:
    """Field metadata of a data type."""
    return {"parameter": Parameter(description, "dtype")}


def accumulate_of() -> dict[str, Parameter]:
    """Field metadata of the type in which products are summed."""
    return dtype_of("type that products are summed in: fp16 or fp32; none: the tensor cores' widest, fp32")


def check_accumulate(owner: str, dtype: str, accumulate: str | None) -> None:
    """Check that tensor cores sum products of `dtype` in `accumulate` (PTX ISA, mma: f16 sums of f16 and fp8 only).

    Raises:
        ParameterError: another type of sums than fp16 and fp32, or sums of fp16 of a type that has none.
    """
    if accumulate not in (None, "fp16", "fp32"):
        raise ParameterError(owner, "accumulate", "fp16, fp32 or none", found(accumulate))
    if accumulate == "fp16" and dtype not in ("fp16", "fp8"):
        raise ParameterError(owner, "accumulate", f"fp32 or none, since dtype is {dtype}", found(accumulate))


def label_of(description: str) -> dict[str, Parameter]:
    """Field metadata of a word that is shown to people and changes no number."""
    return {"parameter": Parameter(description, "label")}


def parameters_of(record: Any) -> dict[str, tuple[Field[Any], Parameter]]:
    """Field and `Parameter` by name, in the order of declaration. `record` is a dataclass or an instance of one."""
    return _parameters(record if isinstance(record, type) else type(record))


@cache
def _parameters(record: type[Any]) -> dict[str, tuple[Field[Any], Parameter]]:
    return {f.name: (f, f.metadata["parameter"]) for f in fields(record)}


def signature(record: type[Any]) -> str:
    """`m, n, k, batch=1, dtype=bf16`: parameters and their defaults. Optional ones without a default show `=none`."""
    return ", ".join(
        name if field.default is MISSING else f"{name}={'none' if field.default is None else field.default}"
        for name, (field, _) in parameters_of(record).items()
    )


def from_values(record: type[Record], owner: str, values: Mapping[str, object], example: str) -> Record:
    """Build a record from a user's values, given as text or as plain data.

    Args:
        record: the dataclass to build.
        owner: what is being described, for messages: `gemm`, `llm/llama-3-8b/decode`.
        values: value by parameter name.
        example: a valid spelling, shown when a parameter is missing or unknown.

    Raises:
        ParameterError: an unknown or missing parameter, or a value out of its range.
    """
    known = parameters_of(record)
    for name in values:
        if name not in known:
            expected = f"one of the parameters {signature(record)} (example: {example})"
            raise ParameterError(owner, name, expected, f"{found(name)}{did_you_mean(name, known)}")
    for name, (field, parameter) in known.items():
        if name not in values and field.default is MISSING:
            raise ParameterError(
                owner, name, f"{parameter.expected}, {parameter.description} (example: {example})", "nothing"
            )
    return record(**{name: _read(owner, name, known[name], value) for name, value in values.items()})


def validate(record: DataclassInstance, owner: str) -> None:
    """Check every field of a record whose counts may be integers or numpy arrays of integers.

    Raises:
        ParameterError: a count below its minimum or not an integer, an unknown dtype, a bad label.
    """
    for name, entry in parameters_of(record).items():
        value = getattr(record, name)
        if isinstance(value, np.ndarray):
            _check_column(owner, name, entry[1], value)
        else:
            _read(owner, name, entry, value)


def _check_column(owner: str, name: str, parameter: Parameter, column: np.ndarray[Any, Any]) -> None:
    if parameter.kind != "count" or not np.issubdtype(column.dtype, np.integer):
        raise ParameterError(owner, name, parameter.expected, f"an array of {column.dtype}")
    if np.any(column < parameter.minimum):
        raise ParameterError(owner, name, parameter.expected, f"{column.min()} in an array")


def _read(
    owner: str, name: str, entry: tuple[Field[Any], Parameter], value: object
) -> int | str | tuple[int, ...] | None:
    field, parameter = entry
    if field.default is None and value in (None, "none"):
        return None
    if parameter.kind == "count":
        number = integer(value)
        if number is not None and number > MAX_COUNT:
            raise ParameterError(owner, name, f"at most 2**53 = {MAX_COUNT}", found(value))
        if number is None or number < parameter.minimum:
            raise ParameterError(owner, name, parameter.expected, found(value))
        return number
    if parameter.kind == "lengths":
        parts = value.split("+") if isinstance(value, str) else value if isinstance(value, tuple | list) else (value,)
        lengths = tuple(integer(part) for part in parts)
        if not lengths or any(length is None or not 0 < length <= MAX_COUNT for length in lengths):
            raise ParameterError(owner, name, parameter.expected, found(value))
        return tuple(length for length in lengths if length is not None)
    if isinstance(value, str):
        if parameter.kind == "dtype":
            if value in DTYPES:
                return value
            raise ParameterError(owner, name, parameter.expected, f"{found(value)}{told(value)}")
        if _LABEL.fullmatch(value):
            return value
    raise ParameterError(owner, name, parameter.expected, found(value))


def integer(value: object) -> int | None:
    """The integer that `value` is or spells, else None. True and False are not integers here."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    return None
