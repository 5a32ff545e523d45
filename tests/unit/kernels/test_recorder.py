"""Rows that survive being killed: whole or not there, and never twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_backend import FakeBackend, FakeSession

from simexplore.errors import SimexploreError
from simexplore.kernels import suites
from simexplore.kernels.backend.case import Case
from simexplore.kernels.measuring import measure_suite
from simexplore.kernels.recorder import Recorder


def about(**changes: Any) -> dict[str, Any]:
    return {"backend": "fake", "device": "d", "suite": "s", "seed": 0, "run": {"date": "today"}} | changes


def test_rows_are_on_disk_at_once_and_columns_grow(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    recorder = Recorder(file, about())
    recorder.add({"case": "a", "m": 1})
    assert file.read_text() == "case,m\na,1\n"
    recorder.add({"case": "b", "m": 2})
    recorder.add({"case": "c, d", "rows": 3, "time_us": 0.123456789})
    assert file.read_text() == 'case,m,rows,time_us\na,1,,\nb,2,,\n"c, d",,3,0.123457\n'
    assert set(Recorder(file, about()).rows) == {"a", "b", "c, d"}


def test_a_torn_last_line_is_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    Recorder(file, about()).add({"case": "a", "m": 1})
    file.write_text(file.read_text() + "b,")
    recorder = Recorder(file, about())
    assert set(recorder.rows) == {"a"}
    recorder.add({"case": "b", "m": 2})
    assert file.read_text() == "case,m\na,1\nb,2\n"


def test_a_row_of_a_case_that_has_one_replaces_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    recorder = Recorder(file, about())
    for case in ("a", "b"):
        recorder.add({"case": case, "time_us": 2.0, "rounds": 1})
    recorder.add({"case": "a", "time_us": 1.5, "rounds": 2, "slowest_us": 2.0})
    recorder.add({"case": "b", "rounds": 2})
    assert file.read_text() == "case,time_us,rounds,slowest_us\na,1.5,2,2\nb,2,2,\n"
    assert Recorder(file, about()).rows["a"]["time_us"] == "1.5"


def test_the_sidecar_tells_every_run(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    Recorder(file, about()).add({"case": "a"})
    Recorder(file, about(run={"date": "tomorrow"})).finish(measured=0)
    sidecar = json.loads((tmp_path / "rows.csv.json").read_text())
    assert sidecar["runs"] == [{"date": "today"}, {"date": "tomorrow", "measured": 0}]
    assert sidecar["device"] == "d"


@pytest.mark.parametrize(("name", "other"), [("device", "e"), ("suite", "t"), ("seed", 1), ("backend", "x")])
def test_rows_of_another_run_are_not_mixed_in(tmp_path: Path, name: str, other: object) -> None:
    file = tmp_path / "rows.csv"
    Recorder(file, about()).add({"case": "a"})
    with pytest.raises(SimexploreError, match=f"rows of {name} .*choose another -o, or delete the file"):
        Recorder(file, about(**{name: other}))


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("source,op\nx,gemm\n")
    with pytest.raises(SimexploreError, match="has not written; choose another -o"):
        Recorder(foreign, about())
    assert foreign.read_text() == "source,op\nx,gemm\n"
    with pytest.raises(SimexploreError, match=r"ends in \.csv, found '\.txt'"):
        Recorder(tmp_path / "rows.txt", about())
    alone = tmp_path / "alone.csv"
    alone.write_text("case\na\n")
    with pytest.raises(SimexploreError, match=r"alone\.csv\.json: expected the sidecar"):
        Recorder(alone, about())


def cases(device: Any, seed: int) -> list[Case]:
    sizes = (10, 20, 30)
    fp16 = Case("copy", {"elements": 10, "dtype": "fp16"}, "k", requires=frozenset({"fp16"}))
    return [fp16, *(Case("copy", {"elements": size, "dtype": "fp32"}, "k") for size in sizes)]


def test_an_interrupted_suite_is_completed_without_losing_or_doubling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "SUITES", {("fake", "three"): f"{__name__}:cases"})
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("types").SimpleNamespace(cases=cases))
    file = tmp_path / "rows.csv"

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        measure_suite(FakeBackend(FakeSession()), "three", file, progress=stop)
    assert len(pd.read_csv(file)) == 2
    outcome = measure_suite(FakeBackend(FakeSession()), "three", file)
    assert (outcome.measured, outcome.already_done) == (1, 2)
    assert outcome.left_out == {"a fake device has no fp16": 1}
    assert pd.read_csv(file)["elements"].tolist() == [10, 20, 30]
