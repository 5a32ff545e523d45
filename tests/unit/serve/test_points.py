"""Results in a folder: what is done stays, whatever ends the process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from simexplore.errors import SimexploreError
from simexplore.sim.serve.points import Points, fill

POINTS = 60


def make(number: int) -> dict[str, object]:
    time.sleep(0.002)
    return {"number": number, "text": "x" * 5000}


def run(folder: Path) -> list[dict[str, object]]:
    return list(fill(Points(folder, {"rate": 3}), POINTS, make))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")
def test_twenty_kills_lose_nothing_that_was_done(tmp_path: Path) -> None:
    """A process is killed again and again; what its last life had kept, the next finds as it was."""
    kept = 0
    for life in range(20):
        child = os.fork()
        if not child:
            run(tmp_path)
            os._exit(0)
        time.sleep(0.004 + 0.0011 * life)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        files = sorted((tmp_path / "points").glob("[0-9]*.json")) if tmp_path.exists() else []
        assert len(files) >= kept
        kept = len(files)
    assert kept > 0
    counted: list[int] = []
    points = Points(tmp_path, {"rate": 3})
    told = list(fill(points, POINTS, lambda number: (counted.append(number), make(number))[1]))
    assert told == [make(number) for number in range(POINTS)]
    assert counted == list(range(kept, POINTS))


def test_a_folder_holds_the_answers_to_one_question(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(SimexploreError, match="results of the same question"):
        Points(tmp_path, {"rate": 4})


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first = fill(Points(tmp_path, {}), 2, make)
    next(first)
    with pytest.raises(SimexploreError, match="is writing to this folder"):
        next(fill(Points(tmp_path, {}), 2, make))
    assert len(list(first)) == 1


def test_what_is_no_result_is_told(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "points" / "00001.json").write_text("{")
    with pytest.raises(SimexploreError, match="expected a result"):
        run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SimexploreError, match="can't be kept there"):
        Points(tmp_path / "file", {})


def test_without_a_folder_nothing_is_kept() -> None:
    assert [point["number"] for point in fill(None, 3, make)] == [0, 1, 2]
