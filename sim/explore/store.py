"""Where a sweep is kept: one SQLite file in its folder, safe to kill at any moment.

A chunk of points, its results and its failures are written in one transaction, so a point is there wholly or not at
all. Results lie in blobs of compressed floats, a column after a column: a million points take some ten megabytes a
column, and the table does not depend on how the points were cut into chunks. One command at a time writes to a
folder, and what is read is checked first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simexplore.archs.units import one_line
from simexplore.errors import SimexploreError
from simexplore.sim.explore.storage.blobs import packed, packed_errors, room_for, unpacked, unpacked_errors
from simexplore.sim.explore.storage.database import (
    DamageError,
    Database,
    check_sum,
    checked,
    open_to_read,
    open_to_write,
    told,
    verify,
    writing,
)
from simexplore.sim.explore.storage.header import Header, difference
from simexplore.sim.explore.storage.tables import begin, keep, read_header, read_meta
from simexplore.sim.explore.table import POINT, Column, FloatArray, Index, decode, harmless
from simexplore.sim.keeping.folder import FolderLock, written_aside

if TYPE_CHECKING:
    import pandas as pd

FILE = "sweep.sqlite"
MAX_POINTS = 100_000_000
"""Of a sweep."""


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
        return replace(self, packed=packed(self.values))

    @property
    def points(self) -> int:
        """How many points."""
        return int(self.values.shape[1])


class Store:
    """A sweep's folder. `create` makes or continues one, `open` reads one."""

    def __init__(self, database: Database, header: Header, lock: FolderLock | None = None) -> None:
        self.path = database.path
        self._database = database
        self._connection = database.connection
        self._header = header
        self._lock = lock

    @classmethod
    def create(cls, folder: str | Path, header: Header) -> Store:
        """The store of this sweep in `folder`, new or with what an earlier run has left there.

        A finished one is only read, and may lie where nothing can be written.

        Raises:
            SimexploreError: the folder holds another sweep or a damaged one, another command is writing to it, or it
                cannot be written.
        """
        path = Path(folder) / FILE
        with told(path):
            store = cls._opened(path) if _is_file(path) else None
        if store is not None:
            if store.finished:
                return store._of(header)
            store.close()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(path.parent)
        except OSError as error:
            raise SimexploreError(f"{one_line(str(folder))}: expected a folder to write to, found: {error}") from None
        try:
            with told(path):
                return cls._made(path, header, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _made(cls, path: Path, header: Header, lock: FolderLock) -> Store:
        database = open_to_write(path)
        try:
            with writing(database.connection):
                begin(database.connection, header)
            return cls(database, read_header(database), lock)._of(header)
        except BaseException:
            database.close()
            raise

    def _of(self, header: Header) -> Store:
        """Itself, where it holds this sweep."""
        if self._header.digest != header.digest:
            self.close()
            raise SimexploreError(
                f"{one_line(str(self.path.parent))}: holds another sweep ({difference(self._header, header)}): "
                "choose another folder with -o, or delete this one"
            )
        return self

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """The sweep in `folder`, complete or not, all of it checked.

        Raises:
            SimexploreError: there is none, or it is damaged.
        """
        path = Path(folder) / FILE
        with told(path):
            store = cls._opened(path) if _is_file(path) else None
        if store is None:
            found = "no sweep in it yet" if _is_file(path) else f"no {FILE}"
            raise SimexploreError(
                f"{one_line(str(folder))}: expected a folder that simexplore sweep has written, found {found}"
            )
        return store

    @classmethod
    def _opened(cls, path: Path) -> Store | None:
        """The store at `path`, checked; None where none was begun, or its command was killed before its header."""
        database = open_to_read(path)
        try:
            verify(database.connection)
            if not database.connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                database.close()
                return None
            store = cls(database, read_header(database))
            store._verify()
        except BaseException:
            database.close()
            raise
        return store

    def _verify(self) -> None:
        """Check all rows, and that points are there once. Raises DamageError."""
        self._read_meta()
        behind = 0
        for row in self._connection.execute('SELECT first, points, data, failures, "check" FROM chunks ORDER BY first'):
            first, points, data, failures = checked(row)
            if not (isinstance(first, int) and isinstance(points, int) and behind <= first and points > 0):
                raise DamageError("points that are there twice")
            behind = first + points
            if behind > self.planned or self.planned > MAX_POINTS:
                raise DamageError("more points than the sweep has")
            if not (isinstance(data, bytes) and isinstance(failures, bytes)):
                raise DamageError("a chunk of points of another kind")
            if not room_for(len(data), len(self.columns), points):
                raise DamageError("a chunk of points of another size than it says")

    def close(self) -> None:
        """Let go of the file, and of the right to write to the folder."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

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
    def finished(self) -> bool:
        """Whether all points are there; of a search, all that it will ask for."""
        return "finished" in self._read_meta()

    def finish(self) -> None:
        """All points are there: from now on the folder is only read."""
        with told(self.path), writing(self._connection):
            keep(self._connection, "finished", json.dumps(self.count()))

    def keep(self, key: str, data: Any) -> None:
        """Keep plain data under a name of its own, beside the points."""
        with told(self.path), writing(self._connection):
            keep(self._connection, key, json.dumps(data))

    def kept(self, key: str) -> Any:
        """What `keep` has kept; None where there is nothing."""
        found = self._read_meta().get(key)
        return None if found is None else json.loads(found)

    def _read_meta(self) -> dict[str, str]:
        with told(self.path):
            return read_meta(self._connection)

    def done(self) -> list[tuple[int, int]]:
        """The stored points as ranges (first, behind the last), in order and joined where they touch."""
        ranges: list[tuple[int, int]] = []
        with told(self.path):
            for first, points in self._connection.execute("SELECT first, points FROM chunks ORDER BY first"):
                if ranges and ranges[-1][1] == first:
                    ranges[-1] = (ranges[-1][0], first + points)
                else:
                    ranges.append((first, first + points))
        return ranges

    def count(self) -> int:
        """How many points are stored."""
        return sum(stop - first for first, stop in self.done())

    @property
    def failed(self) -> int:
        """How many of the stored points failed."""
        return len(self._errors())

    def add(self, chunk: Chunk) -> bool:
        """Keep a chunk, wholly or not at all; False where any of its points is stored already."""
        blob = packed(chunk.values) if chunk.packed is None else chunk.packed
        failures = packed_errors(chunk.failures, chunk.first)
        row = (chunk.first, chunk.points, blob, failures)
        taken = "SELECT 1 FROM chunks WHERE first < ? AND first + points > ? LIMIT 1"
        connection = self._connection
        with told(self.path), writing(connection):
            if connection.execute(taken, (chunk.first + chunk.points, chunk.first)).fetchone():
                return False
            connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", (*row, check_sum(*row)))
        return True

    def values(self, first: int = 0, stop: int | None = None) -> tuple[Index, FloatArray]:
        """Stored points in order and their values as floats, shapes (points,) and (columns, points)."""
        behind = int(np.iinfo(np.int64).max) if stop is None else stop
        query = "SELECT first, points FROM chunks WHERE first + points > ? AND first < ? ORDER BY first"
        with told(self.path):
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

        Spreadsheets take no cell of a .csv for a formula. The file is there wholly, or as it was before.

        Raises:
            SimexploreError: another ending, no pyarrow, or a file that cannot be written.
        """
        path = Path(file)
        if path.suffix not in (".csv", ".parquet"):
            raise SimexploreError(f"{one_line(str(path))}: expected a file that ends in .parquet or .csv")
        table = self.results()
        with written_aside(path, "the table") as aside:
            if path.suffix == ".csv":
                harmless(table).to_csv(aside, index=False, lineterminator="\n")
                return
            try:
                table.to_parquet(aside, index=False, compression="zstd")
            except ImportError:
                raise SimexploreError("Parquet needs pyarrow: pip install 'simexplore[sweep]', or write .csv") from None

    def _errors(self) -> dict[int, str]:
        found: dict[int, str] = {}
        query = "SELECT first, points, failures FROM chunks WHERE LENGTH(failures) > 0 ORDER BY first"
        with told(self.path):
            for first, points, blob in self._connection.execute(query):
                found |= unpacked_errors(blob, first, points)
        return found

    def _unpack(self, first: int, points: int) -> FloatArray:
        (blob,) = self._connection.execute("SELECT data FROM chunks WHERE first = ?", (first,)).fetchone()
        return unpacked(blob, len(self.columns), points)


def _is_file(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a name that is too long, or holds a null character
        return path.is_file()
    return False


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
