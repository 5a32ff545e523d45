"""The SQLite file under a sweep: opened for writing or from any medium, checked whole, its errors in one line.

Every row has a check sum over its cells, so that what a damaged disk gives back is not taken for results.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from simexplore.archs.units import one_line
from simexplore.errors import SimexploreError

BUSY_S = 60.0
"""How long another process may hold the database's own lock."""
_DAMAGE = "expected a sweep's store, found a damaged one"
_CURE = "delete the folder, or choose another with -o, and run the sweep again"
Cell = int | str | bytes


class DamageError(Exception):
    """What a store holds cannot have been written by a sweep."""


class Database:
    """A connection, with the copy that it reads where the medium allows no other way."""

    def __init__(self, path: Path, connection: sqlite3.Connection, copy: TemporaryDirectory[str] | None = None) -> None:
        self.path = path
        self.connection = connection
        self._copy = copy

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_to_write(path: Path) -> Database:
    """A database that is made where there is none. Raises sqlite3.Error."""
    connection = _connect(f"{_uri(path)}?mode=rwc")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return Database(path, connection)


def open_to_read(path: Path) -> Database:
    """A database as it is, on read-only media too. Raises sqlite3.Error or OSError."""
    log = path.with_name(f"{path.name}-wal")
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return Database(path, _connect(f"{_uri(path)}?mode=rw"))
    try:
        return Database(path, _connect(f"{_uri(path)}?mode=ro"))
    except sqlite3.OperationalError:
        # SQLite wants to write beside a file with a log; without one nothing can be missing from the file itself.
        if not log.is_file() or not log.stat().st_size:
            return Database(path, _connect(f"{_uri(path)}?immutable=1"))
    copy: TemporaryDirectory[str] = TemporaryDirectory(prefix="simexplore-")
    try:
        for file in (path, log):
            shutil.copyfile(file, Path(copy.name) / file.name)
        return Database(path, _connect(f"{_uri(Path(copy.name) / path.name)}?mode=rw"), copy)
    except BaseException:
        copy.cleanup()
        raise


def _uri(path: Path) -> str:
    """Names may hold what an address gives a meaning to: #, ?, %."""
    return Path(os.path.abspath(path)).as_uri()


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, uri=True)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # the first look at the file itself
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that begins by taking the right to write; what fails inside leaves nothing."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What goes wrong inside with the database at `path` as one line.

    Raises:
        SimexploreError: it is locked, damaged or cannot be read, or the disk is full.
    """
    where = one_line(str(path))
    try:
        yield
    except DamageError as error:
        raise SimexploreError(f"{where}: {_DAMAGE} ({error}): {_CURE}") from None
    except sqlite3.Error as error:
        raise SimexploreError(f"{where}: {_said(error)}") from None
    except OSError as error:
        raise SimexploreError(f"{where}: expected a store that can be read, found: {error.strerror or error}") from None


def _said(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    text = " ".join(str(error).split())
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"another process has held the store's lock for {BUSY_S:.0f} s: end it and run the same command again; "
            "what is stored is kept"
        )
    if name.startswith("SQLITE_FULL"):
        return "the disk is full: make room and run the same command again; what is stored is kept"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return f"expected a store that can be opened, found: {text}"
    if name.startswith("SQLITE_IOERR"):
        return f"expected a disk that works and has room, found: {text}; what is stored is kept"
    return f"{_DAMAGE} ({text}): {_CURE}"


def verify(connection: sqlite3.Connection) -> None:
    """Walk through all pages. Raises sqlite3.DatabaseError or DamageError."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise DamageError(" ".join(str(found).split()))


def check_sum(*cells: Cell) -> int:
    """Of a row's cells, in their order."""
    total = 0
    for cell in cells:
        if isinstance(cell, bytes):
            total = zlib.crc32(cell, total)
        elif isinstance(cell, str | int) and not isinstance(cell, bool):
            total = zlib.crc32(f"{cell}\0".encode("utf-8", "surrogatepass"), total)
        else:
            raise DamageError("a cell of another type")
    return total


def checked(row: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The cells of a row before its check sum, which is the last. Raises DamageError."""
    *cells, check = row
    if check_sum(*cells) != check:
        raise DamageError("a row that does not match its check sum")
    return tuple(cells)
