"""Exports of Nsight Systems: which range a kernel becomes a row of, what is told besides, and what is no export."""

from __future__ import annotations

import runpy
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from imported import GEMM_KERNEL, SHARED, needs_shared, reasons, texts

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles import import_profile
from simexplore.kernels.profiles.nsys_ranges import NO_RANGE, Ranges, innermost

MM = "aten::mm, seq = 1, op_id = 7, sizes = [[64, 128], [128, 32]], input_op_ids = [(1,0), (2,0)]"
PROCESS = 0x0100_0001_0000_0000
THREAD = PROCESS | 5

Rows = Iterable[tuple[Any, ...]]


def exported(
    path: Path, kernels: Rows, launches: Rows, ranges: Rows, table: str = "NVTX_EVENTS", more: str = ""
) -> Path:
    """The tables and columns of the User Guide's SQLite schema that matter."""
    names = {1: GEMM_KERNEL, 2: "splitKreduce", 3: "void unknown<float>(float*)", 4: "rmsnorm_bf16", 5: MM}
    names |= {6: "cudaLaunchKernel_v7000", 7: "cudaGraphLaunch_v10000"}
    with sqlite3.connect(path) as db:
        db.executescript(
            "PRAGMA synchronous = OFF;"
            "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);"
            "CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT);"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, correlationId INT, "
            "globalPid INT, demangledName INT, shortName INT, graphNodeId INT);"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, globalTid INT, correlationId INT, nameId INT);"
            f"CREATE TABLE {table} (start INT, end INT, eventType INT, text TEXT, globalTid INT, textId INT);" + more
        )
        db.executemany("INSERT INTO StringIds VALUES (?, ?)", names.items())
        db.execute("INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H200')")
        db.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kernels)
        db.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?)", launches)
        db.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", ranges)
    db.close()
    return path


def kernel(name: int, start: Any, end: Any, correlation: Any, gpu: int = 0, process: Any = PROCESS, node: Any = None):  # type: ignore[no-untyped-def]
    return (start, end, gpu, correlation, process, name, name, node)


def launch(correlation: int, start: int, thread: int = THREAD, name: int = 6) -> tuple[Any, ...]:
    return (start, thread, correlation, name)


def labelled(start: int, end: Any, label: str, thread: int = THREAD, kind: int = 59) -> tuple[Any, ...]:
    return (start, end, kind, label, thread, None)


def small(path: Path, **more: Any) -> Path:
    """One thread of one process: a GEMM of two kernels, a norm, and a kernel that no range tells of."""
    durations = [(1, 10_000, 11), (2, 3_000, 12), (3, 7_000, 13), (4, 2_000, 14), (3, 7_000, 15)]
    return exported(
        path,
        [kernel(name, 100_000 * i, 100_000 * i + ns, number) for i, (name, ns, number) in enumerate(durations, 1)],
        [launch(number, number * 10) for number in range(11, 16)],
        [
            labelled(90, 400, "step"),
            (105, 126, 59, None, THREAD, 5),
            labelled(107, 125, "aten::empty, sizes = [[]]"),
            labelled(135, 145, "my rmsnorm(rows=8,cols=512,dtype=bf16)"),
        ],
        **more,
    )


