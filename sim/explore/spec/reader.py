"""Checked reading of a sweep's file: whatever is wrong is one line, `file:line: key: expected …, found …`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from simexplore.archs.load import Document, read_document
from simexplore.archs.merge import KeyPath, dotted
from simexplore.archs.units import nearest, one_line, show
from simexplore.errors import SimexploreError

MAX_FILE_BYTES = 1 << 24
"""Of a sweep's file, and of a workload's."""


def read_once(path: str | Path) -> tuple[Document, str]:
    """A YAML file of bounded size, and its text.

    Raises:
        SimexploreError: it cannot be read, or changes while it is.
    """
    file = Path(path)
    where = f"{one_line(str(path))}:1"
    try:
        if file.exists() and not file.is_file() and not file.is_dir():
            raise SimexploreError(f"{where}: expected a readable file, found a device or a pipe")
        size = file.stat().st_size if file.is_file() else 0
        if size > MAX_FILE_BYTES:
            raise SimexploreError(f"{where}: expected a file of at most {MAX_FILE_BYTES >> 20} MiB, found {size} B")
        before = file.read_bytes() if file.is_file() else b""
        document = read_document(path)
        if file.read_bytes() != before:
            raise SimexploreError(f"{where}: expected a file that stays as it is, found it changed while it was read")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "no file"
        raise SimexploreError(f"{where}: expected a readable file, found: {said}") from None
    return document, before.decode("utf-8-sig")


@dataclass(frozen=True)
class Reader:
    """Plain data with the places that it was written at."""

    document: Document

    def fail(self, path: KeyPath, expected: str, found: str) -> NoReturn:
        """Raise the one line that says what was expected and what was found."""
        raise SimexploreError(f"{self.place(path)}: expected {expected}, found {found}")

    def place(self, path: KeyPath) -> str:
        """`file:line: key`."""
        file = one_line(str(self.document.path))
        return f"{file}:{self.document.line(path)}: {dotted(path)}"

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Put the place before an error raised inside; its text says what was expected and found."""
        try:
            yield
        except SimexploreError as error:
            text = str(error)
            if " found " not in text:
                text = f"expected a value that fits, found: {text}"
            raise SimexploreError(f"{self.place(path)}: {' '.join(text.split())}") from None

    def mapping(self, path: KeyPath, value: Any, example: str) -> Mapping[str, Any]:
        """Read a mapping that must not be empty."""
        if not isinstance(value, dict) or not value:
            self.fail(path, f"a mapping such as {example!r}", "an empty mapping" if value == {} else show(value))
        return value

    def known_keys(self, path: KeyPath, value: Mapping[str, Any], known: tuple[str, ...]) -> None:
        """Check that a mapping has no other keys than these."""
        for key in value:
            if key not in known:
                self.fail((*path, key), f"one of the keys {', '.join(known)}", show(key) + nearest(key, list(known)))

    def text(self, path: KeyPath, value: Any, example: str) -> str:
        """Read a text that must not be empty."""
        if not isinstance(value, str) or not value.strip():
            self.fail(path, f"text such as {example!r}", show(value))
        return value

    def word(self, path: KeyPath, value: Any, words: tuple[str, ...]) -> str:
        """Read a word that must be one of some."""
        if value not in words or not isinstance(value, str):
            hint = nearest(value, list(words)) if isinstance(value, str) else ""
            self.fail(path, f"one of {', '.join(words)}", show(value) + hint)
        return value

    def truth(self, path: KeyPath, value: Any) -> bool:
        """Read a value that must be true or false."""
        if not isinstance(value, bool):
            self.fail(path, "true or false", show(value))
        return value

    def integer(self, path: KeyPath, value: Any, minimum: int, maximum: int = 2**53) -> int:
        """Read a whole number that must lie within bounds."""
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            self.fail(path, f"a whole number from {minimum} to {maximum}", show(value))
        return value

    def number(self, path: KeyPath, value: Any) -> float:
        """Read a number that must be above zero."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            self.fail(path, "a number above 0", show(value))
        return float(value)
