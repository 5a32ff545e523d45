"""Measured rows as columns of operators: what `predict` takes and what it must be told about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import MISSING, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.kernels.measurement import EARLIER_SHAPES, TAKEN, Conditions, Measurements, conditions_told
from simexplore.workloads.dtypes import DTYPES, bytes_of
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import ParameterError, parameters_of
from simexplore.workloads.ops import FAMILIES, AttentionDecode, MlaDecode

SMOOTHED = {"int8_sq": "int8"}
"""Tables' names for a GEMM of 8-bit integers whose activations arrive narrowed already (SmoothQuant, arXiv 2211.10438)
→ dtype multiplied."""
WEIGHT_ONLY = {"int8_wo": ("bf16", "int8"), "int4_wo": ("bf16", "int4"), "fp8_wo": ("bf16", "fp8")}
"""Tables' names for a GEMM whose weights alone are quantised → (dtype multiplied, dtype of the weights)."""
NARROW_EXPERTS = {
    "int4_wo": ("bf16", "int4"),
    "fp8_wo": ("bf16", "fp8"),
    "w4a16_mxfp4": ("bf16", "mxfp4"),
    "w4afp8": ("fp8", "int4"),
    "w4a8_mxfp4_mxfp8": ("mxfp8", "mxfp4"),
}
"""The same of layers of experts."""
RENAMED = {"gemm": {*WEIGHT_ONLY, *SMOOTHED}, "moe": {*NARROW_EXPERTS}}
"""Names of tables that are no data types, by operator."""
LATENT_HEAD = 576
"""Features of a key of a latent cache: 512 compressed and 64 rotated ones."""
PLUGINS = {*WEIGHT_ONLY, *SMOOTHED}
"""GEMMs that engines have plugins of their own for."""


@dataclass(frozen=True)
class OperatorColumn:
    """Rows of one source, family and set of dtypes."""

    rows: npt.NDArray[np.intp]
    """Their positions in the table."""
    record: Operator
    """One operator record whose counts are arrays, one entry a row."""
    conditions: Conditions
    source: str = ""
    earlier_shapes: npt.NDArray[np.float64] | None = None
    """Of each row, where the table tells it (`measurement.EARLIER_SHAPES`)."""

    def part(self, start: int, stop: int) -> OperatorColumn:
        """Consecutive rows."""
        return self.take(np.arange(start, min(stop, len(self.rows))))

    def take(self, chosen: npt.NDArray[np.intp]) -> OperatorColumn:
        """Some of the rows."""
        values = {
            name: value[chosen] if isinstance(value, np.ndarray) else value
            for name in parameters_of(self.record)
            for value in (getattr(self.record, name),)
        }
        earlier = None if self.earlier_shapes is None else self.earlier_shapes[chosen]
        return OperatorColumn(self.rows[chosen], type(self.record)(**values), self.conditions, self.source, earlier)


def operator_columns(measurements: Measurements) -> tuple[list[OperatorColumn], Counter[str]]:
    """All rows as columns of operators, and how many rows were refused by reason.

    Refused are families and dtypes that no operator record has, and rows whose parameters contradict each other.
    """
    columns: list[OperatorColumn] = []
    refused: Counter[str] = Counter()
    frame = _with_latent_heads(measurements.frame.reset_index(drop=True))
    keys = ["source", "op", *sorted((_text_parameters() | TAKEN.keys()) & set(frame.columns))]
    for key, rows in frame.groupby(keys, sort=False):
        values = {name: str(value) for name, value in zip(keys, key, strict=True)}
        source, op = values.pop("source"), values.pop("op")
        reason = _unknown(op, values)
        if reason is not None:
            refused[reason] += len(rows)
            continue
        conditions = conditions_told(measurements.conditions_of(source, op), values)
        if op == "gemm" and values["dtype"] in PLUGINS and conditions.plugin_launch is not None:
            conditions = replace(conditions, launch=conditions.plugin_launch)
        dtypes = _dtypes(op, values, conditions)
        good, reasons = _consistent(op, rows, dtypes)
        refused.update(reasons)
        if good.any():
            positions = rows.index.to_numpy(dtype=np.intp)[good]
            earlier = _earlier_shapes(rows[good]) if conditions.eager else None
            columns.append(OperatorColumn(positions, _record(op, rows[good], dtypes), conditions, source, earlier))
    return columns, refused


