"""Chrome traces, read event by event: a trace of gigabytes takes no more memory than its longest event.

The standard library's decoder reads one value at a time from a window of text that moves over the file.
Format: "Trace Event Format" of the Chromium project, the object form.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from simexplore.errors import SimexploreError

CHUNK = 1 << 20
"""Characters read at once."""
MOST_OF_ONE = 1 << 24
"""Longest value, in characters, that is no list of events."""
LEAST_PACKED, MOST_PACKED = 1 << 26, 200
"""A gzipped trace may be so many characters long, or so many times its file's size: traces pack to a thirtieth, while
gzip can pack a thousand times what is made to fill a machine."""

EVENTS = "traceEvents"
_SPACE = re.compile(r"[ \t\r\n]*")


def members(path: Path) -> Iterator[tuple[str, Any]]:
    """Members of a trace in their order; each event comes alone, under the name `traceEvents`.

    Raises:
        SimexploreError: the file is no JSON object, is cut off, or holds a value longer than `MOST_OF_ONE`.
    """
    try:
        file, most = _opened(path)
        with file:
            yield from _object(_Window(file, most))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SimexploreError(f"{path}: expected a Chrome trace in JSON, found: {said}") from None


def _opened(path: Path) -> tuple[TextIO, int]:
    """The text of a file, gzipped or not, and how many characters it may have."""
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        text = gzip.open(path, "rt", encoding="utf-8-sig", errors="replace")  # noqa: SIM115 - closed by `members`
        return text, max(LEAST_PACKED, MOST_PACKED * size)
    return path.open(encoding="utf-8-sig", errors="replace"), size


class _Window:
    """A piece of a text, and how far it has been read."""

    def __init__(self, file: TextIO, most: int) -> None:
        self._file = file
        self._most = most
        self._text = ""
        self._at = 0
        self._taken = 0
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        """Read on behind what is not yet decoded. False at the end. A long value doubles the window each time."""
        chunk = self._file.read(max(CHUNK, len(self._text) - self._at))
        self._taken += len(chunk)
        if self._taken > self._most:
            raise ValueError(f"over {self._most >> 20} MiB of text in it, which no trace of its size has")
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """The next character, one of those expected."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"{found!r} instead of one of {expected!r}" if found else "its end too early (cut off?)")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value of JSON. Raises ValueError where there is none, or a longer one than `MOST_OF_ONE`."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if end < len(self._text):  # what ends where the window does may go on: 12 of 123
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                wrong = error.msg
            else:
                wrong = "its end too early (cut off?)"
            if len(self._text) - self._at > MOST_OF_ONE:
                raise ValueError(f"no value within {MOST_OF_ONE >> 20} MiB: {wrong}")
            if not self._more():
                raise ValueError(wrong)


def _object(text: _Window) -> Iterator[tuple[str, Any]]:
    if text.peek() != "{":
        raise ValueError(f"other JSON, that begins with {text.peek()!r}" if text.peek() else "an empty file")
    text.take("{")
    following = "," if text.peek() != "}" else text.take("}")
    while following == ",":
        name = text.value()
        text.take(":")
        if name == EVENTS and text.peek() == "[":
            yield from ((EVENTS, event) for event in _array(text))
        else:
            yield str(name), text.value()
        following = text.take(",}")
    if text.peek():
        raise ValueError(f"{text.peek()!r} behind its end")


def _array(text: _Window) -> Iterator[Any]:
    text.take("[")
    following = "," if text.peek() != "]" else text.take("]")
    while following == ",":
        yield text.value()
        following = text.take(",]")
