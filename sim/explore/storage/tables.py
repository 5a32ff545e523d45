"""The tables of a sweep's database: what is known of the sweep by key, and its points chunk by chunk."""

from __future__ import annotations

import json
import sqlite3

from simexplore.archs.units import one_line
from simexplore.errors import SimexploreError
from simexplore.sim.explore.storage.database import DamageError, Database, check_sum, checked
from simexplore.sim.explore.storage.header import Header, check_layout

_TABLES = (
    'CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, "check" INTEGER NOT NULL)',
    "CREATE TABLE IF NOT EXISTS chunks (first INTEGER PRIMARY KEY, points INTEGER NOT NULL, data BLOB NOT NULL, "
    'failures BLOB NOT NULL, "check" INTEGER NOT NULL)',
)


def begin(connection: sqlite3.Connection, header: Header) -> None:
    """Make the tables where there are none, and write the header where there is none."""
    for statement in _TABLES:
        connection.execute(statement)
    if not connection.execute("SELECT 1 FROM meta LIMIT 1").fetchone():
        for key, value in header.rows().items():
            keep(connection, key, value)


def keep(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Write a key, within a transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, value, check_sum(key, value)))


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """All keys with their JSON. Raises sqlite3.Error or DamageError."""
    found: dict[str, str] = {}
    for row in connection.execute('SELECT key, value, "check" FROM meta'):
        key, value = checked(row)
        found[str(key)] = str(value)
    return found


def read_header(database: Database) -> Header:
    """The header of a store that this version can read. Raises sqlite3.Error or DamageError."""
    found = database.connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if found is None:
        raise DamageError("it does not say its layout")
    try:
        check_layout(json.loads(found[0]))
    except SimexploreError as error:
        raise SimexploreError(f"{one_line(str(database.path))}: {error}") from None
    except (TypeError, ValueError):
        raise DamageError("it does not say its layout") from None
    return Header.from_rows(read_meta(database.connection))
