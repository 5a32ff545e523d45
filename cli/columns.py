"""Columns of a table: one unit for all of a column's numbers, and widths within which no word is torn apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_ROUNDED = 0.99995
"""Share of a prefix from which on a number is written with it: four digits round up."""
_DIGITS = 4
_SEAMS = re.compile(r"(?<=[\s,/(])")
"""Behind these a text may go on in the next line."""
_INNER_SEAMS = re.compile(r"(?<=[_.-])")
"""Behind these where a word alone is too long."""
_LEAST = 12
"""Columns of text are never narrower."""


def in_one_unit(values: Sequence[float], unit: str) -> tuple[str, list[str]]:
    """The unit that suits the largest of some numbers, and all of them in it, to its fourth digit.

    >>> in_one_unit([13.25e-6, 0.4e-6], "s")
    ('µs', ['13.25', '0.40'])
    """
    largest = max((abs(value) for value in values), default=0.0)
    scale, prefix = next(((s, p) for s, p in _PREFIXES if largest >= s * _ROUNDED), (1.0, "") if not largest else
                         (1e-12, "p"))  # fmt: skip
    whole = len(f"{largest / scale:.0f}")
    decimals = max(_DIGITS - whole, 0)
    return f"{prefix}{unit}", [_written(value / scale, decimals) for value in values]


def _written(value: float, decimals: int) -> str:
    """A number to so many decimals; what would be written as nothing is said to be less than the last of them."""
    text = f"{value:.{decimals}f}"
    return f"<{10.0**-decimals:.{decimals}f}" if value > 0.0 and not float(text) else text


def fitted(lines: Sequence[Sequence[str]], left: int, width: int, gap: int = 2) -> list[int]:
    """Widths of columns that fit a terminal: those of text share what those of numbers leave.

    Args:
        lines: all cells, headers among them.
        left: how many columns, the first ones, are text.
        width: of the terminal.
        gap: spaces between two columns.
    """
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(lines[0]))]
    while sum(widths) + gap * (len(widths) - 1) > width and left:
        widest = max(range(left), key=lambda column: widths[column])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of so many characters, broken behind white space, commas and the like; a longer word is cut."""
    lines = [""]
    words = _SEAMS.split(text)
    for piece in (part for word in words for part in (_INNER_SEAMS.split(word) if len(word) > width else [word])):
        if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
            lines.append("")
        while len(piece.rstrip()) > width:
            lines[-1], piece = piece[:width], piece[width:]
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()] or [""]
