"""How results are printed: tables drawn on a terminal and plain when piped, numbers with SI prefixes, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import click

import simexplore
from simexplore.archs.units import quantity as quantity
from simexplore.cli import marks
from simexplore.cli.columns import fitted, wrapped
from simexplore.cli.console import escaped, is_terminal, say, shows

_PATIENCE_S = 1.0


def percent(share: float | None) -> str:
    """`0.1234` → `12.3 %`."""
    return "–" if share is None else f"{share * 100:.1f} %"


def about(machine: str | None, workload: str | None = None, **asked: Any) -> dict[str, Any]:
    """What every answer in JSON begins with, so that a stored one says what it is an answer to.

    Args:
        machine: its name; None: of no machine, or of several that are told one by one.
        workload: its name; None: of none.
        asked: what else was asked for, such as `measured`, the tables.
    """
    return {"version": simexplore.__version__, "machine": machine, "workload": workload, **asked}


def print_answer(data: Mapping[str, Any], machine: str | None, workload: str | None = None, **asked: Any) -> None:
    """What was computed, in JSON that begins as `about` has it."""
    print_json({**about(machine, workload, **asked), **data})


def print_json(data: Any) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    if not shows(sys.stdout, text) or not text.replace("\n", "").isprintable():
        text = json.dumps(data, indent=2, allow_nan=False)
    say(text)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """A table whose first `left` columns are text and whose others are numbers, aligned right."""
    lines = [[escaped(cell) for cell in row] for row in (headers, *rows)]
    if is_terminal(sys.stdout):
        _draw(lines[0], lines[1:], left)
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        cells = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        say("  ".join(cells).rstrip())


def _draw(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    lines = [list(line) for line in (headers, *rows)]
    barred = shows(sys.stdout, marks.BLOCKS) and marks.has_room(lines, left, console.width)
    lines = marks.with_bars(lines) if barred else lines
    of_bars = lines[0].index(marks.SHARE) + 1 if barred else None
    widths = fitted(lines, left, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, header in enumerate(lines[0]):
        justify: Literal["left", "right"] = "left" if column < left or column == of_bars else "right"
        table.add_column(Text(header), justify=justify, no_wrap=True, overflow="fold")
    for line in lines[1:]:
        colour = marks.colour(lines[0], line)
        coloured = [column == of_bars or header == marks.BOUND for column, header in enumerate(lines[0])]
        cells = ("\n".join(wrapped(cell, width)) for cell, width in zip(line, widths, strict=True))
        table.add_row(*(Text(cell, style=colour * marked) for cell, marked in zip(cells, coloured, strict=True)))
    console.print(table, crop=False)


def note(line: str) -> None:
    """A line for people, on stderr."""
    click.echo(f"simexplore: {escaped(line)}", err=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, in all) that draws a bar on stderr once the work has taken a second, on terminals only."""
    if not is_terminal(sys.stderr):
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    started = time.monotonic()

    def advance(done: int, total: int) -> None:
        if not bar.live.is_started and time.monotonic() - started > _PATIENCE_S:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        bar.stop()
