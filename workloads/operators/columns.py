"""Operator records as columns."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simexplore.errors import SimexploreError

Record = TypeVar("Record")


def aligned(op: Record) -> Record:
    """An operator record whose numbers are Python's and whose columns have one length, integers as int64.

    Products of int32 would keep the low bits only. A column of one entry goes for all rows.

    Raises:
        SimexploreError: columns are empty, of several lengths or dimensions, or hold something else than numbers.
    """
    values: dict[str, Any] = {field.name: getattr(op, field.name) for field in fields(op)}  # type: ignore[arg-type]
    arrays = {name: np.asarray(value) for name, value in values.items() if isinstance(value, np.ndarray | np.generic)}
    if not arrays:
        return op
    lengths = {array.size for array in arrays.values() if array.ndim} - {1}
    for name, array in arrays.items():
        if array.ndim > 1 or len(lengths) > 1 or not array.size or array.dtype.kind not in "iuf":
            shape = "x".join(map(str, array.shape)) or "one"
            raise SimexploreError(
                f"{type(op).__name__}.{name}: expected columns of numbers of one length, at least 1, found {shape} of "
                f"{array.dtype}"
            )
    rows = max(lengths, default=1)
    spread = {name: _spread(array, rows) for name, array in arrays.items()}
    return op if all(spread[name] is values[name] for name in arrays) else replace(op, **spread)  # type: ignore[type-var]


def _spread(array: NDArray[Any], rows: int) -> Any:
    """A number, or a column of `rows` entries; as it is where it is one already."""
    if array.ndim == 0:
        return array.item()
    wide = np.float64 if array.dtype.kind == "f" else np.int64
    return array if array.shape == (rows,) and array.dtype == wide else np.broadcast_to(array, rows).astype(wide)


def column(value: Any) -> NDArray[np.float64]:
    """An operator's field as an array of shape (rows, 1), ready to meet candidates of shape (1, candidates)."""
    return np.atleast_1d(np.asarray(value, dtype=np.float64))[:, None]
