"""A sweep's verdict as tables for people."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simexplore.archs.units import one_line
from simexplore.cli.console import say
from simexplore.cli.explore.front import cell
from simexplore.cli.output import print_table
from simexplore.sim.explore.display import display_unit
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column
from simexplore.sim.explore.verdict import words
from simexplore.sim.explore.verdict.verdict import Design, Verdict


def print_verdict(store: Store, verdict: Verdict) -> None:
    """What to build, beside today's machine; one line where nothing can be said."""
    if verdict.silent or verdict.today is None:
        say(f"no verdict: {one_line(verdict.silent)}")
        return
    columns = {column.name: column for column in store.columns}
    say(f"What to build beside {one_line(verdict.machine)} as it is{words.at_work(verdict)}:")
    say()
    _print_designs(verdict, verdict.today, columns)
    say()
    for line in words.notes(verdict, columns):
        say(line)
    if any(step.gains for step in verdict.today.steps):
        say()
        _print_steps(verdict, verdict.today, columns)


def _print_designs(verdict: Verdict, today: Design, columns: Mapping[str, Column]) -> None:
    free = [name for name in today.axes if columns[name].role == "axis"]
    names = [words.name_of(columns[name]) for name in today.values]
    absolute = [cell(columns[name], value) for name, value in today.values.items()]
    rows = [["today", "–", *(_shown(columns[name], today.axes[name]) for name in free), *absolute]]
    for design in verdict.designs:
        values = (_shown(columns[name], design.axes[name]) for name in free)
        rows.append([words.title(design, columns), str(design.point), *values, *words.ratios(design)])
    print_table(["design", "point", *map(one_line, free), *names], rows)


def _print_steps(verdict: Verdict, today: Design, columns: Mapping[str, Column]) -> None:
    """Changes of today's machine that gain something, or cost the least, one each way along each axis."""
    first = next(iter(verdict.objectives))
    rows = []
    for step in today.steps:
        if step.gains and step.gains[first] > 0.0:
            column = columns[step.axis]
            moved = f"{one_line(step.axis)} to {_shown(column, step.after, step.before)}"
            rows.append([moved, *words.effects(step, verdict)])
    names = [words.name_of(columns[name]) for name in verdict.objectives]
    print_table(["next change of today's", *names, *words.price_headers(verdict, columns)], rows)


def _shown(column: Column, value: float | str, like: float | str | None = None) -> str:
    """A value of an axis; sizes in the unit of another one where that is given."""
    if column.unit == "B" and isinstance(value, float):
        return cell(column, value, display_unit(column, np.array([value if like is None else like], dtype=np.float64)))
    return cell(column, value)
