"""Tables of operators: from what Python users have to columns of records, and from predictions back to a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simexplore.errors import SimexploreError
from simexplore.sim.estimate.operators import Prediction
from simexplore.workloads.hints import did_you_mean
from simexplore.workloads.operators.columns import even
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import FAMILIES, Operator, parse_operator

if TYPE_CHECKING:
    import pandas as pd

Operators: TypeAlias = "pd.DataFrame | Mapping[str, Any] | Operator | Iterable[Operator | str]"
"""A table with a column `op` and one for each parameter, a record with columns, or operators one by one."""

_OP = "op"


class Part(NamedTuple):
    """Rows of one family and one set of types."""

    record: Operator
    rows: NDArray[np.intp]
    """Their positions in the table."""


class Columns(NamedTuple):
    """All rows of a table."""

    parts: tuple[Part, ...]
    rows: int
    index: Any = None
    """Of the table, where it was a DataFrame."""


def columns_of(operators: Operators) -> Columns:
    """Rows of operators as records of columns.

    Raises:
        SimexploreError: an unknown family, a parameter that is missing, unknown or out of range, columns of several
            lengths.
    """
    if isinstance(operators, Operator):
        record = even(operators)
        sizes = [len(v) for name in parameters_of(record) if isinstance(v := getattr(record, name), np.ndarray)]
        rows = sizes[0] if sizes else 1
        record.validate()
        return Columns((Part(record, np.arange(rows)),), rows)
    if isinstance(operators, Mapping):
        return _of_columns(operators, None, strict=True)
    if hasattr(operators, "columns") and hasattr(operators, "index"):
        frame: Any = operators
        return _of_columns({str(name): frame[name].to_numpy() for name in frame.columns}, frame.index, strict=False)
    return _one_by_one([operators] if isinstance(operators, str) else list(operators))


def _one_by_one(given: list[Any]) -> Columns:
    groups: dict[tuple[Any, ...], list[int]] = {}
    records = [parse_operator(each) if isinstance(each, str) else each for each in given]
    for row, record in enumerate(records):
        if not isinstance(record, Operator):
            raise SimexploreError(f"row {row}: expected an operator such as 'gemm(m=16,n=64,k=64)', found {record!r}")
        groups.setdefault((type(record), *_types(record)), []).append(row)
    parts = []
    for rows in groups.values():
        first = records[rows[0]]
        counts = {
            name: np.array([getattr(records[row], name) for row in rows], dtype=np.int64)
            for name, (_, parameter) in parameters_of(first).items()
            if parameter.kind == "count"
        }
        parts.append(Part(type(first)(**{**_values(first), **counts}), np.array(rows, dtype=np.intp)))
    return Columns(tuple(parts), len(records))


def _values(record: Operator) -> dict[str, Any]:
    return {name: getattr(record, name) for name in parameters_of(record)}


def _types(record: Operator) -> tuple[Any, ...]:
    known = parameters_of(record).items()
    return tuple(getattr(record, name) for name, (_, parameter) in known if parameter.kind != "count")


def _of_columns(given: Mapping[str, Any], index: Any, *, strict: bool) -> Columns:
    """`strict`: a column that no operator in the table has is a mistake; tables may hold other things."""
    arrays = {name: np.atleast_1d(np.asarray(value)) for name, value in given.items()}
    rows = max((len(array) for array in arrays.values() if len(array) != 1), default=1)
    rows = rows if index is None else len(index)
    for name, array in arrays.items():
        if array.ndim != 1 or len(array) not in (1, rows):
            raise SimexploreError(f"{name}: expected a column of {rows} rows, found an array of shape {array.shape}")
    if _OP not in arrays:
        raise SimexploreError(
            f"expected a column 'op' with operators' families, found {', '.join(arrays) or 'no column'}"
        )
    table = {name: np.broadcast_to(array, (rows,)) for name, array in arrays.items()}
    families = {str(name): _family(name) for name in dict.fromkeys(table[_OP].tolist())}
    known = {_OP, *(name for family in families.values() for name in parameters_of(family))}
    unknown = next((name for name in table if name not in known), None) if strict else None
    if unknown is not None:
        raise SimexploreError(f"unknown column {unknown!r}{did_you_mean(unknown, known)}")
    parts = [part for name, family in families.items() for part in _of_family(family, table, table[_OP] == name)]
    return Columns(tuple(parts), rows, index)


def _family(name: object) -> type[Operator]:
    if name not in FAMILIES:
        text = str(name)
        raise SimexploreError(f"op: unknown operator family {text!r}{did_you_mean(text, FAMILIES)}")
    return FAMILIES[str(name)]


def _of_family(family: type[Operator], table: Mapping[str, NDArray[Any]], where: NDArray[np.bool_]) -> Iterator[Part]:
    """Rows of a family, a part for each set of types."""
    positions = np.flatnonzero(where)
    known = parameters_of(family)
    words = [name for name, (_, parameter) in known.items() if parameter.kind != "count" and name in table]
    groups: dict[tuple[Any, ...], list[int]] = {}
    columns = [[None if _missing(word) else str(word) for word in table[name][positions]] for name in words]
    for position, key in zip(
        positions.tolist(), zip(*columns, strict=True) if words else [()] * len(positions), strict=True
    ):
        groups.setdefault(key, []).append(position)
    for key, rows in groups.items():
        own = np.array(rows, dtype=np.intp)
        types = {name: word for name, word in zip(words, key, strict=True) if word is not None}
        counts = {
            name: _counts(family, name, table[name][own])
            for name, (_, parameter) in known.items()
            if parameter.kind == "count" and name in table
        }
        for name, (field, _) in known.items():
            if name not in types and name not in counts and field.default is MISSING:
                raise SimexploreError(f"expected a column {name!r} for {family.op} ({family.example}), found none")
        record = family(**counts, **types)
        record.validate()
        yield Part(record, own)


def _counts(family: type[Operator], name: str, column: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers; where a table holds nothing, the default."""
    field, parameter = parameters_of(family)[name]
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        raise SimexploreError(
            f"{family.op}: {name}: expected {parameter.expected}, found {column.tolist()[0]!r}"
        ) from None
    empty = np.isnan(numbers)
    if np.any(empty):
        if field.default is MISSING:
            raise SimexploreError(f"{family.op}: {name}: expected {parameter.expected}, found nothing in a row")
        numbers = np.where(empty, float(field.default), numbers)
    if np.any(numbers != np.floor(numbers)) or np.any(np.abs(numbers) > 2.0**53):
        odd = numbers[(numbers != np.floor(numbers)) | (np.abs(numbers) > 2.0**53)][0]
        raise SimexploreError(f"{family.op}: {name}: expected {parameter.expected}, found {odd:g}")
    return numbers.astype(np.int64)


def _missing(word: Any) -> bool:
    return word is None or word != word or word in ("", "none")


def frame_of(columns: Columns, told: Iterable[Prediction]) -> pd.DataFrame:
    """Predictions of a table's parts, in the order of its rows."""
    import pandas as pd

    numbers = {name: np.empty(columns.rows) for name in _TOLD}
    bound = np.empty(columns.rows, dtype=object)
    for part, prediction in zip(columns.parts, told, strict=True):
        for name, of in _TOLD.items():
            numbers[name][part.rows] = of(prediction)
        bound[part.rows] = prediction.bound
    return pd.DataFrame({**numbers, "bound": bound}, index=columns.index)


_TOLD: Mapping[str, Any] = {
    "time_s": lambda told: told.time_s,
    "time_low_s": lambda told: told.low_s,
    "time_high_s": lambda told: told.high_s,
    "energy_j": lambda told: told.energy_j,
    "energy_low_j": lambda told: told.energy_j / told.energy_ratio,
    "energy_high_j": lambda told: told.energy_j * told.energy_ratio,
    "mean_power_w": lambda told: told.power_w,
    "correction": lambda told: told.correction,
}
"""Columns of numbers, and what each is of a prediction."""
