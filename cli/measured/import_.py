"""`simexplore import`: profiles that users already have, as measurements."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option
from simexplore.cli.output import percent, print_answer, print_table, quantity
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import CACHES, CLOCKS, TAKEN
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
@click.option(
    "--clocks",
    type=click.Choice([*TAKEN[CLOCKS]]),
    help="Clocks while it was profiled, where they were not the profiler's default; boost: ncu --clock-control none.",
)
@click.option(
    "--caches",
    type=click.Choice([*TAKEN[CACHES]]),
    help="Caches before each kernel, where not the profiler's default; warm: ncu --cache-control none.",
)
@json_option()
def import_(
    kind: str, file: Path, output: Path, device: str | None, clocks: str | None, caches: str | None, as_json: bool
) -> None:
    """Turn a profile into measurements that compare and calibrate read.

    FILE is CSV of ncu --csv, SQLite of nsys export --type sqlite, or the JSON of PyTorch's export_chrome_trace. Kernels
    are matched to operators by name and shapes; what is not matched is listed. Rows say how they were taken, as ncu
    locks clocks and flushes caches, and compare predicts them so.
    """
    taken = {column: word for column, word in ((CLOCKS, clocks), (CACHES, caches)) if word is not None}
    found = import_profile(kind, file, device, taken)
    if found.frame.empty:
        reasons = "; ".join(dict.fromkeys(f"{one.name[:60]}: {one.reason}" for one in found.unmatched[:3]))
        raise SimexploreError(f"{file}: no kernel could be matched to an operator: {reasons}")
    _write(found, output)
    if as_json:
        unmatched = [
            {"name": one.name, "reason": one.reason, "calls": one.calls, "time_s": one.time_us * 1e-6}
            for one in found.unmatched
        ]
        figures = {"matched_s": found.matched_us * 1e-6, "matched_share": found.matched_share}
        devices = " and ".join(dict.fromkeys(found.frame["device"]))
        told = {"output": str(output), "rows": len(found.frame), **figures, "unmatched": unmatched}
        print_answer(told, devices, profile=str(file))
    else:
        _print(found, output)


def _write(found: Imported, output: Path) -> None:
    """The table, whole or not at all: it is written beside its place and renamed."""
    aside = output.with_name(f".{output.name}.part")
    try:
        found.frame.to_csv(aside, index=False)
        aside.replace(output)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise SimexploreError(f"{output}: expected a place that can be written, found: {error}") from None


def _print(found: Imported, output: Path) -> None:
    calls = int(found.frame["calls"].sum())
    matched = f"{quantity(found.matched_us * 1e-6, 's')}, {percent(found.matched_share)} of the time in the profile"
    say(f"{output}: {len(found.frame)} operators from {calls} calls, {matched}")
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
