"""Words for error messages: the nearest known name, and what was found."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxdict = _SHORT.maxlist = 3
_SHORT.maxlevel = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'gemm'?"` when something known resembles `name`, case aside; else the empty string."""
    by_case = {word.lower(): word for word in known}
    matches = get_close_matches(name[:100].lower(), list(by_case), n=1, cutoff=0.5)
    return f"; did you mean {by_case[matches[0]]!r}?" if matches else ""


def found(value: object) -> str:
    """A value in a user's data, in a few words on one line: `nothing`, `the list [1, 2]`, `'bf17'`."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"the mapping {_SHORT.repr(value)}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"the list {_SHORT.repr(value)}" if value else "an empty list"
    return _SHORT.repr(value)


def in_words(key: object) -> str:
    """A key of a user's data as it is written, quoted when it has characters that would break a line of text."""
    text = str(key)
    return text if text.isprintable() and 0 < len(text) <= 60 else _SHORT.repr(text)
