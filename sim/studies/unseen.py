"""How far off machines are that were never measured: each from what other machines taught, on its own rows.

`NAME@family` is a machine's facts and what others taught; no row of NAME is in it. Rows are a sample of each table,
drawn with a seed. A figure is the mean absolute error in per cent; beside it stands the bound that it is held to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns
from simexplore.sim.compare.comparison import Errors, compare
from simexplore.sim.compare.possible import too_fast

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "unseen.yaml"
ROWS = 600
"""Most rows that are predicted of a table and an operator."""
SEED = 0
OWN = "the rows of the machine itself, none of which was fitted"


@dataclass(frozen=True)
class Table:
    """Rows of one operator of one machine."""

    arch: str
    op: str
    source: str
    """A data set, or a file in the folder of measured tables."""
    most: float
    """Error that it is held to [%]."""
    gap: str = ""
    """Why it is known to lie beyond; empty where it is held."""
    cubes: tuple[tuple[int, int, int], ...] = ()
    """Only these m, n, k; empty: all."""

    @property
    def name(self) -> str:
        """What the figure is called."""
        return f"{self.arch}: {self.op} bf16{', large and thin' if self.cubes else ''}"


class Figure(NamedTuple):
    """The error of a machine from its family, and what shows it."""

    table: Table
    errors: Errors
    refused: int
    too_fast: int
    """Rows of the whole table that are faster than the machine can be: none of them was drawn."""


def study(measured: Path) -> list[dict[str, Any]]:
    """The records; see `sim.studies`.

    Args:
        measured: the folder with the tables that are no part of a package.

    Raises:
        SimexploreError: no table can be read.
    """
    return [
        {
            "paper": read_document(PUBLISHED).data["paper"],
            "quantity": f"{figure.table.name} ({figure.errors.rows} rows, {_coverage(figure.errors)} inside)",
            "unit": "%",
            "published": figure.table.most,
            "simulated": 100.0 * figure.errors.mape,
            "ratio": 100.0 * figure.errors.mape / figure.table.most,
            "status": "known_gap" if figure.table.gap else "enforced",
            "source": (figure.table.gap or OWN) + _left_out(figure.too_fast),
        }
        for figure in figures(tables(), measured)
    ]


def _left_out(rows: int) -> str:
    return f"; {rows} rows that are faster than the machine can be are left out" if rows else ""


def _coverage(errors: Errors) -> str:
    return "–" if errors.interval_coverage is None else f"{100.0 * errors.interval_coverage:.0f} %"


def tables() -> list[Table]:
    """The tables of the study, as its published file lists them."""
    told = read_document(PUBLISHED).data["tables"]
    return [Table(**{**entry, "cubes": tuple(map(tuple, entry.get("cubes", ())))}) for entry in told]


def figures(wanted: Sequence[Table], measured: Path, rows: int = ROWS) -> Iterator[Figure]:
    """The error of each table's sample. Raises SimexploreError where no table can be read."""
    found = 0
    for table in wanted:
        try:
            chosen, too_fast = sample(table, measured, rows)
        except SimexploreError as error:
            missing = error
            continue
        found += 1
        name = f"{table.arch}@family"
        told = compare(load_arch(name), chosen, with_engine=partial(load_arch, name, None))
        yield Figure(table, told.total, sum(told.refused.values()), too_fast)
    if not found:
        raise missing


def sample(table: Table, measured: Path, rows: int) -> tuple[Measurements, int]:
    """At most `rows` rows in 16 bits of a table, drawn with `SEED`, and how many were not drawn from.

    Those are faster than the machine can be, and tell nothing of it.

    Raises:
        SimexploreError: the table is not there, or has no such row.
    """
    source = table.source if ":" in table.source else measured / table.source
    known = read_measurements(source)
    frame = known.frame
    narrow = [name for name in ("kv_dtype", "weight_dtype", "activation_dtype") if name in frame]
    wide = frame["dtype"].isin(["bf16", "fp16"]) & frame[narrow].isin(["", "bf16"]).all(axis=1)
    kept = wide & (frame["op"] == table.op) & _shaped(table, known)
    impossible = kept.to_numpy() & _impossible(table, known)
    positions = np.flatnonzero(kept.to_numpy() & ~impossible)
    if not len(positions):
        raise SimexploreError(f"{table.source}: expected rows of {table.op} in 16 bits, found none")
    drawn = np.random.default_rng(SEED).choice(positions, min(rows, len(positions)), replace=False)
    chosen = Measurements(frame.iloc[np.sort(drawn)].reset_index(drop=True), known.conditions_of)
    return chosen, int(impossible.sum())


def _impossible(table: Table, known: Measurements) -> npt.NDArray[np.bool_]:
    """Which rows are faster than the machine can be."""
    columns = (column for column in operator_columns(known)[0] if column.record.op == table.op)
    return too_fast(columns, known.frame, load_arch(f"{table.arch}@facts")) > 0.0


def _shaped(table: Table, known: Measurements) -> Any:
    frame = known.frame
    if not table.cubes:
        return frame["op"] == table.op
    shapes = set(table.cubes)
    return frame[["m", "n", "k"]].apply(lambda row: tuple(row) in shapes, axis=1)
