"""What a terminal shows beside the words of a table: a small bar for a share, a colour for what bounds an operator.

Columns are known by their headings, `share` and `bound`. Rich leaves colours out where NO_COLOR is set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from simexplore.cli.columns import fitted

SHARE, BOUND = "share", "bound"
BAR_WIDTH = 8
BLOCKS = " ▏▎▍▌▋▊▉█"
"""A character's width in eighths."""
_ROOM = 16
"""Width that columns of text keep beside a bar, or as much as their words need."""
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) %")

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("tensor", "fma", "special", "encode", "mlp", "cores"), "green"),
        **dict.fromkeys(("shared", "l2"), "cyan"),
        **dict.fromkeys(("dram", "memory"), "magenta"),
        **dict.fromkeys(("link", "drive"), "blue"),
        **dict.fromkeys(("latency", "launch"), "yellow"),
    }
)
"""By what bounds: units that compute, memory on the chip, memory beside it, ways to elsewhere, and waiting."""


def bar(cell: str) -> str:
    """The bar of a share as a table writes it, at most `BAR_WIDTH` wide; nothing for what is none.

    >>> bar("50.0 %"), bar("–")
    ('████', '')
    """
    found = _PERCENT.fullmatch(cell)
    if found is None:
        return ""
    whole, eighths = divmod(round(min(float(found[1]) / 100.0, 1.0) * 8 * BAR_WIDTH), 8)
    return BLOCKS[-1] * whole + (BLOCKS[eighths] if eighths else "")


def has_room(lines: Sequence[Sequence[str]], left: int, width: int) -> bool:
    """Whether a table, its headings the first line, has a share and leaves room for bars in this width."""
    if SHARE not in lines[0]:
        return False
    natural = [max(len(line[column]) for line in lines) for column in range(left)]
    widths = fitted([(*line, "█" * BAR_WIDTH) for line in lines], left, width)
    fits = sum(widths) + 2 * (len(widths) - 1) <= width
    return fits and all(given >= min(wanted, _ROOM) for given, wanted in zip(widths, natural, strict=False))


def with_bars(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """The lines with a column of bars behind the share."""
    at = lines[0].index(SHARE) + 1
    bars = ["", *(bar(line[at - 1]) for line in lines[1:])]
    return [[*line[:at], drawn, *line[at:]] for line, drawn in zip(lines, bars, strict=True)]


def colour(headers: Sequence[str], row: Sequence[str]) -> str:
    """The colour of a row's bound and bar; nothing where it has no bound."""
    return COLOURS.get(row[headers.index(BOUND)], "") if BOUND in headers else ""
