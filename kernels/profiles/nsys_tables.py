"""Tables of an nsys export as arrays, whatever of them there is, and whatever is in their cells.

A million rows are a few arrays of 8 MB each. A cell that is no integer is `NONE`; a column that an export of that age
does not have is `NONE` in all rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simexplore.errors import SimexploreError

Ints = npt.NDArray[np.int64]
NONE = int(np.iinfo(np.int64).min)
"""No number; ids and times of a profile are never that."""
LEAST_ROW_BYTES = 4
"""A row of a table takes at least so much of the file; more rows than fit are a damaged file's."""
LONGEST_CELL = 1 << 24
TOO_MANY = "more rows than the file has room for: it is damaged"
_AT_ONCE = 20_000


class Export:
    """An open export."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = {name for (name,) in rows if isinstance(name, str)}
        self._most_rows = path.stat().st_size // LEAST_ROW_BYTES

    def columns(self, table: str) -> set[str]:
        """Names of a table's columns; none where there is no such table."""
        if table not in self.tables:
            return set()
        return {str(row[1]) for row in self._database.execute(f"PRAGMA table_info({quoted(table)})")}

    def integers(self, table: str, names: Sequence[str]) -> Ints:
        """Columns of integers, an array of shape (columns, rows)."""
        have = self.columns(table)
        cells = [_integer(name) for name in names if name in have]
        ((count,),) = self._database.execute(f"SELECT count(*) FROM {quoted(table)}")
        if count > self._most_rows:
            raise sqlite3.DatabaseError(TOO_MANY)
        found = np.full((len(names), count), NONE, dtype=np.int64)
        told = [place for place, name in enumerate(names) if name in have]
        start = 0
        for chunk in self._rows(f"SELECT {', '.join(cells) or NONE} FROM {quoted(table)} LIMIT {count}"):
            if told:
                found[told, start : start + len(chunk)] = np.array(chunk, dtype=np.int64).T
            start += len(chunk)
        return found

    def texts(self, table: str, key: str, value: str) -> Iterator[tuple[int, str]]:
        """Rows of a column of integers and one of text, those that are both; none where there is no such table."""
        if {key, value} <= self.columns(table):
            for number, text in self.rows(f"SELECT {quoted(key)}, {quoted(value)} FROM {quoted(table)}"):
                if isinstance(number, int) and isinstance(text, str):
                    yield number, text

    def rows(self, query: str) -> Iterator[tuple[object, ...]]:
        """Rows of a query, one by one."""
        for chunk in self._rows(query):
            yield from chunk

    def _rows(self, query: str) -> Iterator[list[tuple[object, ...]]]:
        cursor, count = self._database.execute(query), 0
        while chunk := cursor.fetchmany(_AT_ONCE):
            count += len(chunk)
            if count > self._most_rows:
                raise sqlite3.DatabaseError(TOO_MANY)
            yield chunk


@contextmanager
def opened(path: Path) -> Iterator[Export]:
    """An export, opened so that nothing is written beside it.

    Raises:
        SimexploreError: the file is no SQLite database, is damaged, or its export was not finished.
    """
    for ending in ("-journal", "-wal"):
        beside = Path(f"{path}{ending}")
        if beside.is_file() and beside.stat().st_size:
            raise SimexploreError(f"{path}: expected a finished export, found {beside.name} beside it: export it again")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = lambda raw: raw.decode("utf-8", "replace")
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_CELL)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            yield Export(path, database)
    except (sqlite3.Error, OverflowError, OSError, UnicodeError) as error:  # its messages quote a damaged file's bytes
        raise SimexploreError(f"{path}: expected an SQLite export of Nsight Systems, found: {error}") from None


def quoted(name: str) -> str:
    """A name of a table or column, as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _integer(name: str) -> str:
    column = quoted(name)
    return f"CASE typeof({column}) WHEN 'integer' THEN {column} ELSE {NONE} END"
