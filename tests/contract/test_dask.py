"""Sweeps on a Dask cluster: one table, whatever lies on the workers' disks; else a refusal in one line."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from clusters import copy_of_the_code, scheduler, when_all_are_there, workers
from sweeps import GEMM, write

from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation import dask
from simexplore.sim.explore.evaluation.dask import on_dask
from simexplore.sim.explore.spec.file import read_spec
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.study import Sweep

pytest.importorskip("distributed")


OWN_FILES = """\
arch: mine.yaml
workload: work.yaml
parameters:
  dram.bandwidth: {from: 2.4 TB/s, to: 9.6 TB/s, steps: 300}
  clock.boost: [1.5 GHz, 1.8 GHz]
  library.gemm.tensor.instruction: [mma_sync, wgmma]
"""
"""1,200 points; a library's fields make machines of their own, which are made of the files' data."""


class AtFirst:
    """Does something when the first chunk has been stored."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self.chunks = 0

    def begin(self, store: Store, done: int) -> None:
        """Nothing has been evaluated."""

    def chunk(self, chunk: Chunk) -> None:
        self.chunks += 1
        if self.chunks == 1:
            self._act()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with two workers that live as long as the module."""
    with scheduler() as (found, _), workers(found, 2):
        when_all_are_there(found, 2).close()
        yield found


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """896 points over one GEMM."""
    return Sweep(read_spec(write(tmp_path_factory.mktemp("sweep"), GEMM.format(steps=8)))).run()


def test_a_worker_that_is_killed_costs_its_chunks(address: str, table: pd.DataFrame, tmp_path: Path) -> None:
    sweep = Sweep(read_spec(write(tmp_path, GEMM.format(steps=8))))
    with workers(address, 1) as (victim,):
        pool = when_all_are_there(address, 3)
        try:
            found = sweep.run(pool, tmp_path, AtFirst(victim.kill))
        finally:
            pool.close()
        assert victim.wait() == -signal.SIGKILL
    pd.testing.assert_frame_equal(found, table)


@pytest.mark.parametrize("change", ["another", "invalid", "missing"])
def test_files_are_read_once_and_sent(address: str, tmp_path: Path, change: str) -> None:
    """The machine, its parent and the workload's file; workers read none of them."""
    files = {
        "parent.yaml": ("extends: nvidia/h200-sxm\nl2: {capacity: 60 MiB}\n", "extends: nvidia/h200-sxm\n"),
        "mine.yaml": ("extends: parent.yaml\nsm: {count: 100}\n", "extends: nvidia/t4\n"),
        "work.yaml": ("- {name: a, op: 'gemm(m=1024,n=4096,k=4096)'}\n", "- {name: a, op: 'gelu(elements=9)'}\n"),
    }
    for name, (text, _) in files.items():
        (tmp_path / name).write_text(text)
    path = write(tmp_path, OWN_FILES)
    expected = Sweep(read_spec(path)).run()
    sweep = Sweep(read_spec(path))
    for name, (_, other) in files.items():
        if change == "missing":
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_text(other if change == "another" else "sm: {count: -1}\n: [")
    pool = on_dask(address)
    try:
        found = sweep.run(pool, tmp_path / "out")
    finally:
        pool.close()
    pd.testing.assert_frame_equal(found, expected)
    with Store.open(tmp_path / "out") as store:
        assert store.failed == 0


def _other_physics(package: Path) -> None:
    file = package / "sim" / "hardware" / "timing.py"
    file.write_text(file.read_text() + "\nCHANGED = 1\n")


def _before_this_check(package: Path) -> None:
    (package / "sim" / "keeping" / "environment.py").unlink()


def _broken(package: Path) -> None:
    (package / "sim" / "demand.py").write_text("def (")


@pytest.mark.parametrize("change", [_other_physics, _before_this_check, _broken])
def test_workers_with_other_code_are_refused(
    tmp_path: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "ANSWER_S", 4.0)
    change(copy_of_the_code(tmp_path))
    with scheduler() as (address, _), workers(address, 1, tmp_path):
        started = time.monotonic()
        with pytest.raises(SimexploreError, match=r"expected workers at .* with what this command has") as caught:
            when_all_are_there(address, 1)
        assert time.monotonic() - started < 60.0
    assert "install the same there" in str(caught.value)


def test_a_worker_with_other_code_that_comes_later(tmp_path: Path) -> None:
    """It was not asked, so it refuses its chunks itself; they are tried again, and not for ever."""
    _other_physics(copy_of_the_code(tmp_path / "code"))
    sweep = Sweep(read_spec(write(tmp_path, GEMM.format(steps=8))))
    with scheduler() as (address, _), workers(address, 1) as (first,):
        pool = when_all_are_there(address, 1)
        try:
            with workers(address, 1, tmp_path / "code"):
                first.kill()
                with pytest.raises(SimexploreError, match=r"workers can't evaluate points: the worker on .* has code"):
                    sweep.run(pool, tmp_path / "out")
        finally:
            pool.close()
    with Store.open(tmp_path / "out") as store:
        assert store.failed == 0, "it is no point's failure"


def test_a_scheduler_that_dies(tmp_path: Path) -> None:
    sweep = Sweep(read_spec(write(tmp_path, GEMM.format(steps=40))))
    with scheduler() as (address, process), workers(address, 1):
        pool = when_all_are_there(address, 1)
        try:
            with pytest.raises(SimexploreError, match="has gone: what is stored is kept"):
                sweep.run(pool, tmp_path / "out", AtFirst(process.kill))
        finally:
            pool.close()
    with Store.open(tmp_path / "out") as store:
        assert 0 < store.count() < store.planned


def test_workers_that_all_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "WORKERS_S", 1.0)
    sweep = Sweep(read_spec(write(tmp_path, GEMM.format(steps=40))))
    with scheduler() as (address, _), workers(address, 1) as (worker,):
        pool = when_all_are_there(address, 1)
        try:
            with pytest.raises(SimexploreError, match="has had no workers for 1 s: what is stored is kept"):
                sweep.run(pool, tmp_path / "out", AtFirst(worker.kill))
        finally:
            pool.close()


def test_a_scheduler_that_is_not_there() -> None:
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "tcp://127.0.0.1", "tcp://127.0.0.1:x", ""):
        with pytest.raises(SimexploreError, match=f"expected a Dask scheduler at {address}"):
            on_dask(address)


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_a_port_of_something_else(monkeypatch: pytest.MonkeyPatch, greeting: bytes) -> None:
    """It is mute, or speaks another language."""
    monkeypatch.setattr(dask, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(greeting)
            held.append(connection)

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(SimexploreError, match=f"expected a Dask scheduler at tcp://127.0.0.1:{port}, found: "):
            on_dask(f"tcp://127.0.0.1:{port}")
        assert time.monotonic() - started < 5.0
        for connection in held:
            connection.close()
