"""The store: nothing lost, nothing twice, another sweep refused."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.sim.explore.storage.header import Header
from simexplore.sim.explore.store import FILE, Chunk, Store, gaps
from simexplore.sim.explore.table import Column

COLUMNS = (
    Column("l2.capacity", "axis", "B"),
    Column("sm.count", "axis", "1", "int"),
    Column("dtype", "axis", "text", "text", ("bf16", "fp8")),
    Column("time_s", "objective", "s", direction="min"),
    Column("feasible", "feasible", "1", "bool"),
)


def metadata(**changes: object) -> dict[str, object]:
    known: dict[str, object] = {
        "name": "n",
        "seed": 1,
        "versions": {"optuna": "4"},
        "arch": {"name": "x", "from": "x", "data": {"sm": 1}},
        "workloads": {"a": {"source": "w.yaml", "data": [1]}},
    }
    return {**known, **changes}


HEADER = Header({"arch": "x"}, "arch: x\n", COLUMNS, planned=10, metadata=metadata())


def chunk(first: int, points: int, failures: dict[int, str] | None = None) -> Chunk:
    numbers = np.arange(first, first + points, dtype=np.float64)
    values = np.stack([numbers * 1024, numbers, numbers % 2, numbers / 8, numbers % 3 > 0])
    for point in failures or {}:
        values[3:, point - first] = np.nan
    return Chunk(first, values, failures or {})


def test_what_is_added_is_read(tmp_path: Path) -> None:
    with Store.create(tmp_path / "new" / "out", HEADER) as store:
        assert store.add(chunk(4, 3, {5: "it does not fit"}))
        assert store.add(chunk(0, 2))
    with Store.open(tmp_path / "new" / "out") as store:
        assert (store.count(), store.planned, store.done()) == (5, 10, [(0, 2), (4, 7)])
        table = store.results()
        assert list(table.columns) == ["point", "l2.capacity", "sm.count", "dtype", "time_s", "feasible"]
        assert list(table["point"]) == [0, 1, 4, 6]
        assert list(table["dtype"]) == ["bf16", "fp8", "bf16", "bf16"]
        assert [str(kind) for kind in table.dtypes] == ["int64", "float64", "int64", "category", "float64", "bool"]
        failed = store.failures()
        assert failed.to_dict(orient="records") == [
            {"point": 5, "l2.capacity": 5120.0, "sm.count": 5, "dtype": "fp8", "error": "it does not fit"}
        ]
        assert store.spec == HEADER.spec
        assert store.spec_text == HEADER.spec_text
        assert store.columns == COLUMNS
        assert [column.name for column in store.objectives] == ["time_s"]
        assert [column.name for column in store.axes] == ["l2.capacity", "sm.count", "dtype"]


def test_points_are_stored_once(tmp_path: Path) -> None:
    with Store.create(tmp_path, HEADER) as store:
        assert store.add(chunk(2, 4))
        for first, points in ((2, 4), (0, 3), (5, 1), (3, 2), (0, 10)):
            assert not store.add(chunk(first, points))
        assert store.add(chunk(6, 1))
        assert store.done() == [(2, 7)]


def test_the_table_does_not_depend_on_the_chunks(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name, parts in (("a", [(0, 10)]), ("b", [(7, 3), (0, 3), (3, 4)])):
        with Store.create(tmp_path / name, HEADER) as store:
            for first, points in parts:
                store.add(chunk(first, points))
            store.export(tmp_path / f"{name}.csv")
            store.export(tmp_path / f"{name}.parquet")
            np.testing.assert_array_equal(store.values(2, 8)[0], np.arange(2, 8))
            np.testing.assert_array_equal(store.values(2, 8)[1], chunk(2, 6).values)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == len(pd.read_csv(tmp_path / "a.csv")) == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"launch": "stream"}}, "its launch was another"),
        ({"metadata": metadata(arch={"name": "x", "from": "x", "data": {"sm": 2}})}, "its arch was another"),
        ({"metadata": metadata(seed=2)}, "its seed was another"),
        ({"metadata": metadata(versions={"optuna": "5"})}, "its version of optuna was 4, and is 5 now"),
        ({"metadata": metadata(workloads={"a": {"source": "w.yaml", "data": [2]}})}, "its workloads were others"),
        ({"planned": 11}, "its points were others"),
        ({"columns": COLUMNS[:-1]}, "its columns were others"),
    ],
)
def test_another_sweep_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    Store.create(tmp_path, HEADER).close()
    with pytest.raises(SimexploreError, match="holds another sweep") as caught:
        Store.create(tmp_path, replace(HEADER, **change))  # type: ignore[arg-type]
    assert said in str(caught.value)
    Store.create(tmp_path, HEADER).close()


def test_places_and_names_may_change(tmp_path: Path) -> None:
    Store.create(tmp_path, HEADER).close()
    moved = metadata(
        name="m",
        arch={"name": "y", "from": "elsewhere/x.yaml", "data": {"sm": 1}},
        workloads={"a": {"source": "elsewhere/w.yaml", "data": [1]}},
    )
    Store.create(tmp_path, replace(HEADER, spec={"arch": "elsewhere/x.yaml"}, metadata=moved)).close()


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(SimexploreError, match=f"found no {FILE}"):
        Store.open(tmp_path)
    (tmp_path / FILE).write_text("this is no database, though it is long enough to look at" * 20)
    with pytest.raises(SimexploreError, match="expected a sweep's store, found a damaged one"):
        Store.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SimexploreError, match="expected a folder to write to"):
        Store.create(tmp_path / "file", HEADER)
    with Store.create(tmp_path / "old", HEADER):
        pass
    with sqlite3.connect(tmp_path / "old" / FILE) as connection:
        connection.execute("UPDATE meta SET value = '0' WHERE key = 'schema'")
    with pytest.raises(SimexploreError, match="expected a store of layout 2, found 0"):
        Store.open(tmp_path / "old")


def test_exports_that_cannot_be(tmp_path: Path) -> None:
    with Store.create(tmp_path, HEADER) as store:
        with pytest.raises(SimexploreError, match=r"ends in \.parquet or \.csv"):
            store.export(tmp_path / "table.xlsx")
        with pytest.raises(SimexploreError, match="can't be written"):
            store.export(tmp_path / "absent" / "table.csv")


def test_an_empty_store_has_an_empty_table(tmp_path: Path) -> None:
    with Store.create(tmp_path, HEADER) as store:
        assert store.results().empty
        assert store.failures().empty
        assert list(store.results().columns)[1:] == [column.name for column in COLUMNS]


@given(taken=st.sets(st.integers(0, 30)), first=st.integers(0, 30), length=st.integers(0, 20))
def test_gaps_are_what_is_not_there(taken: set[int], first: int, length: int) -> None:
    done = [(point, point + 1) for point in sorted(taken)]
    missing = [point for start, stop in gaps(done, first, first + length) for point in range(start, stop)]
    assert missing == [point for point in range(first, first + length) if point not in taken]
