"""What every executor promises: the same table, however points are cut up, and whoever dies."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sweeps import GEMM, write

from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation import executor as executors
from simexplore.sim.explore.evaluation.executor import Chunks, InProcess, Pool, evaluate_all
from simexplore.sim.explore.spec.file import read_spec
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.keeping import environment
from simexplore.sim.keeping.environment import UnfitError


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """896 points over one GEMM."""
    return Sweep(read_spec(write(tmp_path_factory.mktemp("sweep"), GEMM.format(steps=8))))


@pytest.fixture(scope="module")
def table(sweep: Sweep) -> pd.DataFrame:
    return sweep.run()


def test_in_process_by_default(sweep: Sweep, table: pd.DataFrame) -> None:
    assert len(table) == 896
    pd.testing.assert_frame_equal(sweep.run(InProcess()), table)


def test_threads_of_the_callers(sweep: Sweep, table: pd.DataFrame) -> None:
    with ThreadPoolExecutor(2) as threads:
        pd.testing.assert_frame_equal(sweep.run(threads), table)
        assert threads.submit(int, "3").result() == 3, "it is the caller's to close"


class Killer:
    """Kills a worker when the first chunk has been stored."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self.chunks = 0

    def begin(self, store: Store, done: int) -> None:
        """Nothing has been evaluated."""

    def chunk(self, chunk: Chunk) -> None:
        self.chunks += 1
        if self.chunks == 1:
            self._kill()


def test_processes_of_which_one_is_killed(sweep: Sweep, table: pd.DataFrame, tmp_path: Path) -> None:
    pool = executors.processes(2)

    def kill() -> None:
        victim: Any = pool.executor
        os.kill(next(iter(victim._processes)), signal.SIGKILL)

    try:
        found = sweep.run(pool, tmp_path, Killer(kill))
    finally:
        pool.close()
    pd.testing.assert_frame_equal(found, table)


class Mortal(Executor):
    """An executor whose workers die at every so many submissions."""

    def __init__(self, every: int, counter: list[int]) -> None:
        self._every = every
        self._counter = counter

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._counter[0] += 1
        if self._counter[0] % self._every == 0:
            future: Future[Any] = Future()
            future.set_exception(ChildProcessError())
            return future
        return InProcess().submit(fn, *args, **kwargs)


def test_a_death_costs_only_its_chunks(sweep: Sweep, table: pd.DataFrame) -> None:
    counter = [0]
    pool = Pool(lambda: Mortal(3, counter), 2, (ChildProcessError,))
    pd.testing.assert_frame_equal(sweep.run(pool), table)
    assert counter[0] > 5


def test_deaths_without_end_are_told(sweep: Sweep) -> None:
    pool = Pool(lambda: Mortal(1, [0]), 2, (ChildProcessError,))
    with pytest.raises(SimexploreError, match="workers have died 6 times in a row"):
        sweep.run(pool)


class Ill(Executor):
    """An executor whose workers cannot work where they are, at some submissions."""

    def __init__(self, error: Exception, times: int) -> None:
        self._error = error
        self.left = times

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        if self.left < 0:
            return InProcess().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        future.set_exception(self._error)
        return future


ENVIRONMENTS = (
    OSError(28, "No space left on device"),
    MemoryError(),
    ModuleNotFoundError("No module named 'networkx'"),
)


@pytest.mark.parametrize("error", ENVIRONMENTS, ids=lambda error: type(error).__name__)
def test_a_workers_environment_is_no_points_failure(
    sweep: Sweep, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(executors, "CALM_S", 0.0)
    passing = Ill(error, executors.MAX_UNFIT)
    pd.testing.assert_frame_equal(sweep.run(Pool(lambda: passing, 1, ())), table)
    lasting = Ill(error, 10**9)
    with pytest.raises(SimexploreError, match="workers can't evaluate points: ") as caught:
        sweep.run(Pool(lambda: lasting, 1, ()), tmp_path)
    assert type(error).__name__ in str(caught.value)
    assert 10**9 - lasting.left == executors.MAX_UNFIT + 1
    with Store.open(tmp_path) as store:
        assert store.count() == store.failed == 0


def test_a_worker_of_other_code_refuses_its_points(sweep: Sweep) -> None:
    wanted = {**environment.here(), "code": "another"}
    job = pickle.dumps((wanted, pickle.dumps(sweep.spec.problem)))
    with pytest.raises(UnfitError, match=r"the worker on .* has code .*, and this command has another"):
        executors.evaluate_chunk(job, 0, np.zeros((1, 3)))


def test_a_bug_is_not_taken_for_a_death(sweep: Sweep) -> None:
    def points(first: int, stop: int) -> Any:
        return np.zeros((stop - first, 1))  # the sweep has three axes

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(evaluate_all(executors.in_process(), sweep.spec.problem, [(0, 100)], points))


def test_chunks_cover_their_ranges_once_and_follow_the_cost() -> None:
    chunks = Chunks([(0, 1000), (2000, 9000)], slots=2)
    lost = chunks.take()
    assert lost is not None
    chunks.give_back(*lost)
    taken = []
    while (chunk := chunks.take()) is not None:
        taken.append(chunk)
        chunks.learn(chunk[1] - chunk[0], (chunk[1] - chunk[0]) * 1e-3)
    covered = sorted(point for first, stop in taken for point in range(first, stop))
    assert covered == [*range(1000), *range(2000, 9000)]
    sizes = [stop - first for first, stop in taken]
    assert sizes[0] == executors.FIRST_POINTS
    assert max(sizes) == int(executors.CHUNK_S / 1e-3)
    assert sizes[-2] <= int(executors.LAST_S / 1e-3), "workers end together"
    slow = Chunks([(0, 1000)], slots=1, point_s=10.0)
    assert slow.take() == (0, 1)


def test_one_process_has_no_one_to_end_together_with() -> None:
    chunks = Chunks([(0, 700)], slots=1, point_s=executors.CHUNK_S / 300)
    assert executors.GROWTH * executors.FIRST_POINTS == 256
    assert [chunks.take() for _ in range(4)] == [(0, 256), (256, 556), (556, 700), None]


def test_what_first_points_pay_for_is_not_expected_of_later_ones() -> None:
    chunks = Chunks([(0, 10**6)], slots=2)
    chunks.learn(64, 64 * 5e-3)
    chunks.learn(64, 64 * 1e-3)
    assert chunks.point_s == 1e-3
    chunks.learn(64, 64 * 3e-3)
    assert chunks.point_s == 2e-3


def test_points_that_fail_at_once_make_no_chunk_that_takes_for_ever() -> None:
    chunks = Chunks([(0, 10**6)], slots=1)
    sizes = []
    for _ in range(3):
        first, stop = chunks.take() or (0, 0)
        sizes.append(stop - first)
        chunks.learn(stop - first, 1e-9)
    assert sizes == [executors.FIRST_POINTS * executors.GROWTH**power for power in range(3)]


def test_workers_are_sent_what_the_file_says_and_no_machine(sweep: Sweep) -> None:
    problem = sweep.spec.problem
    before = pickle.dumps(problem)
    assert problem.machine.model_dump()
    assert problem.columns
    assert pickle.dumps(problem) == before
    assert pickle.loads(before).objectives == problem.objectives


def test_workers_belong_to_one_thread_each(sweep: Sweep) -> None:
    seen = set()

    def use() -> None:
        seen.add(id(executors._evaluator(executors.job_of(sweep.spec.problem), threading.get_ident())))

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    use()
    for thread in threads:
        thread.join()
    assert len(seen) >= 2