class TestRows:
    @pytest.mark.parametrize("table", ["NVTX_EVENTS", "NVTX_EVENTS_V2", "NVTX_EVENTS_V3"])
    def test_ranges_around_the_launch_tell_the_operator(self, tmp_path: Path, table: str) -> None:
        found = import_profile("nsys", small(tmp_path / "profile.sqlite", table=table))
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 13.0, "rmsnorm rows=8 cols=512": 2.0}
        assert set(found.frame["device"]) == {"NVIDIA H200"}
        assert set(found.frame["launch"]) == {"profiled"}
        (lost,) = found.unmatched
        assert (lost.name, lost.calls, lost.time_us) == ("void unknown<float>(float*)", 2, 14.0)
        assert "emit_nvtx" in lost.reason

    def test_a_device_of_ones_own(self, tmp_path: Path) -> None:
        found = import_profile("nsys", small(tmp_path / "profile.sqlite"), device="my H200")
        assert set(found.frame["device"]) == {"my H200"}

    @pytest.mark.parametrize("name", ["a#b.sqlite", "a?b.sqlite", "100%41.sqlite", "a b&mode=rwc.sqlite", "ü.sqlite"])
    def test_names_of_files_are_names(self, tmp_path: Path, name: str) -> None:
        found = import_profile("nsys", small(tmp_path / name))
        assert len(found.frame) == 2
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_copies_fills_and_whole_graphs_are_told(self, tmp_path: Path) -> None:
        more = (
            "CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, copyKind INT);"
            "INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (0, 5000, 1), (10, 2010, 1), (0, 1000, 8), (0, NULL, 2);"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_MEMSET (start INT, end INT);"
            "INSERT INTO CUPTI_ACTIVITY_KIND_MEMSET VALUES (0, 500);"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INT, end INT, graphId INT);"
            "INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (0, 90000, 3), (0, 80000, 4);"
        )
        found = import_profile("nsys", small(tmp_path / "profile.sqlite", more=more))
        told = {one.name: (one.calls, one.time_us) for one in found.unmatched}
        assert told["Memcpy HtoD"] == (2, 7.0)
        assert told["Memcpy DtoD"] == (1, 1.0)
        assert told["Memcpy DtoH"] == (1, 0.0)
        assert told["Memset"] == (1, 0.5)
        assert told["CUDA graph"] == (2, 170.0)
        assert "without graphs" in reasons(found)["CUDA graph"]
        assert found.matched_share == pytest.approx(15.0 / (15.0 + 14.0 + 8.0 + 0.5 + 170.0))

    def test_a_graph_in_a_range_is_not_the_ranges_operator(self, tmp_path: Path) -> None:
        ranges = [labelled(90, 400, MM)]
        nodes = [kernel(1, 1000 * i, 1000 * i + 500, 11, node=i) for i in range(1, 11)]
        found = import_profile("nsys", exported(tmp_path / "a.sqlite", nodes, [launch(11, 100)], ranges))
        assert found.frame.empty
        assert [(one.calls, one.time_us) for one in found.unmatched] == [(10, 5.0)]
        plain = [kernel(1, 1000, 1500, 11)]
        found = import_profile("nsys", exported(tmp_path / "b.sqlite", plain, [launch(11, 100, name=7)], ranges))
        assert "without graphs" in reasons(found)[GEMM_KERNEL]

    def test_correlations_are_of_a_process(self, tmp_path: Path) -> None:
        other = PROCESS + (1 << 24)
        ranges = [labelled(0, 500, "gemm(m=1,n=1,k=1)"), labelled(0, 500, "gemm(m=2,n=1,k=1)", other | 5)]
        launches = [launch(1, 100), launch(1, 100, other | 5)]
        kernels = [kernel(1, 1000, 2000, 1), kernel(1, 1000, 5000, 1, process=other), kernel(3, 0, 7000, 1, process=9)]
        found = import_profile("nsys", exported(tmp_path / "a.sqlite", kernels, launches, ranges))
        assert texts(found) == {"gemm m=1 n=1 k=1 batch=1": 1.0, "gemm m=2 n=1 k=1 batch=1": 4.0}
        assert "launch is not in the profile" in reasons(found)["void unknown<float>(float*)"]

    def test_an_export_without_processes_is_of_one_if_its_launches_are(self, tmp_path: Path) -> None:
        alone = [kernel(1, 1000, 2000, 1, process=None)]
        ranges = [labelled(0, 500, "gemm(m=1,n=1,k=1)")]
        found = import_profile("nsys", exported(tmp_path / "a.sqlite", alone, [launch(1, 100)], ranges))
        assert len(found.frame) == 1
        two = [launch(1, 100), launch(2, 100, PROCESS + (1 << 24) | 5)]
        assert import_profile("nsys", exported(tmp_path / "b.sqlite", alone, two, ranges)).frame.empty

    def test_launches_of_one_correlation_in_two_ranges_tell_nothing(self, tmp_path: Path) -> None:
        ranges = [labelled(0, 150, "gemm(m=1,n=1,k=1)"), labelled(200, 300, "gemm(m=2,n=1,k=1)")]
        launches = [launch(1, 100), launch(1, 220)]
        found = import_profile("nsys", exported(tmp_path / "a.sqlite", [kernel(1, 1000, 2000, 1)], launches, ranges))
        assert reasons(found) == {GEMM_KERNEL: "several launches have its correlation"}

    def test_a_kernel_that_ended_before_its_launch_is_no_row(self, tmp_path: Path) -> None:
        ranges = [labelled(0, 5000, "gemm(m=1,n=1,k=1)")]
        found = import_profile("nsys", exported(tmp_path / "a.sqlite", [kernel(1, 1, 99, 1)], [launch(1, 100)], ranges))
        assert "ended before its launch" in reasons(found)[GEMM_KERNEL]

    @pytest.mark.parametrize("end", [None, "x", 500, 300, 1.5, -(2**63), 2**63 - 1])
    def test_a_range_with_a_kernel_of_no_duration_is_no_row(self, tmp_path: Path, end: Any) -> None:
        kernels = [kernel(1, 1000, 2000, 1), kernel(2, 500, end, 1)]
        ranges = [labelled(0, 300, "gemm(m=1,n=1,k=1)")]
        found = import_profile("nsys", exported(tmp_path / "a.sqlite", kernels, [launch(1, 100)], ranges))
        assert found.frame.empty
        assert found.unmatched_us == 1.0

    def test_ranges_open_at_the_end_count_and_marks_do_not(self, tmp_path: Path) -> None:
        ranges = [
            labelled(0, None, "gemm(m=1,n=1,k=1)"),
            labelled(50, None, "gemm(m=9,n=1,k=1)", kind=34),
            labelled(60, "x", "gemm(m=8,n=1,k=1)"),
            labelled(80, 70, "gemm(m=7,n=1,k=1)"),
        ]
        found = import_profile(
            "nsys", exported(tmp_path / "a.sqlite", [kernel(1, 900, 1900, 1)], [launch(1, 100)], ranges)
        )
        assert texts(found) == {"gemm m=1 n=1 k=1 batch=1": 1.0}


