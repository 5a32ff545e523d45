"""A sweep's Pareto front as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
import numpy as np
import pandas as pd

from simexplore.archs.units import one_line
from simexplore.cli.output import about, print_table, quantity
from simexplore.sim.explore.display import display_unit
from simexplore.sim.explore.pareto import FRONT, PROBABLY, pareto_table
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import MEETS, POINT, Column, Direction

_SCALED = ("B", "s", "J", "W", "Hz", "B/s", "op/s", "J/op", "J/B")


def cell(column: Column, value: Any, unit: tuple[float, str] | None = None) -> str:
    """A value with its unit, to four digits; in a unit of `display_unit`, or with the prefix that fits it."""
    if unit is not None:
        return f"{float(value) / unit[0]:.4g} {unit[1]}"
    if column.kind in ("text", "bool"):
        return one_line(str(value))
    if column.unit in _SCALED:
        return quantity(float(value), column.unit)
    number = f"{float(value):,.0f}" if column.kind == "int" or abs(value) >= 1e4 else f"{float(value):.4g}"
    return number if column.unit == "1" else f"{number} {column.unit.removeprefix('1')}"


def print_front(store: Store, table: pd.DataFrame, objectives: Mapping[str, Direction], limit: int | None) -> None:
    """The front, at most `limit` points spread evenly over it, with axes, objectives and what bounds each."""
    ranked = pareto_table(table, objectives)
    front = ranked[ranked["status"] == FRONT]
    click.echo(f"{one_line(str(store.metadata['name']))}: {len(table):,} points{_against(store, table)}")
    if front.empty:
        click.echo("no point meets all constraints")
        return
    overlapping = int((ranked["status"] == PROBABLY).sum())
    more = f"; {overlapping:,} more may be, their intervals overlap" if _has_intervals(store) else ""
    click.echo(f"{len(front):,} on the Pareto front of {', '.join(objectives)}{more}")
    click.echo()
    shown = front
    if limit is not None and len(front) > limit:
        shown = front.iloc[np.unique(np.linspace(0, len(front) - 1, limit).astype(int))]
    columns = [column for column in store.columns if column.role == "axis" or column.name in objectives]
    columns += [column for column in store.columns if column.name == "bound"]
    # Bytes in one unit for the whole column, MiB where all values are whole ones.
    units = {
        column.name: display_unit(column, table[column.name].to_numpy(np.float64))
        for column in columns
        if column.unit == "B"
    }
    rows = [
        [str(row[POINT]), *(cell(column, row[column.name], units.get(column.name)) for column in columns)]
        for _, row in shown.iterrows()
    ]
    print_table([POINT, *(one_line(column.name) for column in columns)], rows, left=0)
    if len(shown) < len(front):
        click.echo(
            f"… and {len(front) - len(shown):,} more: simexplore pareto {one_line(str(store.path.parent))} --limit 0"
        )


def _against(store: Store, table: pd.DataFrame) -> str:
    """How many points are not feasible, and which constraints they are against."""
    infeasible = int((~table["feasible"]).sum())
    if not infeasible:
        return ""
    each = list(_broken(store, table))
    if len(each) == 1:
        return f", {infeasible:,} of them against {each[0][0]}"
    listed = ", ".join(f"{count:,} {constraint}" for constraint, count in each)
    return f", {infeasible:,} of them against a constraint ({listed})"


def _broken(store: Store, table: pd.DataFrame) -> Iterator[tuple[str, int]]:
    for column in store.columns:
        if column.role == "constraint" and (count := int((~table[column.name]).sum())):
            yield one_line(column.name.removeprefix(MEETS)), count


def _has_intervals(store: Store) -> bool:
    return any(column.role == "interval" for column in store.columns)


def about_sweep(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What the JSON of a sweep begins with."""
    return about(str(metadata["arch"]["name"]), " and ".join(metadata["workloads"]), sweep=metadata["name"])
