"""The table of measured kernels: one row a kernel, its parameters, its time, and how it was timed.

Columns are `source, device, op, dtype, time_us`, the operator's own parameters under their own names (`m`, `n`, `k`,
`seq_kv`, `kv_dtype`, …), optionally `power_w`, `clock_mhz`, `earlier_shapes` and how the row was run (`launch`,
`clocks`, `caches`); any other column is kept and ignored. A parameter's column counts for the rows whose operator has
it, and holds nothing for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import did_you_mean
from simexplore.workloads.operators.parameters import MAX_COUNT, parameters_of
from simexplore.workloads.ops import FAMILIES

KEYS = ("source", "device", "op", "dtype")
"""Text columns that every table has."""
TIME = "time_us"
POWER = "power_w"
CLOCK = "clock_mhz"
"""Optional: the clock of the SMs, read with the power."""
LAUNCH, CLOCKS, CACHES = "launch", "clocks", "caches"
"""Optional: how a row was run, where its source does not tell. The words that each may hold are in `TAKEN`."""
EARLIER_SHAPES = "earlier_shapes"
"""Optional, of eager rows: how many other shapes of the operator the same process had called before."""

Place = Callable[[int], str]
"""Where a row of the table was read, for messages: `gemm.csv:17`."""


@dataclass(frozen=True)
class Conditions:
    """How kernels were run while they were timed, as far as it changes their time.

    The defaults are what is assumed of a source that says nothing: one kernel after another on a stream, the same
    operands again and again, so that whatever fits in L2 is read from there.
    """

    launch: Literal["stream", "graph", "queued", "profiled"] = "stream"
    """`queued`: an engine's eager calls on a stream, issued while the ones before run, so that the host's pace holds
    back what is shorter; `profiled`: times are a profiler's durations of the kernels alone."""
    plugin_launch: Literal["stream", "graph"] | None = None
    """Launch of GEMMs that an engine's plugins compute, where those of the library are launched otherwise."""
    weight_copies: int = 1
    """Copies of the weights that runs rotate over; 1: the same ones each time."""
    until_l2_is_full: bool = False
    """Fewer copies of the weights than that where fewer fill L2."""
    activation_copies: int = 1
    """Copies of the activations that runs rotate over; 1: the same ones each time."""
    activation_dtype: str | None = None
    """Type in which activations reach a GEMM on narrower types, quantising them being timed too. None: it is not."""
    attention_module: bool = False
    """Attention rows are the module around the kernel: they include RoPE and the append to the KV cache."""
    rotation: bool = True
    """RoPE is among what they include; False: where an engine has a kernel of its own for it, that was left out."""
    runs_before: float = 0.0
    """Runs of a kernel before those that were timed; inf: so many that clocks and power had settled."""
    runs: float = 1.0
    """Runs that a time is the mean of."""
    eager: bool = False
    """A framework was called on an idle stream: the host's time up to the first launch is part of the row's."""
    base_clocks: bool = False
    """Clocks were locked to the base clock, as Nsight Compute does."""
    cold_caches: bool = False
    """Caches were flushed before each run: copies of operands don't matter, none is in L2."""
    activity: float | None = None
    """Switching that operands cause over that of random bits; 0: all of them are the same constant; None: they were
    drawn from a normal distribution, as most are."""
    engine: str = ""
    """The serving engine whose kernels were timed; nothing: a library's, or one's that no machine tells of."""
    own_rate: bool = False
    """The loop is nobody's library kernel: its watts tell of the machine, its time does not."""


ASSUMED = Conditions(runs_before=5.0, runs=30.0)
"""Conditions of a source that no adaptor knows: a loop of some tens of runs after a few to warm up."""

TAKEN: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        LAUNCH: {word: {"launch": word} for word in ("stream", "graph", "queued", "profiled")},
        CLOCKS: {"boost": {"base_clocks": False}, "base": {"base_clocks": True}},
        CACHES: {"warm": {"cold_caches": False}, "flushed": {"cold_caches": True}},
    }
)
"""Column → word in it → what it says of the conditions."""


