"""`simexplore pareto`: the Pareto front of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import pandas as pd

from simexplore.cli.explore.front import about_sweep, print_front
from simexplore.cli.options import json_option
from simexplore.cli.output import print_json
from simexplore.errors import SimexploreError
from simexplore.sim.explore.pareto import (
    FRONT,
    choose_objectives,
    hypervolume,
    losses,
    pareto_table,
    reference_point,
)
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Direction
from simexplore.sim.explore.verdict.verdict import verdict_of

SHOWN = 20
"""Points of a front that people look at; JSON has all."""


@click.command(epilog="Example: simexplore pareto out/ --objectives time_s,energy_j,area_mm2")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--objectives", metavar="A,B", default="", help="Columns to be best in; by default the sweep's own.")
@click.option("--all", "with_dominated", is_flag=True, help="With --json: dominated points too, with their status.")
@click.option(
    "--limit", type=click.IntRange(0), default=SHOWN, show_default=True, help="Points that are printed; 0: all of them."
)
@json_option()
def pareto(folder: Path, objectives: str, with_dominated: bool, limit: int, as_json: bool) -> None:
    """Print points of the sweep in DIR that no other point is better than in everything, spread over all of them.

    The hypervolume is taken to the worst value of each objective among the feasible points, and a hundredth of its
    range more: its reference, which is printed with it. Two sweeps have references of their own.
    """
    with Store.open(folder) as store:
        table = store.results()
        if table.empty:
            raise SimexploreError(
                f"{folder}: expected a sweep with results, found none yet: run simexplore sweep first"
            )
        chosen = choose_objectives(store, [name.strip() for name in objectives.split(",") if name.strip()])
        if not as_json:
            print_front(store, table, chosen, limit=limit or None)
        ranked = pareto_table(table, chosen)
        volume, reference = _volume(ranked, chosen)
        units = {column.name: column.unit for column in store.columns if column.name in chosen}
        unit = " × ".join(units[name] for name in chosen)
        if as_json:
            kept = ranked if with_dominated else ranked[ranked["status"] == FRONT]
            found = {"hypervolume": volume, "hypervolume_unit": unit, "hypervolume_reference": reference}
            verdict = verdict_of(store)
            answer = {"objectives": chosen, **found, "verdict": verdict.to_json(), "points": _plain(kept)}
            print_json({**about_sweep(store.metadata), **answer})
        elif reference:
            corner = ", ".join(f"{name} = {value:.6g} {units[name]}" for name, value in reference.items())
            click.echo(f"hypervolume {volume:.6g} in {unit}, to the reference {corner}")


def _volume(ranked: pd.DataFrame, chosen: Mapping[str, Direction]) -> tuple[float, dict[str, float]]:
    """The hypervolume of the points and its reference by objective, in SI units; no reference where it has none."""
    if ranked.empty:
        return 0.0, {}
    values = losses(ranked, chosen)
    values = values[np.all(np.isfinite(values), axis=1)]
    if not len(values):
        return 0.0, {}
    corner = reference_point(values)
    signs = [1.0 if way == "min" else -1.0 for way in chosen.values()]
    reference = dict(zip(chosen, (corner * signs).tolist(), strict=True))
    return hypervolume(values, list(corner)), reference


def _plain(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as plain data, what is not finite as null."""
    return [
        {
            str(key): (None if isinstance(value, float) and not math.isfinite(value) else value)
            for key, value in row.items()
        }
        for row in table.astype(object).to_dict(orient="records")
    ]
