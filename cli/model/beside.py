"""Several machines as one table."""

from __future__ import annotations

from collections.abc import Sequence

from simexplore.cli.console import say
from simexplore.cli.output import print_table, quantity
from simexplore.sim.explain.machines import Beside
from simexplore.sim.explain.tables import interval, ratio


def print_beside(work: str, rows: Sequence[Beside]) -> None:
    """Machines with their times and energies, over those of the first; then times by kind of operator."""
    say(f"{work} on {len(rows)} machines")
    say()
    headers = ["machine", "time", "80 % interval", "ratio", "energy", "ratio", "mean power"]
    print_table(
        headers,
        [
            [
                row.machine,
                quantity(row.time_s.value, "s"),
                interval(row.time_s.low, row.time_s.high, "s"),
                ratio(row.time_s),
                quantity(row.energy_j.value, "J"),
                ratio(row.energy_j),
                quantity(row.mean_power_w, "W"),
            ]
            for row in rows
        ],
    )
    if any(not amount.differs for row in rows[1:] for amount in (row.time_s, row.energy_j)):
        say(f"~ the 80 % intervals can't tell it from {rows[0].machine}'s")
    if len(rows[0].kinds_s) > 1:
        say()
        _print_kinds(rows)


def _print_kinds(rows: Sequence[Beside]) -> None:
    """Times of the first machine by kind, the longest first, and of the others over those."""
    first = rows[0].kinds_s
    kinds = sorted(first, key=lambda kind: -first[kind])
    table = [
        [kind, quantity(first[kind], "s"), *(f"{row.kinds_s.get(kind, 0.0) / first[kind]:.3g}" for row in rows[1:])]
        for kind in kinds
        if first[kind] > 0.0
    ]
    print_table(["time of", rows[0].machine, *(f"{row.machine}, ratio" for row in rows[1:])], table)
