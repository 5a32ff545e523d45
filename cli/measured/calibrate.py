"""`simexplore calibrate`: fit a machine to measured kernels."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import click

import simexplore
from simexplore.cli.console import say
from simexplore.cli.options import engine_option, json_option
from simexplore.cli.output import note, percent, print_answer, print_table, progress
from simexplore.sim.learn.calibration import Calibrated


@click.command(
    epilog="Example: simexplore calibrate nvidia/h200-sxm --measured aiconfigurator:h200_sxm/gemm/trtllm -o mine.yaml"
)
@click.argument("arch", metavar="ARCH")
@click.option(
    "--measured",
    multiple=True,
    required=True,
    metavar="FILE|DATA SET",
    help="A .csv or .parquet file, or aiconfigurator:SYSTEM/OPERATOR/FRAMEWORK. Repeatable.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=400,
    show_default=True,
    help="Most rows of an operator family that the physics is fitted on; 0: it stays as it is.",
)
@click.option(
    "--residual-rows",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Most rows of a family and dtype that the correction is learned from, the former among them; 0: none.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Chooses the rows.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="OVERLAY.yaml",
    help="Machine to write; the correction is written beside it as OVERLAY.residual.npz.",
)
@click.option("--family", is_flag=True, help="Write what ARCH's generation shares, for machines never measured.")
@engine_option()
@json_option()
def calibrate(
    arch: str,
    measured: tuple[str, ...],
    rows: int,
    residual_rows: int,
    seed: int,
    output: Path,
    family: bool,
    engine: str | None,
    as_json: bool,
) -> None:
    """Fit the machine ARCH to measured kernels and write it as OVERLAY.yaml, which extends ARCH.

    First a few bounded physical parameters are fitted, then a small correction is learned of what remains. Errors are
    of rows that neither has used; compare leaves those out as well.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise click.BadParameter(f"expected a name that ends in .yaml, found {output.name!r}", param_hint="--output")
    if "@" in arch and not family:
        raise click.BadParameter(f"an overlay extends a machine, found {arch!r}: leave out @…", param_hint="ARCH")
    with progress(f"calibrating {arch}") as advance:
        result = simexplore.calibrate(
            arch,
            measured,
            output,
            rows=rows,
            residual_rows=residual_rows,
            seed=seed,
            date=dt.datetime.now(dt.UTC).date().isoformat(),
            family=family,
            progress=advance,
            engine=engine,
        )
    if as_json:
        told = {"arch": arch, "overlay": str(output), "seed": seed, **_plain(result)}
        print_answer(told, result.gpu.name, measured=list(measured))
    else:
        _print(result)
        note(f"machine written to {output}: use it as --arch {output}")


def _plain(result: Calibrated) -> dict[str, Any]:
    return {
        "values": {
            key: {"value": value, "relative_error": result.uncertainty.get(key)} for key, value in result.values.items()
        },
        "unseen": [key for key, error in result.uncertainty.items() if error is None],
        "groups": {
            name: {
                "rows": group.rows,
                "sigma_log": group.sigma_log,
                "held_out": group.held_out.model_dump() if group.held_out is not None else None,
            }
            for name, group in result.groups.items()
        },
        "stayed": list(result.stayed),
        "watts": {"fitted": fit.rows, "rows": fit.held_out, "mape": fit.mape, "coverage": fit.coverage}
        if (fit := result.watts) is not None
        else None,
        "refused": dict(result.refused),
    }


def _print(result: Calibrated) -> None:
    if result.values:
        rows = [
            [key, value, "–" if (error := result.uncertainty.get(key)) is None else f"± {percent(error)}"]
            for key, value in result.values.items()
        ]
        print_table(["fitted", "value", "known to"], rows)
        say()
    unseen = [key for key, error in result.uncertainty.items() if error is None]
    if unseen:
        say(f"The rows cannot see, or drive to a bound, {', '.join(unseen)}: sourced values are kept.")
        say()
    rows = []
    for name, group in result.groups.items():
        held = group.held_out
        shares = (held.physics_mape, held.full_mape, held.coverage) if held else (None, None, None)
        thirds = ", ".join(map(percent, held.coverage_by_size)) if held and held.coverage_by_size else percent(None)
        rows.append([name, str(group.rows), str(held.rows if held else 0), *map(percent, shares), thirds])
    if (watts := result.watts) is not None:
        error, inside = (watts.mape, watts.coverage) if watts.held_out else (None, None)
        rows.append(["watts", str(watts.rows), str(watts.held_out), *map(percent, (error, None, inside, None))])
    headers = ["operator", "fitted on", "held out", "physics mape", "full mape", "in interval", "by third of time"]
    print_table(headers, rows)
    if result.stayed:
        say()
        say(f"The corrections of {', '.join(result.stayed)} stay as they were: no value that they stand on moved.")
    if result.refused:
        say()
        print_table(["not used", "rows"], [[reason, str(count)] for reason, count in result.refused.items()])