class TestInnermost:
    @pytest.mark.parametrize("seed", range(20))
    def test_as_looking_at_every_range_for_every_launch(self, seed: int) -> None:
        """Ranges that overlap without nesting too, on several threads, with equal times."""
        draw = np.random.default_rng(seed)
        start = draw.integers(0, 40, 30)
        ranges = Ranges(start, start + draw.integers(0, 15, 30), draw.integers(0, 3, 30), np.arange(30), ())
        threads, times = draw.integers(0, 4, 60), draw.integers(0, 60, 60)
        for place, found in enumerate(innermost(ranges, threads, times).tolist()):
            around = (ranges.thread == threads[place]) & (ranges.start <= times[place]) & (ranges.end >= times[place])
            if not around.any():
                assert found == NO_RANGE
                continue
            latest = ranges.start[around].max()
            shortest = ranges.end[around & (ranges.start == latest)].min()
            assert (ranges.start[found], ranges.end[found]) == (latest, shortest)

    def test_time_is_linear_in_ranges_that_have_ended(self) -> None:
        """A range around the whole run, and launches after all others in it ended: it was quadratic once."""
        count = 60_000
        start = np.arange(count, dtype=np.int64) * 2 + 1
        wide = np.array([0], dtype=np.int64)
        ends = np.concatenate([np.array([10 * count], dtype=np.int64), start + 1])
        zeros = np.zeros(count + 1, dtype=np.int64)
        ranges = Ranges(np.concatenate([wide, start]), ends, zeros, zeros, ("x",))
        begun = perf_counter()
        found = innermost(ranges, zeros[1:], np.arange(count, dtype=np.int64) + 3 * count)
        assert perf_counter() - begun < 5.0
        assert (found == 0).all()


class TestOtherFiles:
    def test_other_databases_are_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "other.sqlite") as database:
            database.execute("CREATE TABLE things (id INTEGER)")
        with pytest.raises(SimexploreError, match="CUPTI_ACTIVITY_KIND_KERNEL"):
            import_profile("nsys", tmp_path / "other.sqlite")
        (tmp_path / "text.sqlite").write_text("no database, but long enough to be read as the header of one, I hope")
        with pytest.raises(SimexploreError, match="SQLite"):
            import_profile("nsys", tmp_path / "text.sqlite")

    def test_a_column_that_must_be_there(self, tmp_path: Path) -> None:
        path = small(tmp_path / "a.sqlite")
        with sqlite3.connect(path) as database:
            database.execute("ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN end")
        with pytest.raises(SimexploreError, match="expected a column 'end'"):
            import_profile("nsys", path)

    def test_an_unfinished_export_is_refused(self, tmp_path: Path) -> None:
        path = small(tmp_path / "a.sqlite")
        Path(f"{path}-journal").write_text("what is not written yet")
        with pytest.raises(SimexploreError, match="expected a finished export"):
            import_profile("nsys", path)

    def test_a_read_only_folder_is_no_obstacle_and_stays_as_it_is(self, tmp_path: Path) -> None:
        path = small(tmp_path / "a.sqlite")
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA journal_mode = WAL")
        database.close()
        for beside in tmp_path.glob("a.sqlite-*"):
            beside.unlink()
        assert len(import_profile("nsys", path).frame) == 2
        assert [one.name for one in tmp_path.iterdir()] == ["a.sqlite"]


@needs_shared
@pytest.mark.parametrize(
    ("name", "rows", "unmatched_us"), [("ok", 50, 0), ("v3", 50, 0), ("null", 50, 0), ("graph", 0, 10_000)]
)
def test_shared_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rows: int, unmatched_us: float
) -> None:
    source = (SHARED / "mk_nsys.py").read_text().splitlines()
    (tmp_path / "mk.py").write_text("\n".join(line for line in source if not line.startswith("make('big")))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("mk.py")
    found = import_profile("nsys", tmp_path / f"{name}.sqlite")
    assert len(found.frame) == rows
    assert found.unmatched_us == unmatched_us


def test_twenty_thousand_kernels_take_seconds(tmp_path: Path) -> None:
    """A twin of the shared `big20k.sqlite`: every kernel in a range of its own, in one process."""
    draw = Random(3)
    count = 20_000
    starts = [20_000 * i for i in range(count)]
    path = exported(
        tmp_path / "big.sqlite",
        [kernel(1, start + 5_000, start + 6_000, i + 1) for i, start in enumerate(starts)],
        [launch(i + 1, start + 500) for i, start in enumerate(starts)],
        [labelled(start, start + 3_000, f"gemm(m={draw.randint(1, 50)},n=8,k=8)") for start in starts],
    )
    begun = perf_counter()
    found = import_profile("nsys", path)
    assert perf_counter() - begun < 20.0
    assert found.matched_us == pytest.approx(count)
