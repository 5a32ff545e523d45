"""Writing a report's page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from simexplore.cli.output import note
from simexplore.errors import SimexploreError
from simexplore.sim.keeping.folder import written_aside


def now() -> str:
    """Date and time as a page shows it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def write_page(file: Path, html: str) -> None:
    """Write a page and say so on stderr."""
    if file.exists() and not file.is_file() and not file.is_dir():  # such as /dev/stdout
        _write_through(file, html)
    else:
        with written_aside(file, "the report") as aside:
            aside.write_text(html, encoding="utf-8")
    note(f"report written to {file}: open it in a browser")


def _write_through(file: Path, html: str) -> None:
    try:
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise SimexploreError(f"{file}: the report can't be written: {error.strerror}") from None
