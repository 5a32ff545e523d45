"""The grammar of an operator's text: `family(name=value, name=value, …)`, white space anywhere between tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from simexplore.errors import SimexploreError

MAX_TEXT = 2000
"""Longest operator text read, in characters; more is not an operator."""

_FORM = "write an operator as family(name=value,…), for example gemm(m=4096,n=4096,k=4096,dtype=bf16)"
_NAME = r"[A-Za-z0-9_.+-]+"
_PLAIN = re.compile(rf"({_NAME})\(({_NAME}={_NAME}(?:,{_NAME}={_NAME})*)\)")
"""An operator without white space, which needs no reading token by token."""
_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z0-9_.+-]+)|(?P<mark>[(),=]))")


class Call(NamedTuple):
    """An operator as it was written: the family's name, and the text of each value."""

    family: str
    values: dict[str, str]


class OperatorSyntaxError(SimexploreError):
    """The text is not of the form `family(name=value,…)`. `column` counts from 1."""

    def __init__(self, text: str, column: int, expected: str, found: str) -> None:
        self.column, self.expected, self.found = column, expected, found
        shown = repr(text if len(text) <= 100 else text[:100] + "…")
        super().__init__(f"operator {shown}: expected {expected} at column {column}, found {found}; {_FORM}")


def parse_call(text: str) -> Call:
    """Split an operator's text into its family and its values, without knowing any family.

    Raises:
        OperatorSyntaxError: with the column, what was expected there and what was found.
    """
    plain = _PLAIN.fullmatch(text) if len(text) <= MAX_TEXT else None
    if plain is not None:
        pairs = [pair.split("=") for pair in plain[2].split(",")]
        named = dict(pairs)
        if len(named) == len(pairs):
            return Call(plain[1], named)
    reader = _Reader(text)
    family = reader.word("the name of an operator family")
    reader.mark("(")
    values: dict[str, str] = {}
    if reader.peek() == ")":
        reader.mark(")")
        reader.end()
        return Call(family, values)
    while True:
        column = reader.next_column
        name = reader.word("the name of a parameter")
        if name in values:
            raise OperatorSyntaxError(text, column, "each parameter once", f"{name!r} again")
        reader.mark("=")
        values[name] = reader.word(f"a value for {name!r}")
        if reader.mark(",", ")") == ")":
            reader.end()
            return Call(family, values)


class _Reader:
    """The tokens of one text, from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        if len(text) > MAX_TEXT:
            raise OperatorSyntaxError(
                text, MAX_TEXT + 1, "the end of the text", f"{len(text) - MAX_TEXT} more characters"
            )

    @property
    def next_column(self) -> int:
        """Column of the next token, from 1."""
        rest = self._text[self._at :]
        return self._at + len(rest) - len(rest.lstrip()) + 1

    def peek(self) -> str:
        """The next token, or the character that starts none, or "" at the end."""
        match = _TOKEN.match(self._text, self._at)
        return match.group().strip() if match else self._text[self.next_column - 1 : self.next_column]

    def word(self, expected: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["word"] is None:
            raise self._error(expected)
        self._at = match.end()
        return str(match["word"])

    def mark(self, *marks: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["mark"] not in marks:
            raise self._error(" or ".join(repr(mark) for mark in marks))
        self._at = match.end()
        return str(match["mark"])

    def end(self) -> None:
        if self.peek():
            raise self._error("the end of the text")

    def _error(self, expected: str) -> OperatorSyntaxError:
        token = self.peek()
        return OperatorSyntaxError(self._text, self.next_column, expected, repr(token) if token else "the end")
