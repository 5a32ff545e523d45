"""`simexplore measure`: real kernel runs into a file."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option
from simexplore.cli.output import note, print_answer, progress
from simexplore.kernels.measuring import measure_suite, out_of_step
from simexplore.kernels.runner import Outcome

SHOWN_NOISY = 5


@click.command(epilog="Example: simexplore measure --backend vulkan --suite calibration -o here.csv")
@click.option("--backend", required=True, metavar="NAME", help="What runs the kernels (simexplore devices).")
@click.option("--suite", required=True, metavar="NAME", help="Which kernels: micro, gemm, calibration, exam, …")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv", help="Where rows are written."
)
@click.option("--device", default=0, show_default=True, metavar="N", help="Number of the device.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of shapes and inputs.")
@click.option(
    "--budget",
    default=float("inf"),
    metavar="SECONDS",
    help="Begin no further kernel after this time; run again to go on.",
)
@json_option()
def measure(backend: str, suite: str, output: Path, device: int, seed: int, budget: float, as_json: bool) -> None:
    """Run every kernel of a suite, check its result against numpy, time it, and write one row each.

    A FILE with rows of the same suite, device and seed is completed: what it has is not measured again. How it was
    measured is written beside it, in FILE.csv.json.
    """
    if seed < 0:
        raise click.BadParameter(f"expected a number from 0, found {seed}", param_hint="--seed")
    with progress(f"measuring {suite}") as advance:
        outcome = measure_suite(backend, suite, output, device, seed, budget, progress=advance)
    if as_json:
        figures = {"measured": outcome.measured, "already_done": outcome.already_done}
        found = {"left_out": dict(outcome.left_out), "noisy": list(outcome.noisy), "pace": dict(outcome.pace)}
        told = {"output": str(output), **figures, **found, "out_of_step": out_of_step(output)}
        print_answer(told, outcome.device, suite, backend=backend)
        return
    resumed = f", {outcome.already_done} were there already" if outcome.already_done else ""
    say(f"{output}: {outcome.measured} kernels measured{resumed}")
    for reason, count in outcome.left_out.items():
        say(f"{count} kernels left out: {reason}")
    note_pace(output, outcome)
    for line in outcome.noisy[:SHOWN_NOISY]:
        note(f"noisy: {line}")
    if len(outcome.noisy) > SHOWN_NOISY:
        note(f"noisy: {len(outcome.noisy) - SHOWN_NOISY} more, listed in {output}.json")


def note_pace(output: Path, outcome: Outcome) -> None:
    """What of the machine's speed a user should know: kernels that only slow moments saw, tables of another pace."""
    pace = outcome.pace
    if pace and pace["slow"]:
        ratio = pace["worst_us"] / pace["best_us"]
        note(f"slow: {len(pace['slow'])} kernels saw the machine only below its speed (at worst {ratio:.1f} times)")
    for other, ratio in out_of_step(output).items():
        slower = f"{ratio:.1f} times slower" if ratio > 1.0 else f"{1.0 / ratio:.1f} times faster"
        note(f"pace: the machine ran {slower} than when {other} was measured: measure the slower of the two again")
