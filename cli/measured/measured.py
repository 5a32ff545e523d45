"""`simexplore measured`: which rows of a public data set can be predicted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option
from simexplore.cli.output import percent, print_answer, print_table, progress
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets.survey import TableCount, by_kind, survey


@click.command(epilog="Example: simexplore measured aiconfigurator:h200_sxm")
@click.argument("data_set", metavar="DATA-SET")
@json_option()
def measured(data_set: str, as_json: bool) -> None:
    """Count the rows of DATA-SET by kind: aiconfigurator: is all of it, aiconfigurator:SYSTEM one machine.

    Each kind is read and can be predicted, on a machine that has the units for it, or refused with the reason why.
    """
    name, colon, system = data_set.partition(":")
    if name != "aiconfigurator" or not colon:
        raise SimexploreError(f"{data_set}: expected aiconfigurator: or aiconfigurator:SYSTEM, found {data_set!r}")
    with progress("reading") as advance:
        counts = survey(system.strip("/"), advance)
    if as_json:
        print_answer(_plain(counts), None, data_set=data_set)
    else:
        _print(counts)


def _plain(counts: list[TableCount]) -> dict[str, object]:
    tables = [{**asdict(count), "refused": dict(count.refused), "readable": count.readable} for count in counts]
    return {
        "rows": sum(count.rows for count in counts),
        "readable": sum(count.readable for count in counts),
        "refused": dict(_reasons(counts).most_common()),
        "tables": tables,
    }


def _print(counts: list[TableCount]) -> None:
    rows = []
    for operator, table, members in by_kind(counts):
        engines = ", ".join(sorted({each.engine for each in members}))
        systems = str(len({each.system for each in members}))
        numbers = [f"{sum(getattr(each, name) for each in members):,}" for name in ("rows", "readable")]
        rows.append([f"{operator}/{table}", engines, systems, *numbers])
    print_table(["table", "engines", "systems", "rows", "readable"], rows, left=2)
    reasons = _reasons(counts)
    if reasons:
        say()
        print_table(["refused", "rows"], [[reason, f"{count:,}"] for reason, count in reasons.most_common()])
    total, readable = (sum(getattr(count, name) for count in counts) for name in ("rows", "readable"))
    say()
    say(f"{readable:,} of {total:,} rows can be predicted; {percent(1.0 - readable / total)} are refused")


def _reasons(counts: list[TableCount]) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for count in counts:
        reasons.update(count.refused)
    return reasons
