"""Numbers as ncu prints them: with the separators of the locale it ran in, which no cell tells alone.

1.117,44 is German, 1,117.44 English, 23.456 either. Every cell of a file is looked at before one is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Decimal = Literal[".", ","]
_REMEMBERED = 1 << 15

_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<body>\d[\d.,]*)")
_GROUPING = str.maketrans("", "", " \u00a0\u202f\u2009'’")
"""Marks that only ever group digits."""


@dataclass
class Evidence:
    """What the cells of a file have shown so far: an example for each way to read it."""

    point: str = ""
    """A number whose decimal mark can only be the point."""
    comma: str = ""
    either: str = ""
    """A number that reads two ways."""

    def see(self, cell: str) -> None:
        """Take a cell into account; one that is no number shows nothing."""
        shown = decimal_of(cell)
        if shown == ".":
            self.point = self.point or cell
        elif shown == ",":
            self.comma = self.comma or cell
        elif shown == "?":
            self.either = self.either or cell

    def decimal(self) -> Decimal | str:
        """The file's decimal mark, or in words why it can't be told."""
        if self.point and self.comma:
            return f"both {self.point!r} and {self.comma!r}"
        if self.either and not self.point and not self.comma:
            return f"{self.either!r}, which reads two ways"
        return "," if self.comma else "."


@lru_cache(_REMEMBERED)
def decimal_of(cell: str) -> Literal[".", ",", "?", ""]:
    """The decimal mark of one number: "?" where it may be either, "" where the cell has none or is no number."""
    mark = _shown(cell.strip())
    return "" if mark in (".", ",") and number_in(cell, mark) is None else mark


def _shown(text: str) -> Literal[".", ",", "?", ""]:
    """What the marks of a text show, be it a number or not."""
    match = _NUMBER.fullmatch(text.translate(_GROUPING))
    if match is None:
        return ""
    body = match["body"]
    marks = [letter for letter in body if letter in ".,"]
    if not marks:
        return ""
    last = marks[-1]
    other: Decimal = "," if last == "." else "."
    if len(set(marks)) == 2:
        return _mark(last) if marks.count(last) == 1 else ""
    if len(marks) > 1:
        return other
    head, tail = body.split(last)
    grouped = text != text.translate(_GROUPING)
    sure = len(tail) != 3 or len(head) > 3 or head.startswith("0") or grouped
    return _mark(last) if sure else "?"


def _mark(letter: str) -> Decimal:
    return "." if letter == "." else ","


@lru_cache(_REMEMBERED)
def number_in(cell: str, decimal: Decimal) -> float | None:
    """A number with this decimal mark, or None: with the other one between groups of three, or with neither."""
    group = "," if decimal == "." else "."
    text = cell.strip().translate(_GROUPING)
    whole = rf"\d+|\d{{1,3}}(?:{re.escape(group)}\d{{2,3}})*{re.escape(group)}\d{{3}}"
    if not re.fullmatch(rf"[+-]?(?:{whole})(?:{re.escape(decimal)}\d*)?", text):
        return None
    return float(text.replace(group, "").replace(decimal, "."))
