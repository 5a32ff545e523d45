"""`simexplore report`: a sweep as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.cli.pages import now, write_page
from simexplore.sim.explore.store import Store
from simexplore.sim.report.sweep import sweep_html


@click.command(epilog="Example: simexplore report out/ -o report.html")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The page to write; by default report.html in DIR."
)
def report(folder: Path, output: Path | None) -> None:
    """Show a sweep in one HTML page that needs no network: trade-offs, sensitivity, bottlenecks, every point.

    DIR is what `simexplore sweep` has written, complete or not.
    """
    with Store.open(folder) as store:
        html = sweep_html(store, now())
    write_page(folder / "report.html" if output is None else output, html)
