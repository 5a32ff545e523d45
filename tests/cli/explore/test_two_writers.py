"""Two commands on one folder: one of them writes, whoever is killed, and every point is there once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from sweeps import GEMM, race, start, stored, wait_for, write

from simexplore.sim.explore.spec.file import read_spec
from simexplore.sim.explore.storage import database
from simexplore.sim.explore.store import FILE, Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.keeping.folder import LOCK, FolderLock

ONE = ("--jobs", "1")
PAIRS = 3


def test_pairs_with_kills_end_with_the_same_bytes(command: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write(tmp_path, GEMM.format(steps=12))
    command("sweep", path, "-o", tmp_path / "whole", *ONE)
    expected = (tmp_path / "whole" / "results.parquet").read_bytes()
    codes = []
    for seed in range(PAIRS):
        out = tmp_path / str(seed)
        codes += race(path, out, seed, longest_s=2.0)
        assert (out / "results.parquet").read_bytes() == expected
        assert stored(out) == 14 * 12**2
    assert -signal.SIGKILL in codes


def test_the_second_is_refused_until_the_first_is_dead(fails: Callable[..., str], tmp_path: Path) -> None:
    path, out = write(tmp_path, GEMM.format(steps=60)), tmp_path / "out"
    first = start(path, out)
    wait_for(out, 1, first)
    said = fails("sweep", path, "-o", out, *ONE)
    assert f"process {first.pid} on" in said
    assert "is writing to this folder: wait for it, or choose another folder with -o" in said
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    with Store.create(out, Sweep(read_spec(path)).header) as store:
        assert 0 < store.count() < store.planned


def test_the_lock_goes_with_its_process_not_with_its_file(tmp_path: Path) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from simexplore.sim.keeping.folder import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(Exception, match=f"process {process.pid} on"):
        FolderLock(tmp_path)
    process.kill()
    process.communicate()
    assert (tmp_path / LOCK).is_file()
    lock = FolderLock(tmp_path)
    with pytest.raises(Exception, match=f"process {os.getpid()} on"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_a_write_lock_that_is_held_too_long_is_one_line(
    command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another program, such as a database browser: sweeps lock the folder."""
    monkeypatch.setattr(database, "BUSY_S", 0.2)
    path = write(tmp_path, GEMM.format(steps=2))
    with Store.create(tmp_path / "out", Sweep(read_spec(path)).header):
        pass
    browser = sqlite3.connect(tmp_path / "out" / FILE, isolation_level=None)
    browser.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert "another process has held the store's lock for 0 s" in fails("sweep", path, "-o", tmp_path / "out", *ONE)
    assert time.monotonic() - started < 20.0
    browser.close()
    assert command("sweep", path, "-o", tmp_path / "out", *ONE).exit_code == 0
