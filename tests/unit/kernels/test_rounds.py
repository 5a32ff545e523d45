"""Rounds on a CPU that others share: slow moments leave no mark on the rows, and what stays slow is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from fake_backend import FakeBackend, FakePrepared, FakeSession

from simexplore.kernels import pace, suites
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.backend.session import Sample
from simexplore.kernels.measuring import measure_suite, out_of_step, reference_s
from simexplore.kernels.runner import Effort, Measured, measure

CPU = Device("fake", 0, "a CPU", "CPU", "none")
SIZES = (1000, 2000, 3000)
CASES = [Case("copy", {"elements": size, "dtype": "fp32"}, "elementwise") for size in SIZES]
REFERENCE = Case("add", {"elements": 500, "dtype": "fp32"}, "elementwise")
BRIEF = Effort(warmup=1, min_samples=6, max_samples=6)


class SharedPrepared(FakePrepared):
    def sample(self, launches: int) -> Sample:
        assert isinstance(self.session, SharedCpu)
        self.session.order.append(self.case)
        return Sample(self.case.count("elements") * 1e-6 * self.session.slowdown(len(self.session.order)))


class SharedCpu(FakeSession):
    """A kernel takes a microsecond an element, times what others leave it at the moment; moments are samples."""

    def __init__(self, slowdown: Callable[[int], float]) -> None:
        super().__init__(device=CPU)
        self.slowdown, self.order = slowdown, list[Case]()

    def prepare(self, case: Case) -> SharedPrepared:
        return SharedPrepared(self, case)


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "REFERENCES", {"fake": f"{__name__}:drawn_reference"})
    monkeypatch.setattr(suites, "SUITES", {("fake", "three"): f"{__name__}:drawn"})
    here = SimpleNamespace(drawn_reference=lambda device: REFERENCE, drawn=lambda device, seed: CASES)
    monkeypatch.setitem(sys.modules, __name__, here)


def rows_of(session: SharedCpu, **arguments: Any) -> tuple[dict[int, float], list[Measured], Any]:
    """Time of the kept row by elements, all outcomes, and what the run says."""
    outcomes: list[Measured] = []
    outcome = measure(session, CASES, outcomes.append, effort=BRIEF, **arguments)
    kept = {o.case.count("elements"): o.timing.time_s for o in outcomes if o.kept}
    return kept, outcomes, outcome


def test_cases_are_gone_through_in_turns_and_not_back_to_back() -> None:
    _, outcomes, outcome = rows_of(SharedCpu(lambda moment: 1.0))
    assert [o.case.count("elements") for o in outcomes] == 3 * list(SIZES)
    assert outcome.measured == 3
    assert outcome.pace["slow"] == []
    assert outcome.pace["best_us"] == outcome.pace["worst_us"] == 500.0


def test_a_slow_minute_leaves_no_mark() -> None:
    """The machine runs at half its speed while the first round goes through the last two cases."""
    kept, outcomes, outcome = rows_of(SharedCpu(lambda moment: 2.0 if 20 <= moment < 40 else 1.0))
    assert kept == {size: pytest.approx(size * 1e-6) for size in SIZES}
    assert outcome.pace["worst_us"] == 2.0 * outcome.pace["best_us"]
    last = {o.case.count("elements"): o.known for o in outcomes}
    assert last[3000].slowest_s == pytest.approx(2 * 3000e-6)
    assert outcome.pace["slow"] == []


def test_what_was_slow_in_all_rounds_is_measured_again() -> None:
    """Two thirds of the machine are gone until the rounds end; its first moments told how fast it can be."""
    normal = SharedCpu(lambda moment: 1.0)
    rows_of(normal)
    end = len(normal.order)
    kept, outcomes, outcome = rows_of(SharedCpu(lambda moment: 3.0 if 6 < moment <= end else 1.0))
    assert kept == {size: pytest.approx(size * 1e-6) for size in SIZES}
    assert len(outcomes) > 3 * 3
    assert outcome.pace["slow"] == []


def test_a_machine_that_stays_slow_is_told() -> None:
    kept, outcomes, outcome = rows_of(SharedCpu(lambda moment: 3.0 if moment > 6 else 1.0))
    assert kept[1000] == pytest.approx(3e-3)
    assert outcome.pace["slow"] == [case.key for case in CASES]
    assert len(outcomes) == 3 * (3 + 2), "three rounds and two more, then it ends"


def test_a_gpu_needs_one_round() -> None:
    outcomes: list[Measured] = []
    outcome = measure(FakeSession(), CASES, outcomes.append, effort=BRIEF)
    assert len(outcomes) == 3
    assert outcome.pace == {}
    assert "rounds" not in outcomes[0].row("s", "d")


def test_an_interrupted_run_goes_on_in_its_round(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 9
        if done == 4:
            raise StopError

    with pytest.raises(StopError):
        measure_suite(FakeBackend(SharedCpu(lambda moment: 2.0)), "three", file, effort=BRIEF, progress=stop)
    assert pd.read_csv(file)["rounds"].tolist() == [2, 1, 1]
    fast = SharedCpu(lambda moment: 1.0)
    outcome = measure_suite(FakeBackend(fast), "three", file, effort=BRIEF)
    assert (outcome.measured, outcome.already_done) == (0, 3)
    table = pd.read_csv(file)
    assert table["elements"].tolist() == list(SIZES)
    assert table["rounds"].tolist() == [3, 3, 3]
    assert table["time_us"].tolist() == pytest.approx(list(SIZES))
    assert table["slowest_us"].tolist() == pytest.approx([2 * size for size in SIZES])
    again = SharedCpu(lambda moment: 1.0)
    measure_suite(FakeBackend(again), "three", file, effort=BRIEF)
    assert {case.key for case in again.order} <= {REFERENCE.key}, "nothing is measured twice"
    last = json.loads((tmp_path / "rows.csv.json").read_text())["runs"][1]
    assert last["effort"]["rounds"] == 3
    assert last["pace"]["reference"] == REFERENCE.key


def test_a_budget_that_ends_early_keeps_what_there_is() -> None:
    kept, outcomes, outcome = rows_of(SharedCpu(lambda moment: 1.0), budget_s=-1.0)
    assert (kept, outcomes) == ({}, [])
    assert outcome.left_out == {"the time budget ended": 3}


def test_tables_measured_at_another_pace_are_told(tmp_path: Path) -> None:
    for name, slowdown in (("calm", 1.0), ("busy", 1.5), ("calm too", 1.1)):
        measure_suite(
            FakeBackend(SharedCpu(lambda moment, by=slowdown: by)), "three", tmp_path / f"{name}.csv", effort=BRIEF
        )  # type: ignore[misc]
    assert reference_s(tmp_path / "busy.csv") == pytest.approx(750e-6)
    assert reference_s(tmp_path / "nothing.csv") is None
    assert out_of_step(tmp_path / "busy.csv") == {"calm.csv": 1.5, "calm too.csv": pytest.approx(1.5 / 1.1)}
    assert out_of_step(tmp_path / "calm.csv") == {"busy.csv": pytest.approx(1 / 1.5)}
    (tmp_path / "foreign.csv").write_text("case\n")
    (tmp_path / "busy.csv").unlink()
    assert out_of_step(tmp_path / "calm.csv") == {}


def test_the_command_says_when_paces_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from simexplore.cli.measured.measure import note_pace

    for name, slowdown in (("a", 1.0), ("b", 2.0)):
        session = SharedCpu(lambda moment, by=slowdown: by)  # type: ignore[misc]
        outcome = measure_suite(FakeBackend(session), "three", tmp_path / f"{name}.csv", effort=BRIEF)
    note_pace(tmp_path / "b.csv", outcome)
    assert "2.0 times slower than when a.csv was measured" in capsys.readouterr().err
