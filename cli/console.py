"""What the command owes a terminal: lines that move no cursor, characters that it can show, and a closed end."""

from __future__ import annotations

import codecs
import gc
import io
import sys
from typing import IO, Any

import click

from simexplore.errors import SimexploreError

_NEAREST = {"–": "-", "—": "-", "…": "...", "µ": "u", "×": "x", "±": "+-", "²": "2", "≤": "<=", "≥": ">=", "→": "->"}
"""What stands for characters of our tables where a terminal has none."""
GARBAGE_AFTER = 200_000
"""Objects more than there were, after which garbage is looked for."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_ERRORS = "simexplore.nearest"


def prepare() -> None:
    """Make standard output take any text, whatever its encoding, as standard error does anyway.

    Garbage is looked for less often: what a command imports stays, and looking costs a tenth of its start.
    """
    gc.set_threshold(GARBAGE_AFTER, *gc.get_threshold()[1:])
    codecs.register_error(_ERRORS, _nearest)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ERRORS)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_NEAREST.get(char) or escaped(char, ascii_only=True) for char in text), error.end


def escaped(text: str, *, ascii_only: bool = False) -> str:
    """A text on one line whose control characters, and what else cannot be seen, are written as escapes.

    A name out of a file could otherwise recolour a terminal, move its cursor or set its title.
    """
    if text.isprintable() and not ascii_only:
        return text
    show = ascii if ascii_only else repr
    return "".join(char if char.isprintable() and not ascii_only else show(char)[1:-1] for char in text)


def say(text: str = "", *, nl: bool = True) -> None:
    """Lines on standard output.

    Raises:
        BrokenPipeError: the reader has stopped; click ends the command.
        SimexploreError: it cannot be written for another reason, such as a full disk.
    """
    lines = "\n".join(escaped(line) for line in text.split("\n"))
    try:
        click.echo(lines, nl=nl)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: it is closed
        sys.stdout = None  # else Python tries again at its end, and tells of that
        raise SimexploreError(f"standard output can't be written: {getattr(error, 'strerror', error)}") from None


def is_terminal(stream: IO[Any] | None) -> bool:
    """Whether people read a stream as it comes; a closed one is read by nobody."""
    return stream is not None and not stream.closed and stream.isatty()


def shows(stream: IO[Any] | None, text: str) -> bool:
    """Whether a stream's encoding has all characters of a text."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
