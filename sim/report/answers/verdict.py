"""A sweep's verdict at the top of its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from simexplore.sim.explore.display import display_unit
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column, FloatArray
from simexplore.sim.explore.verdict import words
from simexplore.sim.explore.verdict.verdict import Design, Verdict
from simexplore.sim.report.page import folded, note, table


def verdict_html(store: Store, verdict: Verdict) -> str:
    """What to build beside today's machine, and what one change more buys, as HTML.

    Nothing of a sweep whose verdict is silent: a page needs no empty part.
    """
    if verdict.silent or verdict.today is None:
        return ""
    columns = {column.name: column for column in store.columns}
    head = f"What to build beside {verdict.machine} as it is{words.at_work(verdict)}"
    body = table(head, _headers(verdict.today, columns), _designs(verdict, verdict.today, columns), numbers_from=2)
    body += "".join(note(f"{line[0].upper()}{line[1:]}.") for line in words.notes(verdict, columns))
    steps = list(_steps(verdict, columns))
    if steps:
        names = [words.name_of(columns[name]) for name in verdict.objectives]
        headers = ("of", "change", *names, *words.price_headers(verdict, columns))
        body += folded("What the next change along each axis buys", table("", headers, steps, numbers_from=2))
    return f"<section>{body}</section>"


def _headers(today: Design, columns: Mapping[str, Column]) -> list[str]:
    axes = [name for name in today.axes if columns[name].role == "axis"]
    return ["design", "point", *axes, *(words.name_of(columns[name]) for name in today.values)]


def _designs(verdict: Verdict, today: Design, columns: Mapping[str, Column]) -> Iterator[Sequence[str]]:
    axes = [name for name in today.axes if columns[name].role == "axis"]
    values = {name: np.array([value]) for name, value in today.values.items()}
    yield ["today", "–", *_axes(today, axes, columns), *(_shown(columns[name], values[name]) for name in values)]
    for design in verdict.designs:
        yield [
            words.title(design, columns), str(design.point), *_axes(design, axes, columns), *words.ratios(design),
        ]  # fmt: skip


def _axes(design: Design, axes: Sequence[str], columns: Mapping[str, Column]) -> list[str]:
    return [_axis(columns[name], design.axes[name]) for name in axes]


def _axis(column: Column, value: float | str) -> str:
    return value if isinstance(value, str) else _shown(column, np.array([value]))


def _shown(column: Column, value: FloatArray) -> str:
    """A value in a unit that fits it, to four digits."""
    factor, unit = display_unit(column, value)
    return f"{float(f'{value[0] / factor:.4g}'):,g}\u00a0{unit}".strip()


def _steps(verdict: Verdict, columns: Mapping[str, Column]) -> Iterator[Sequence[str]]:
    for design in (verdict.today, *verdict.designs):
        for step in design.steps if design is not None else ():
            if step.gains:
                assert design is not None
                of = "today's" if design is verdict.today else f"point {design.point}"
                moved = f"{step.axis} to {_axis(columns[step.axis], step.after)}"
                yield [of, moved, *words.effects(step, verdict)]