def conditions_told(conditions: Conditions, row: Mapping[str, str]) -> Conditions:
    """Conditions of a source, changed by what a row says itself in the columns of `TAKEN`."""
    changes = [words[row[column]] for column, words in TAKEN.items() if row.get(column)]
    return replace(conditions, **{name: value for change in changes for name, value in change.items()})


ConditionsOf = Callable[[str, str], Conditions]
"""(source, op) → how those rows were run."""


def _assume(source: str, op: str) -> Conditions:  # noqa: ARG001 - the signature of ConditionsOf
    return ASSUMED


@dataclass(frozen=True)
class Measurements:
    """Checked rows. Text columns hold '' where nothing is given, number columns NaN."""

    frame: pd.DataFrame
    conditions_of: ConditionsOf = _assume

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, op: str | None = None, dtype: str | None = None) -> Measurements:
        """The rows of one operator family, of one dtype, or of both.

        Raises:
            SimexploreError: no row is left; names the values that there are.
        """
        frame = self.frame
        for column, wanted in (("op", op), ("dtype", dtype)):
            if wanted is None:
                continue
            present = sorted(frame[column].unique())
            frame = frame[frame[column] == wanted]
            if frame.empty:
                raise SimexploreError(
                    f"no measured row has {column} {wanted!r}{did_you_mean(wanted, present)}: "
                    f"the table has {', '.join(present)}"
                )
        return Measurements(frame.reset_index(drop=True), self.conditions_of)


def join(tables: Iterable[Measurements]) -> Measurements:
    """Several tables as one; every row keeps the conditions of its own table's sources."""
    tables = list(tables)
    if len(tables) == 1:
        return tables[0]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    for column in _text_columns():
        if column in frame:
            frame[column] = frame[column].fillna("")
    owner = {source: table.conditions_of for table in tables for source in table.frame["source"].unique()}
    return Measurements(frame, lambda source, op: owner[source](source, op))


def checked(frame: pd.DataFrame, name: str, place: Place) -> pd.DataFrame:
    """The table with text as text and numbers as float64, or the first thing that is wrong with it.

    Args:
        frame: columns as they were read, cells as text or numbers.
        name: what is being read, for messages about the whole table.
        place: position of a row → where it is, for messages about that row.

    Raises:
        SimexploreError: a column is missing, a cell of a known column is empty where it is needed, not a number, or
            out of its range. Names the file, the line, the column, what was expected and what was found.
    """
    for column in (*KEYS, TIME):
        if column not in frame:
            hint = did_you_mean(column, [str(known) for known in frame.columns])
            raise SimexploreError(f"{name}: expected a column {column!r}, found {_listed(frame.columns)}{hint}")
    if frame.empty:
        raise SimexploreError(f"{name}: expected rows below the header, found none")
    table = frame.reset_index(drop=True)
    for column in _text_columns() & set(table.columns):
        table[column] = _text(table[column])
    for column in KEYS:
        _refuse(table[column] == "", table[column], column, "text", place)
    table[TIME] = numbers(table[TIME], TIME, "a time above 0 in microseconds", place, above=0.0)
    _refuse(table[TIME].isna(), frame[TIME], TIME, "a time above 0 in microseconds", place)
    if POWER in table:
        table[POWER] = numbers(table[POWER], POWER, "a power above 0 in watts, or nothing", place, above=0.0)
    if CLOCK in table:
        table[CLOCK] = numbers(table[CLOCK], CLOCK, "a clock above 0 in MHz, or nothing", place, above=0.0)
    for column in _count_columns() & set(table.columns):
        table[column] = _counts(table, column, place)
    if EARLIER_SHAPES in table:
        table[EARLIER_SHAPES] = numbers(
            table[EARLIER_SHAPES], EARLIER_SHAPES, "a whole number, or nothing", place, whole=True
        )
    for column in TAKEN.keys() & set(table.columns):
        wrong = ~table[column].isin(["", *TAKEN[column]])
        _refuse(wrong, table[column], column, f"{', '.join(TAKEN[column])}, or nothing", place)
    for op in table["op"].unique():
        if op in FAMILIES:
            _check_family(table, op, name, place)
    return table


