"""`simexplore pareto`: the Pareto front of a sweep."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from simexplore.cli.explore.front import print_front
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


@click.command(epilog="Example: simexplore pareto out/ --objectives time_s,energy_j,area_mm2")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--objectives", metavar="A,B", default="", help="Columns to be best in; by default the sweep's own.")
@click.option("--all", "with_dominated", is_flag=True, help="With --json: dominated points too, with their status.")
@json_option()
def pareto(folder: Path, objectives: str, with_dominated: bool, as_json: bool) -> None:
    """Print the points of the sweep in DIR that no other point is better than in everything.

    The hypervolume is taken to the worst value of each objective among the feasible points, and a hundredth of its
    range more.
    """
    with Store.open(folder) as store:
        table = store.results()
        if table.empty:
            raise SimexploreError(
                f"{folder}: expected a sweep with results, found none yet: run simexplore sweep first"
            )
        chosen = choose_objectives(store, [name.strip() for name in objectives.split(",") if name.strip()])
        if not as_json:
            print_front(store, table, chosen, limit=None)
        ranked = pareto_table(table, chosen)
        if ranked.empty:
            volume = 0.0
        else:
            values = losses(ranked, chosen)
            volume = hypervolume(values, list(reference_point(values)))
        if as_json:
            kept = ranked if with_dominated else ranked[ranked["status"] == FRONT]
            print_json({"objectives": chosen, "hypervolume": volume, "points": _plain(kept)})
        else:
            click.echo(f"hypervolume {volume:.6g}")


def _plain(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as plain data, NaN as null."""
    return [
        {str(key): (None if isinstance(value, float) and value != value else value) for key, value in row.items()}
        for row in table.astype(object).to_dict(orient="records")
    ]
