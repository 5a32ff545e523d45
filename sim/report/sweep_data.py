"""A sweep's table as the columns of its page: short numbers, levels once, and no more points than a page bears."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simexplore.sim.explore.display import SHARES, display_name, display_unit
from simexplore.sim.explore.pareto import FRONT, PROBABLY, SURELY, choose_objectives, pareto_table
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import POINT, Column
from simexplore.sim.report.page import rounded

MOST_POINTS = 10_000
MOST_CHARACTERS = 2_800_000
"""Of a page of 8 MB, Plotly takes 4.8 MB."""
MOST_LEVELS = 64
"""A column with no more different values than this is kept as levels and codes."""
STATUS = Column("pareto", "metric", "text", "text")
"""What a point is to the Pareto front, in words."""
INFEASIBLE = "infeasible"
WORDS = (FRONT, PROBABLY, SURELY, INFEASIBLE)

Mask = NDArray[np.bool_]
Words = NDArray[np.object_]


@dataclass(frozen=True)
class PageColumns:
    """What a page holds of a table."""

    columns: list[dict[str, Any]]
    points: int
    """Rows of the columns; fewer than the table's where that has too many."""
    constant: tuple[str, ...]
    """Results that are the same for all points, and not on the page."""


def page_columns(
    table: pd.DataFrame, columns: Sequence[Column], status: Words, random: np.random.Generator
) -> PageColumns:
    """The columns of a page.

    Args:
        table: `Store.results()`.
        columns: `Store.columns`.
        status: of each row, `point_status`.
        random: chooses points where there are too many; those of the front are all kept, as far as they fit.
    """
    shown, constant = _worth_showing(table, columns)
    rows = choose_rows(status == FRONT, MOST_POINTS, random)
    found = list(_encoded(table, shown, status, rows))
    size = len(json.dumps(found))
    if size > MOST_CHARACTERS:
        rows = choose_rows(status == FRONT, int(len(rows) * MOST_CHARACTERS / size), random)
        found = list(_encoded(table, shown, status, rows))
    return PageColumns(found, len(rows), constant)


def point_status(store: Store, results: pd.DataFrame) -> Words:
    """Of each row of the results, whether it is on the front, dominated probably or surely, or not feasible."""
    ranked = pareto_table(results, choose_objectives(store))
    known = pd.Series(ranked["status"].to_numpy(), index=ranked[POINT])
    return known.reindex(results[POINT], fill_value=INFEASIBLE).to_numpy(dtype=object)


def choose_rows(first: Mask, most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """At most so many rows in order: all of them, or the `first` ones and a fair choice of the others."""
    if len(first) <= most:
        return np.arange(len(first))
    wanted, others = np.flatnonzero(first), np.flatnonzero(~first)
    if len(wanted) >= most:
        return np.sort(random.choice(wanted, most, replace=False))
    return np.sort(np.concatenate([wanted, random.choice(others, most - len(wanted), replace=False)]))


def _worth_showing(table: pd.DataFrame, columns: Sequence[Column]) -> tuple[list[Column], tuple[str, ...]]:
    """Inputs and objectives in front, then results that differ between points."""
    order = ("axis", "derived", "objective", "feasible", "interval", "bound", "metric")
    varying = {column.name: table[column.name].nunique() > 1 for column in columns}
    kept = [
        column
        for role in order
        for column in columns
        if column.role == role and (varying[column.name] or role in ("axis", "objective", "bound"))
    ]
    constant = tuple(column.name for column in columns if column not in kept and column.role == "metric")
    return kept, constant


def _encoded(
    table: pd.DataFrame, columns: Sequence[Column], status: Words, rows: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    some = table.iloc[rows]
    yield {"key": POINT, "name": POINT, "role": "point", "kind": "number", "values": some[POINT].tolist()}
    placed = False
    for column in columns:
        if not placed and column.role not in ("axis", "derived", "objective"):
            yield _words(STATUS, "Pareto", status[rows].tolist(), WORDS)
            placed = True
        yield _column(column, some[column.name])
    if not placed:
        yield _words(STATUS, "Pareto", status[rows].tolist(), WORDS)


def _column(column: Column, values: pd.Series[Any]) -> dict[str, Any]:
    if column.kind == "bool":
        return _words(column, column.name, ["yes" if value else "no" for value in values])
    if column.kind == "text":
        return _words(column, column.name, [str(value) for value in values], column.words)
    floats = values.to_numpy(dtype=np.float64)
    factor, unit = display_unit(column, floats)
    known = {
        "key": column.name,
        "name": display_name(column),
        "role": column.role,
        "kind": "number",
        "factor": factor,
        "shown": unit,
        "direction": column.direction,
    }
    chosen = column.role in ("axis", "derived")
    if chosen and len(np.unique(floats)) <= MOST_LEVELS:
        levels, codes = np.unique(floats, return_inverse=True)
        return {**known, "levels": [_exact(level) for level in levels], "codes": codes.tolist()}
    return {**known, "values": rounded(floats, 9 if chosen else 3 if SHARES in column.name else 5)}


def _exact(value: float) -> float | int:
    return int(value) if value.is_integer() else float(value)


def _words(column: Column, name: str, texts: list[str], order: Sequence[str] = ()) -> dict[str, Any]:
    """A column of words; `order` is that of their colours, also where some do not occur."""
    words = [*order, *sorted(set(texts) - set(order))]
    codes = {word: code for code, word in enumerate(words)}
    return {
        "key": column.name,
        "name": name,
        "role": column.role,
        "kind": "text",
        "levels": words,
        "words": words,
        "codes": [codes[text] for text in texts],
    }
