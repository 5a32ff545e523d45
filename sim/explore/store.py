"""Where a sweep is kept: one SQLite file in its folder, safe to kill at any moment.

A chunk of points, its results and its failures are written in one transaction, so a point is there wholly or not at
all. Results lie in blobs of compressed floats, a column after a column: a million points take some ten megabytes a
column, and the table does not depend on how the points were cut into chunks.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simexplore.archs.units import one_line
from simexplore.errors import SimexploreError
from simexplore.sim.explore.table import POINT, Column, FloatArray, Index, decode

if TYPE_CHECKING:
    import pandas as pd

FILE = "sweep.sqlite"
SCHEMA_VERSION = 1
_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS chunks (first INTEGER PRIMARY KEY, points INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS failures (point INTEGER PRIMARY KEY, error TEXT NOT NULL)",
)


@dataclass(frozen=True)
class Header:
    """What is known of a sweep before its first point; kept as JSON."""

    spec: Mapping[str, Any]
    """The sweep as it runs: the file's data with the command's options laid over."""
    spec_text: str
    """The file as it was written."""
    columns: tuple[Column, ...]
    planned: int
    """Points that the sampler gives at most."""
    metadata: Mapping[str, Any]
    """`versions`, `seed`, `sampler`, `fidelity`, `arch` (name, file, resolved data, calibration), `workloads`."""

    @property
    def digest(self) -> str:
        """What must not change between two runs in one folder: spec, resolved machine, columns and version."""
        known = [self.spec, self.planned, [column.to_json() for column in self.columns], self.metadata]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Chunk:
    """Neighbouring points with their results."""

    first: int
    values: FloatArray
    """Shape (columns, points), in the header's order; NaN where a point failed."""
    failures: Mapping[int, str]
    """Error by point."""
    packed: bytes | None = None
    """The values as the store keeps them, where a worker has made them so."""

    def pack(self) -> Chunk:
        """With `packed`: of many workers the one process that writes has the least time."""
        return replace(self, packed=_packed(self.values))

    @property
    def points(self) -> int:
        """How many points."""
        return int(self.values.shape[1])


