"""`simexplore compare`: predictions beside measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.calibration import HeldOut
from simexplore.archs.schema.gpu import Gpu
from simexplore.cli.console import say
from simexplore.cli.machines import load
from simexplore.cli.options import arch_option, engine_option, json_option, set_option
from simexplore.cli.output import note, percent, print_answer, print_table, progress
from simexplore.cli.pages import now, write_page
from simexplore.sim.compare.comparison import Comparison, Errors, SizeTable
from simexplore.sim.estimate.intervals.standing import Standing
from simexplore.sim.report.comparison import comparison_html


@click.command(
    epilog="Example: simexplore compare --arch nvidia/h200-sxm --measured aiconfigurator:h200_sxm/gemm/trtllm"
)
@arch_option()
@click.option(
    "--measured",
    multiple=True,
    required=True,
    metavar="FILE|DATA SET",
    help="A .csv or .parquet file, or aiconfigurator:SYSTEM/OPERATOR/FRAMEWORK. Repeatable.",
)
@click.option("--op", help="Only this operator, e.g. gemm.")
@click.option("--dtype", help="Only this dtype, e.g. bf16.")
@click.option(
    "--physics-only",
    is_flag=True,
    help="Leave out the learned correction of a calibrated machine.",
)
@click.option(
    "--predictor",
    "predictors",
    multiple=True,
    metavar="NAME",
    help="full, physics, roofline or random-forest; several are set side by side. A forest is fitted on four fifths of "
    "the rows; it and those beside it are held against the others. [default: full]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the rows that a random forest is not fitted on.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Write the comparison as one HTML page.")
@engine_option("for each row the one that ran it")
@set_option()
@json_option()
def compare(
    arch: str,
    measured: tuple[str, ...],
    op: str | None,
    dtype: str | None,
    physics_only: bool,
    predictors: tuple[str, ...],
    seed: int,
    report: Path | None,
    engine: str | None,
    overrides: dict[str, str],
    as_json: bool,
) -> None:
    """Predict each measured kernel in the conditions it was measured in, and tell how far off that is.

    mape, median and p90 are of |predicted - measured| / measured; bias is its signed mean: above 0, predictions are
    too slow. "In interval" is the share of rows within their predicted 80 % interval. Rows that can't be predicted are
    counted by the reason why, and rows that the machine was fitted on are left out. Watts are compared where rows have
    some and took 100 us or more.
    """
    gpu = load(arch, overrides, engine).gpu
    with_engine = None if engine is not None else partial(_with_engine, arch, overrides, physics_only)
    if physics_only:
        gpu = gpu.physics_only()
    names = tuple(dict.fromkeys(predictors)) or (("physics",) if physics_only else ("full",))
    held_out = seed if len(names) > 1 or "random-forest" in names else None
    tables = [simexplore.read_measurements(table) for table in measured]
    results = []
    for name in names:
        with progress(f"predicting ({name})") as advance:
            results.append(simexplore.compare(gpu, tables, op, dtype, advance, name, held_out, with_engine))
    result = results[0]
    for warning in result.warnings:
        note(f"warning: {warning}")
    if report is not None:
        asked = {"machine": arch, **overrides, "measured": ", ".join(measured), "op": op, "dtype": dtype}
        asked["predictor"] = "physics" if physics_only else names[0]
        settings = [(name, value) for name, value in asked.items() if value is not None]
        write_page(report, comparison_html(result, gpu, now(), settings))
    if as_json:
        print_answer(_plain(results), gpu.name, measured=list(measured))
    elif len(results) > 1:
        _print_side_by_side(results)
    else:
        _print(result)


def _with_engine(arch: str, overrides: dict[str, str], physics_only: bool, engine: str) -> Gpu:
    gpu = load_arch(arch, overrides, engine)
    return gpu.physics_only() if physics_only else gpu


def _plain(results: Sequence[Comparison]) -> dict[str, Any]:
    """One predictor's figures, or those of several by name."""
    if len(results) == 1:
        return results[0].as_dict()
    return {"arch": results[0].arch, "predictors": {result.predictor: result.as_dict() for result in results}}


def _print(result: Comparison) -> None:
    left_out = f" ({result.fitted_rows} more left out: the machine was fitted on them)" if result.fitted_rows else ""
    say(f"{result.arch}: {result.total.rows} rows{left_out}")
    say()
    _print_errors({**result.by_dtype, "all": result.total})
    if len(result.by_standing) > 1 or "neighbour" not in result.by_standing:
        say()
        words = {step.key: step.words for step in Standing}
        _print_errors({words[name]: errors for name, errors in result.by_standing.items()}, "stands on")
    _print_left_out(result.left_out)
    for table in result.by_size:
        say()
        _print_sizes(table)
    if result.refused:
        say()
        rows = [[reason, str(count)] for reason, count in result.refused.items()]
        print_table(["not compared", "rows"], rows)


def _print_side_by_side(results: list[Comparison]) -> None:
    """Several predictors on the same rows; those that one of them refuses are missing in its line alone."""
    say(f"{results[0].arch}: {results[0].total.rows} rows that no forest was fitted on")
    say()
    _print_errors({f"{name}, {result.predictor}": errors for name in results[0].by_dtype for result in results
                   if (errors := result.by_dtype.get(name)) is not None})  # fmt: skip


def _print_left_out(left_out: Mapping[str, HeldOut]) -> None:
    """What the calibration stored of rows that it left out: at random, and by kind."""
    told = {name: errors for name, errors in left_out.items() if errors.kind_mape is not None}
    if told:
        say()
        rows = [
            [name, *map(percent, (e.full_mape, e.coverage, e.kind_mape, e.kind_coverage))] for name, e in told.items()
        ]
        headers = ["calibration of", "mape, random rows left out", "in interval", "mape, kinds left out", "in interval"]
        print_table(headers, rows)


def _print_errors(errors: Mapping[str, Errors], what: str = "operator") -> None:
    rows = []
    for name, e in errors.items():
        shares = [percent(share) for share in (e.mape, e.median_ape, e.p90_ape, e.bias, e.interval_coverage)]
        rows.append([name, str(e.rows), *shares, f"{e.rows_per_s:,.0f}"])
    print_table([what, "rows", "mape", "median", "p90", "bias", "in interval", "rows/s"], rows)
    watts = {name: e for name, e in errors.items() if e.power_rows}
    if watts and what == "operator":
        say()
        rows = [
            [name, str(e.power_rows), *map(percent, (e.power_mape, e.power_bias, e.power_coverage))]
            for name, e in watts.items()
        ]
        print_table(["watts of", "rows", "mape", "bias", "in interval"], rows)


def _print_sizes(table: SizeTable) -> None:
    rows = [[label, *map(percent, line)] for label, line in zip(table.down_labels, table.mape, strict=True)]
    print_table([f"{table.op} mape: {table.down} \\ {table.across}", *table.across_labels], rows)
