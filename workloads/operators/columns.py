"""Operator records as columns."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simexplore.errors import SimexploreError
from simexplore.workloads.operators.base import Operator

AnyOperator = TypeVar("AnyOperator", bound=Operator)


def column(value: Any) -> NDArray[np.float64]:
    """An operator's field as an array of shape (rows, 1), ready to meet candidates of shape (1, candidates)."""
    return as_floats(value)[:, None]


def as_floats(value: Any) -> NDArray[np.float64]:
    """Numbers as an array of shape (rows,) of floats."""
    array = np.atleast_1d(value)
    return array if array.dtype == np.float64 else array.astype(np.float64)


def as_integers(value: Any) -> NDArray[np.int64]:
    """Numbers as an array of shape (rows,) of whole ones."""
    array = np.atleast_1d(value)
    return array if array.dtype == np.int64 else array.astype(np.int64)


def even(op: AnyOperator) -> AnyOperator:
    """An operator whose columns are all as long as the longest and of 64-bit integers, which products do not overflow.

    Columns of one entry stand for any number of rows. What is even already comes back as it is.

    Raises:
        SimexploreError: columns of other shapes than (rows,), of other things than integers, or of several lengths.
    """
    columns = {
        each.name: np.asarray(value)
        for each in fields(op)  # type: ignore[arg-type]
        if isinstance(value := getattr(op, each.name), np.ndarray | np.generic)
    }
    rows = max((len(value) for value in columns.values() if value.ndim == 1 and len(value) != 1), default=1)
    changed = {}
    for name, value in columns.items():
        if value.ndim > 1 or not np.issubdtype(value.dtype, np.integer) or value.size not in (1, rows):
            found = f"an array of {value.dtype} of shape {value.shape}"
            raise SimexploreError(f"{op.op}: {name}: expected integers of shape ({rows},), found {found}")
        if value.dtype != np.int64 or value.shape != (rows,):
            changed[name] = np.broadcast_to(value.astype(np.int64), (rows,))
    return replace(op, **changed) if changed else op  # type: ignore[type-var]
