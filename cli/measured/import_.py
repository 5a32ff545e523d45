"""`simexplore import`: profiles that users already have, as measurements."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option
from simexplore.cli.output import print_json, print_table, quantity
from simexplore.errors import SimexploreError
from simexplore.kernels.profiles import READERS, import_profile
from simexplore.kernels.profiles.tally import Imported

SHOWN = 12
"""Unmatched kernels that are printed; --json has all."""


@click.command(name="import", epilog="Example: simexplore import kineto trace.json -o runs.csv")
@click.argument("kind", metavar=f"[{'|'.join(READERS)}]")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv", help="Rows go here."
)
@click.option("--device", help="Name for the device column, where the profile's own does not do.")
@json_option()
def import_(kind: str, file: Path, output: Path, device: str | None, as_json: bool) -> None:
    """Turn a profile into measurements that compare and calibrate read.

    FILE is CSV of ncu --csv, SQLite of nsys export --type sqlite, or the JSON of PyTorch's export_chrome_trace. Kernels
    are matched to operators by name and shapes; what is not matched is listed.
    """
    found = import_profile(kind, file, device)
    if found.frame.empty:
        reasons = "; ".join(dict.fromkeys(f"{one.name[:60]}: {one.reason}" for one in found.unmatched[:3]))
        raise SimexploreError(f"{file}: no kernel could be matched to an operator: {reasons}")
    found.frame.to_csv(output, index=False)
    if as_json:
        unmatched = [
            {"name": one.name, "reason": one.reason, "calls": one.calls, "time_s": one.time_us * 1e-6}
            for one in found.unmatched
        ]
        print_json({"output": str(output), "rows": len(found.frame), "unmatched": unmatched})
    else:
        _print(found, output)


def _print(found: Imported, output: Path) -> None:
    calls = int(found.frame["calls"].sum())
    say(f"{output}: {len(found.frame)} operators from {calls} calls, {quantity(found.matched_us * 1e-6, 's')}")
    if not found.unmatched:
        return
    say()
    rows = [
        [one.name[:60], str(one.calls), quantity(one.time_us * 1e-6, "s"), one.reason]
        for one in found.unmatched[:SHOWN]
    ]
    print_table(["not matched", "calls", "time", "reason"], rows)
    if len(found.unmatched) > SHOWN:
        say(f"and {len(found.unmatched) - SHOWN} more (--json lists all)")
