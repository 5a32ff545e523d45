"""Damaged stores: one line for each, in bounded time and memory, or the very table that was written."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from reports import make_store

from simexplore.errors import SimexploreError
from simexplore.sim.explore.storage.database import check_sum
from simexplore.sim.explore.store import FILE, Store

CASES = 200
LONGEST_S = 2.0
MOST_BYTES = 200 << 20
Damage = Callable[[bytearray, random.Random], None]


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 2, 20])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.choice([100, 4096, 8192, chance.randrange(1, len(data))]) :]


def blank(data: bytearray, chance: random.Random) -> None:
    start, length = chance.randrange(len(data)), chance.choice([16, 512, 4096])
    data[start : start + length] = bytes(len(data[start : start + length]))


def noise(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    part = data[start : start + chance.choice([8, 600])]
    data[start : start + len(part)] = chance.randbytes(len(part))


def swap(data: bytearray, chance: random.Random) -> None:
    one, two = (4096 * chance.randrange(len(data) // 4096) for _ in range(2))
    data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some pages, with failures and what is kept beside the header."""
    folder = tmp_path_factory.mktemp("whole")
    with make_store(folder, 300) as store:
        store.finish()
    return folder


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    with Store.open(folder) as store:
        assert store.finished
        return store.results(), store.failures()


def outcome(folder: Path, expected: tuple[pd.DataFrame, pd.DataFrame]) -> bool:
    """Whether the store is refused; it must be read as it was written otherwise, and soon either way."""
    started = time.monotonic()
    tracemalloc.start()
    said = ""
    try:
        found = read(folder)
    except SimexploreError as error:
        said = str(error)
    finally:
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        tracemalloc.stop()
        assert time.monotonic() - started < LONGEST_S
    if said:
        assert said.isprintable(), "one line"
        return True
    for table, known in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(table, known)
    return False


def test_two_hundred_damaged_files(whole: Path, tmp_path: Path) -> None:
    expected = read(whole)
    sound = (whole / FILE).read_bytes()
    refused = 0
    for seed in range(CASES):
        chance = random.Random(seed)
        data = bytearray(sound)
        chance.choice([flip, cut, blank, noise, swap])(data, chance)
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / FILE).write_bytes(data)
        refused += outcome(folder, expected)
    assert refused > CASES * 0.8, "the rest has lost bytes that mean nothing"


def _sql(folder: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        for statement, values in statements:
            connection.execute(statement, values)
    connection.close()


BOMB = zlib.compress(zlib.compress(bytes(1 << 28), 9), 9)
FLAT_BOMB = zlib.compress(bytes(1 << 26), 9)
ROW = 'UPDATE chunks SET first = ?, points = ?, data = ?, failures = ?, "check" = ?'
META = 'INSERT OR REPLACE INTO meta (key, value, "check") VALUES (?, ?, ?)'


def _row(*cells: int | bytes) -> tuple[str, tuple[object, ...]]:
    return ROW, (*cells, check_sum(*cells))


def _entry(key: str, value: str) -> tuple[str, tuple[object, ...]]:
    return META, (key, value, check_sum(key, value))


FORGED = {
    "bomb of values": _row(0, 300, FLAT_BOMB, b""),
    "bomb in a bomb": _row(0, 300, BOMB, b""),
    "many points in few bytes": _row(0, 2**40, zlib.compress(b"x"), b""),
    "negative points": _row(0, -3, b"", b""),
    "points before the first": _row(-5, 300, zlib.compress(bytes(300 * 8 * 13)), b""),
    "fewer values": _row(0, 300, zlib.compress(bytes(80)), b""),
    "values cut off": _row(0, 300, zlib.compress(bytes(300 * 8 * 13))[:-9], b""),
    "no values": _row(0, 300, b"nothing", b""),
    "errors that are none": _row(0, 300, zlib.compress(bytes(300 * 8 * 13)), b"nothing"),
    "errors of other points": _row(0, 300, zlib.compress(bytes(300 * 8 * 13)), zlib.compress(b'[["x"],[400],[0]]')),
    "errors without words": _row(0, 300, zlib.compress(bytes(300 * 8 * 13)), zlib.compress(b'[[],[4],[0]]')),
    "deep errors": _row(0, 300, zlib.compress(bytes(300 * 8 * 13)), zlib.compress(b"[" * 10**5)),
    "bomb of errors": _row(0, 300, zlib.compress(bytes(300 * 8 * 13)), FLAT_BOMB),
    "no sum": ('UPDATE chunks SET "check" = 0', ()),
    "a text as number": ("UPDATE chunks SET points = 'many'", ()),
    "no header": ("DELETE FROM meta", ()),
    "no table": ("DROP TABLE chunks", ()),
    "no columns": ("DELETE FROM meta WHERE key = 'columns'", ()),
    "other columns": _entry("columns", "[]"),
    "columns of nothing": _entry("columns", '[{"name": 3}]'),
    "half a header": _entry("metadata", "{"),
    "deep header": _entry("metadata", "[" * 10**5),
    "another plan": _entry("planned", "7"),
    "endless plan": _entry("planned", "Infinity"),
    "a list for a plan": _entry("planned", "[1]"),
    "another spec": _entry("spec", "[]"),
    "no digest": _entry("digest", "null"),
    "layout of the future": _entry("schema", "3"),
    "layout of nothing": _entry("schema", "x"),
    "a view for a table": ("CREATE VIEW v AS SELECT 1", ()),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_rows_that_no_sweep_has_written(whole: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(whole / FILE, tmp_path / FILE)
    _sql(tmp_path, FORGED[name])
    harmless = name == "a view for a table"
    assert outcome(tmp_path, read(whole)) == (not harmless)


def test_points_that_are_there_twice(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole / FILE, tmp_path / FILE)
    row = (299, 1, zlib.compress(bytes(8 * 13)), b"")
    _sql(tmp_path, ("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", (*row, check_sum(*row))))
    with pytest.raises(SimexploreError, match="points that are there twice"):
        Store.open(tmp_path)


def test_a_damaged_log_loses_whole_transactions_only(tmp_path: Path) -> None:
    """What SQLite's log cannot vouch for has not happened: these points are evaluated again."""
    store = make_store(tmp_path / "live", 300)
    log = (tmp_path / "live" / f"{FILE}-wal").read_bytes()
    for seed in range(40):
        chance = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        shutil.copy(tmp_path / "live" / FILE, folder / FILE)
        data = bytearray(log)
        chance.choice([flip, cut, blank, noise])(data, chance)
        (folder / f"{FILE}-wal").write_bytes(data)
        with suppress(SimexploreError), Store.open(folder) as found:
            assert found.count() in (0, 300)
    store.close()


def test_the_schema_of_before_is_named(whole: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (json.dumps(1),))
    connection.close()
    with pytest.raises(SimexploreError, match="expected a store of layout 2, found 1: read it with the simexplore"):
        Store.open(tmp_path)
