"""`simexplore reproduce`: published results beside simulated ones."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option
from simexplore.cli.output import about, note, print_json, print_table
from simexplore.errors import SimexploreError
from simexplore.sim.studies import STUDIES, Record, caveat
from simexplore.sim.studies import reproduce as reproduce_study

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "measured"
"""Where a checkout has its measured tables."""


@click.command(epilog="Example: simexplore reproduce gpperf --measured tables/")
@click.argument("names", metavar="[NAME…]", nargs=-1)
@click.option(
    "--measured",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the measured tables of studies that need some; by default ../shared/data/measured of a checkout.",
)
@json_option()
def reproduce(names: tuple[str, ...], measured: Path | None, as_json: bool) -> None:
    """Print what papers published beside what is simulated, all studies unless some are named.

    Ratio is simulated over published. A figure is `enforced` where the tests hold the ratio to its bounds, a
    `known_gap` where it is known to lie outside them, and an `input` where it set a number of the model. What a reader
    must know of how a study's rows were measured follows on standard error. A study whose measured tables are missing
    ends with code 2 and says where they come from, after the other studies.
    """
    folder = measured or (BESIDE if BESIDE.is_dir() else None)
    records: list[Record] = []
    missing: list[SimexploreError] = []
    caveats: list[str] = []
    for name in names or STUDIES:
        try:
            records += [{**about(None, study=name), **record} for record in reproduce_study(name, folder)]
            caveats += [f"{name}: {told}"] if (told := caveat(name)) else []
        except SimexploreError as error:
            missing.append(error)
    if len(missing) == len(names or STUDIES):
        raise missing[0]
    if as_json:
        print_json(records)
    else:
        _print(records)
    for told in caveats:
        note(told)
    for failure in missing[:-1]:
        note(str(failure))
    if missing:
        raise missing[-1]


def _print(records: list[Record]) -> None:
    for paper in dict.fromkeys(record["paper"] for record in records):
        rows = [
            [
                record["quantity"],
                record["unit"],
                f"{record['published']:.4g}",
                f"{record['simulated']:.4g}",
                f"{record['ratio']:.2f}",
                record["status"],
            ]
            for record in records
            if record["paper"] == paper
        ]
        say(paper)
        print_table(["quantity", "unit", "published", "simulated", "ratio", "status"], rows, left=2)
        say(_counted([row[-1] for row in rows]))
        say()


def _counted(statuses: list[str]) -> str:
    """`20 enforced, 9 known gaps; 6 inputs, which come back and count for nothing`."""
    enforced, gaps, inputs = (statuses.count(status) for status in ("enforced", "known_gap", "input"))
    told = f"{enforced} enforced, {gaps} known gap{'s' * (gaps != 1)}"
    return f"{told}; {inputs} input{'s' * (inputs != 1)}, which came back and count for nothing" if inputs else told
