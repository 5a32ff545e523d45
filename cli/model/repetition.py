"""How often `simexplore run` does its work, and what the boards' power limits have to say before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from simexplore.archs import units
from simexplore.cli.options import Decorator
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import PowerState
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.hardware.duty import Period
from simexplore.sim.play.result import DutyCycle, Run


@dataclass(frozen=True)
class Repetition:
    """What `--repeat`, `--burst`, `--sustained`, `--every` and `--skip` ask for."""

    runs: int
    """How often the work is done, one run after the other."""
    power: PowerState | Period
    """What of the boards' energy budgets is there at the start."""

    def cycle(self, result: Run | Estimate, idle_w: float) -> DutyCycle | None:
        """What becomes of a result that is there once a period; None without a period."""
        return DutyCycle(result, self.power, idle_w) if isinstance(self.power, Period) else None


def repetition_options() -> Decorator:
    """The options, which the command gets as one `repetition`."""
    options = (
        click.option(
            "--repeat", type=click.IntRange(1), default=1, metavar="N", help="Do the work N times, run after run."
        ),
        click.option("--burst", is_flag=True, help="The board was idle before: at first it may pass its limit."),
        click.option("--sustained", is_flag=True, help="The board may never pass the power that it can hold for ever."),
        click.option(
            "--every",
            metavar="TIME",
            help="Do the work once a period, such as 33.3ms, and idle for the rest: mean power, energy a period.",
        ),
        click.option("--skip", type=float, metavar="SHARE", help="Share of the periods of --every without work."),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def called(
            repeat: int, burst: bool, sustained: bool, every: str | None, skip: float | None, **others: Any
        ) -> Any:
            return command(repetition=Repetition(repeat, _power(burst, sustained, every, skip)), **others)

        for option in reversed(options):
            called = option(called)
        return called

    return decorate


def _power(burst: bool, sustained: bool, every: str | None, skip: float | None) -> PowerState | Period:
    asked = {"--burst": burst, "--sustained": sustained, "--every": every is not None}
    given = [name for name, there in asked.items() if there]
    if len(given) > 1:
        raise SimexploreError(f"expected one of {', '.join(asked)}, found {' and '.join(given)}: leave out all but one")
    if every is not None:
        return Period(_seconds(every), skip or 0.0)
    if skip is not None:
        raise SimexploreError("--skip is a share of the periods of --every: say how long a period is, --every 33.3ms")
    return "burst" if burst else "sustained" if sustained else "serving"


def _seconds(text: str) -> float:
    try:
        return units.parse(text, units.SECONDS)
    except units.UnitError as error:
        raise SimexploreError(f"--every: {error}") from None