def _check_family(table: pd.DataFrame, op: str, name: str, place: Place) -> None:
    """Every parameter that a family needs is there, and no count is below its minimum."""
    rows = table["op"] == op
    for column, (field, parameter) in parameters_of(FAMILIES[op]).items():
        if column not in table:
            if field.default is MISSING:
                needed = ", ".join(parameters_of(FAMILIES[op]))
                raise SimexploreError(
                    f"{name}: expected a column {column!r} for {op} rows ({needed}), found {_listed(table.columns)}"
                )
            continue
        values = table[column]
        if parameter.kind == "count":
            if field.default is MISSING:
                _refuse(rows & values.isna(), values.astype(object).where(values.notna(), ""), column,
                        f"{parameter.expected} ({op}: {parameter.description})", place)  # fmt: skip
            _refuse(rows & (values < parameter.minimum), values, column, parameter.expected, place)


def _counts(table: pd.DataFrame, column: str, place: Place) -> pd.Series[Any]:
    """A parameter as float64, of rows whose family has it; of other rows, what the column holds is not our affair.

    A table may name its hardware in `hw`, where another has the height and width of an image.
    """
    families = {op for op, family in FAMILIES.items() if column in parameters_of(family)}
    mine = table["op"].isin(families)
    values = numbers(table[column].where(mine), column, "a whole number, or nothing", place, whole=True)
    return values.where(mine, pd.to_numeric(table[column], errors="coerce").astype("float64"))


def numbers(
    cells: pd.Series[Any], column: str, expected: str, place: Place, *, above: float = -np.inf, whole: bool = False
) -> pd.Series[Any]:
    """Cells as float64, NaN where they are empty."""
    empty = cells.isna()
    if not pd.api.types.is_numeric_dtype(cells):
        empty |= cells.astype(str).str.strip() == ""
    values = pd.to_numeric(cells.where(~empty), errors="coerce").astype("float64")
    bad = ~empty & ~(np.isfinite(values) & (values > above))
    if whole:
        bad |= ~empty & ((values != np.floor(values)) | (values < 0) | (values > MAX_COUNT))
    _refuse(bad, cells, column, expected, place)
    return values


def _refuse(bad: pd.Series[bool], cells: pd.Series[Any], column: str, expected: str, place: Place) -> None:
    """Raise for the first bad row, if there is one."""
    mask: npt.NDArray[np.bool_] = bad.to_numpy(dtype=bool)
    if not mask.any():
        return
    row = int(mask.argmax())
    cell = cells.iloc[row]
    found = "nothing" if pd.isna(cell) or str(cell).strip() == "" else repr(str(cell)[:60])
    raise SimexploreError(f"{place(row)}: {column}: expected {expected}, found {found}")


def _text(cells: pd.Series[Any]) -> pd.Series[Any]:
    return cells.astype(object).where(cells.notna(), "").astype(str).str.strip()


def _listed(columns: Iterable[object], limit: int = 12) -> str:
    names = [str(column) for column in columns]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


@cache
def _kinds() -> Mapping[str, str]:
    """Kind (`count`, `dtype`, `label`) of every parameter that an operator family has."""
    return MappingProxyType(
        {name: entry[1].kind for family in FAMILIES.values() for name, entry in parameters_of(family).items()}
    )


def _text_columns() -> set[str]:
    return {*KEYS, *TAKEN, *(name for name, kind in _kinds().items() if kind != "count")}


def _count_columns() -> set[str]:
    return {name for name, kind in _kinds().items() if kind == "count"}