def _with_latent_heads(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of decode attention with one key head of 576 features are a latent cache's (DeepSeek-V2, section 2.1).

    No other attention has such heads, and its values are the first 512 features of its keys, so they are not read.
    """
    if not {"kv_heads", "head_dim"} <= set(frame.columns):
        return frame
    latent = (frame["op"] == AttentionDecode.op) & (frame["kv_heads"] == 1) & (frame["head_dim"] == LATENT_HEAD)
    return frame.assign(op=frame["op"].mask(latent, MlaDecode.op)) if latent.any() else frame


def _text_parameters() -> set[str]:
    """Dtypes, and words such as whose kernel it is."""
    known = (parameters_of(family) for family in FAMILIES.values())
    return {name for family in known for name, (_, parameter) in family.items() if parameter.kind != "count"}


def _unknown(op: str, dtypes: dict[str, str]) -> str | None:
    """Why no operator record can hold such rows."""
    if op not in FAMILIES:
        return f"operator {op} is not modelled"
    for name, (_, parameter) in parameters_of(FAMILIES[op]).items():
        dtype = dtypes.get(name, "") if parameter.kind == "dtype" else ""
        named = name == "dtype" and dtype in RENAMED.get(op, ())
        if dtype and dtype not in DTYPES and not named:
            return f"{op} with {name} {dtype} is not modelled"
    return None


def _dtypes(op: str, given: dict[str, str], conditions: Conditions) -> dict[str, str]:
    """Dtype and text parameters of the record: what the row gives, then what its table's conditions say."""
    known = parameters_of(FAMILIES[op])
    dtypes = {name: dtype for name, dtype in given.items() if name in known and dtype}
    if op == "moe" and dtypes["dtype"] in NARROW_EXPERTS:
        dtypes["dtype"], dtypes["weight_dtype"] = NARROW_EXPERTS[dtypes["dtype"]]
    if op not in ("gemm", "bmm"):
        return dtypes
    if dtypes["dtype"] in WEIGHT_ONLY:
        dtypes["dtype"], dtypes["weight_dtype"] = WEIGHT_ONLY[dtypes["dtype"]]
    if dtypes["dtype"] in SMOOTHED:
        return {**dtypes, "dtype": SMOOTHED[dtypes["dtype"]]}
    arriving = conditions.activation_dtype
    if arriving is not None and bytes_of(dtypes["dtype"]) < bytes_of(arriving):
        dtypes.setdefault("activation_dtype", arriving)
    return dtypes


def _record(op: str, rows: pd.DataFrame, dtypes: dict[str, str]) -> Operator:
    family = FAMILIES[op]
    counts: dict[str, Any] = {}
    for name, (field, parameter) in parameters_of(family).items():
        if parameter.kind == "count" and name in rows:
            values = rows[name] if field.default is MISSING else rows[name].fillna(field.default)
            counts[name] = values.to_numpy(dtype=np.int64)
    return family(**counts, **dtypes)


def _earlier_shapes(rows: pd.DataFrame) -> npt.NDArray[np.float64] | None:
    """What the table tells of each row; a row of which it doesn't is taken as the first."""
    if EARLIER_SHAPES not in rows:
        return None
    return rows[EARLIER_SHAPES].fillna(0.0).to_numpy(dtype=np.float64)


def _consistent(op: str, rows: pd.DataFrame, dtypes: dict[str, str]) -> tuple[npt.NDArray[np.bool_], Counter[str]]:
    """Which rows hold parameters that agree with each other (a window of keys, heads that divide, …), and why not."""
    good = np.ones(len(rows), dtype=bool)
    reasons: Counter[str] = Counter()
    if _contradiction(op, rows, dtypes) is not None:
        for row in range(len(rows)):
            reason = _contradiction(op, rows.iloc[[row]], dtypes)
            if reason is not None:
                good[row] = False
                reasons[reason] += 1
    return good, reasons


def _contradiction(op: str, rows: pd.DataFrame, dtypes: dict[str, str]) -> str | None:
    try:
        _record(op, rows, dtypes).check_relations()
    except ParameterError as error:
        return f"{op}: {error.parameter} is not {error.expected}"
    return None