class Store:
    """A sweep's folder. `create` makes or continues one, `open` reads one."""

    def __init__(self, path: Path, connection: sqlite3.Connection, header: Header) -> None:
        self.path = path
        self._connection = connection
        self._header = header

    @classmethod
    def create(cls, folder: str | Path, header: Header) -> Store:
        """The store of this sweep in `folder`, new or with what an earlier run has left there.

        Raises:
            SimexploreError: the folder holds another sweep, or cannot be written.
        """
        path = Path(folder) / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(path)
            with _writing(connection):
                for statement in _TABLES:
                    connection.execute(statement)
                if not _meta(connection):
                    connection.executemany("INSERT INTO meta VALUES (?, ?)", _rows(header).items())
        except (OSError, sqlite3.Error) as error:
            raise SimexploreError(f"{one_line(str(folder))}: expected a folder to write to, found: {error}") from None
        found = _read_header(path, connection)
        if found.digest != header.digest:
            connection.close()
            raise SimexploreError(
                f"{one_line(str(folder))}: holds another sweep ({_difference(found, header)}): "
                "choose another folder with -o, or delete this one"
            )
        return cls(path, connection, found)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """The sweep in `folder`, complete or not.

        Raises:
            SimexploreError: there is none.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise SimexploreError(
                f"{one_line(str(folder))}: expected a folder that simexplore sweep has written, found no {FILE}"
            )
        try:
            connection = _connect(path)
            return cls(path, connection, _read_header(path, connection))
        except sqlite3.Error as error:
            raise SimexploreError(f"{one_line(str(path))}: expected a sweep's store, found: {error}") from None

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def spec(self) -> Mapping[str, Any]:
        """The sweep as it ran, plain data."""
        return self._header.spec

    @property
    def spec_text(self) -> str:
        """The sweep's file as it was written."""
        return self._header.spec_text

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of `results` are, `point` aside."""
        return self._header.columns

    @property
    def objectives(self) -> tuple[Column, ...]:
        """The columns that are to be best, in the spec's order."""
        return tuple(column for column in self.columns if column.role == "objective")

    @property
    def axes(self) -> tuple[Column, ...]:
        """The columns that the sampler chooses."""
        return tuple(column for column in self.columns if column.role == "axis")

    @property
    def planned(self) -> int:
        """Points of the whole sweep; a search may end with fewer."""
        return self._header.planned

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Versions, seed, sampler, fidelity, machine with its calibration, workloads."""
        return self._header.metadata

    @property
    def left_out(self) -> dict[str, float] | None:
        """What `learned.left_out` says; None while it is not known."""
        found = _meta(self._connection).get("left_out")
        return None if found is None else dict(json.loads(found))

    def keep_left_out(self, factors: Mapping[str, float]) -> None:
        """Keep what `learned.left_out` says."""
        with _writing(self._connection):
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('left_out', ?)", (json.dumps(factors),))

    def done(self) -> list[tuple[int, int]]:
        """The stored points as ranges (first, behind the last), in order and joined where they touch."""
        ranges: list[tuple[int, int]] = []
        for first, points in self._connection.execute("SELECT first, points FROM chunks ORDER BY first"):
            if ranges and ranges[-1][1] == first:
                ranges[-1] = (ranges[-1][0], first + points)
            else:
                ranges.append((first, first + points))
        return ranges

    def count(self) -> int:
        """How many points are stored."""
        return int(self._connection.execute("SELECT COALESCE(SUM(points), 0) FROM chunks").fetchone()[0])

    def add(self, chunk: Chunk) -> bool:
        """Keep a chunk, wholly or not at all; False where another run has stored any of its points meanwhile."""
        blob = _packed(chunk.values) if chunk.packed is None else chunk.packed
        taken = "SELECT 1 FROM chunks WHERE first < ? AND first + points > ? LIMIT 1"
        connection = self._connection
        with _writing(connection):
            if connection.execute(taken, (chunk.first + chunk.points, chunk.first)).fetchone():
                return False
            connection.execute("INSERT INTO chunks VALUES (?, ?, ?)", (chunk.first, chunk.points, blob))
            connection.executemany("INSERT INTO failures VALUES (?, ?)", chunk.failures.items())
        return True

    def values(self, first: int = 0, stop: int | None = None) -> tuple[Index, FloatArray]:
        """Stored points in order and their values as floats, shapes (points,) and (columns, points)."""
        behind = int(np.iinfo(np.int64).max) if stop is None else stop
        query = "SELECT first, points FROM chunks WHERE first + points > ? AND first < ? ORDER BY first"
        chunks = self._connection.execute(query, (first, behind)).fetchall()
        # One array, filled chunk by chunk: a million points are held once.
        numbers = np.empty(sum(points for _, points in chunks), dtype=np.int64)
        values = np.empty((len(self.columns), len(numbers)))
        filled = 0
        for start, points in chunks:
            inside = slice(max(first - start, 0), min(behind - start, points))
            into = slice(filled, filled + inside.stop - inside.start)
            numbers[into] = np.arange(start + inside.start, start + inside.stop)
            values[:, into] = self._unpack(start, points)[:, inside]
            filled = into.stop
        return numbers[:filled], values[:, :filled]

    def results(self) -> pd.DataFrame:
        """One row for each point that did not fail, by `point`: the columns of `columns`, in SI units."""
        points, values = self.values()
        errors = self._errors()
        if errors:
            kept = ~np.isin(points, list(errors))
            points, values = points[kept], values[:, kept]
        return decode(self.columns, points, values)

    def failures(self) -> pd.DataFrame:
        """One row for each point that failed: `point`, its axes, and `error`."""
        errors = self._errors()
        points, values = self.values()
        failed = np.isin(points, list(errors))
        inputs = [index for index, column in enumerate(self.columns) if column.role in ("axis", "derived")]
        known = decode([self.columns[index] for index in inputs], points[failed], values[inputs][:, failed])
        return known.assign(error=[errors[point] for point in known[POINT]])

    def export(self, file: str | Path) -> None:
        """Write `results` as .parquet or .csv; the same sweep gives the same bytes.

        Raises:
            SimexploreError: another ending, no pyarrow, or a file that cannot be written.
        """
        path = Path(file)
        table = self.results()
        try:
            if path.suffix == ".csv":
                table.to_csv(path, index=False, lineterminator="\n")
            elif path.suffix == ".parquet":
                table.to_parquet(path, index=False, compression="zstd")
            else:
                raise SimexploreError(f"{one_line(str(path))}: expected a file that ends in .parquet or .csv")
        except ImportError:
            raise SimexploreError("Parquet needs pyarrow: pip install 'simexplore[sweep]', or write .csv") from None
        except OSError as error:
            raise SimexploreError(f"{one_line(str(path))}: the table can't be written: {error.strerror}") from None

    def _errors(self) -> dict[int, str]:
        return dict(self._connection.execute("SELECT point, error FROM failures ORDER BY point"))

    def _unpack(self, first: int, points: int) -> FloatArray:
        (blob,) = self._connection.execute("SELECT data FROM chunks WHERE first = ?", (first,)).fetchone()
        return np.frombuffer(zlib.decompress(blob), dtype="<f8").reshape(len(self.columns), points)


def _packed(values: FloatArray) -> bytes:
    return zlib.compress(np.ascontiguousarray(values, dtype="<f8").tobytes(), level=1)


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that begins by taking the right to write; what fails inside leaves nothing."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60.0, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta"))


def _rows(header: Header) -> dict[str, str]:
    return {
        "schema": json.dumps(SCHEMA_VERSION),
        "spec": json.dumps(header.spec),
        "spec_text": json.dumps(header.spec_text),
        "columns": json.dumps([column.to_json() for column in header.columns]),
        "planned": json.dumps(header.planned),
        "metadata": json.dumps(header.metadata),
    }


def _read_header(path: Path, connection: sqlite3.Connection) -> Header:
    data = {key: json.loads(value) for key, value in _meta(connection).items()}
    if data.get("schema") != SCHEMA_VERSION:
        raise SimexploreError(
            f"{one_line(str(path))}: expected a store of layout {SCHEMA_VERSION}, found {data.get('schema')}: "
            "read it with the simexplore that wrote it"
        )
    columns = tuple(Column.from_json(column) for column in data["columns"])
    return Header(data["spec"], data["spec_text"], columns, data["planned"], data["metadata"])


def _difference(found: Header, wanted: Header) -> str:
    """The first thing that is not the same, in a few words."""
    for key in sorted({*found.spec, *wanted.spec}):
        if found.spec.get(key) != wanted.spec.get(key):
            return f"its {key} was another"
    for key in sorted({*found.metadata, *wanted.metadata}):
        if found.metadata.get(key) != wanted.metadata.get(key):
            return f"its {key} was another"
    return "its columns were others"


def gaps(done: Sequence[tuple[int, int]], first: int, stop: int) -> list[tuple[int, int]]:
    """What of first … stop - 1 is in none of the ranges."""
    missing = []
    for start, end in done:
        if end > first and start < stop:
            if start > first:
                missing.append((first, start))
            first = max(first, end)
    if first < stop:
        missing.append((first, stop))
    return missing
