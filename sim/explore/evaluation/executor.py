"""Where chunks of points are evaluated: in this process, in processes of this machine, or on a Dask cluster.

All are `concurrent.futures.Executor`s. A chunk's size follows from what points have cost so far; a worker that dies
costs the time of the chunks that it had.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import suppress
from functools import lru_cache
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.store import Chunk
from simexplore.sim.explore.table import FloatArray
from simexplore.sim.keeping import environment
from simexplore.sim.keeping.environment import UnfitError

FIRST_POINTS = 64
GROWTH = 4
"""A chunk has at most so many times the points of those before: the first ones may be cheaper than the rest."""
MAX_POINTS = 1 << 16
CHUNK_S = 0.75
"""What a chunk is meant to take: what is lost when a worker dies, and how often progress is seen."""
LAST_S = 0.05
"""What the last chunks take at least: workers end within that time of each other."""
MAX_DEATHS = 5
"""Workers that may die in a row before the sweep gives up."""
MAX_UNFIT = 3
"""Times in a row that workers may be unable to work before the sweep gives up."""
CALM_S = 0.5
"""How long to wait before what a worker could not do is tried again."""
LOOK_S = 2.0
"""How often to look whether workers are still there, while none of them has answered."""
_ENVIRONMENT = (UnfitError, ImportError, OSError, MemoryError)
"""What a worker raises that cannot work where it is: no point's failure, and no bug."""


class InProcess(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future holds whatever its function raises
            future.set_exception(error)
        return future


class Pool:
    """An executor that can be made anew when its workers have died."""

    def __init__(self, make: Callable[[], Executor], slots: int, lost: tuple[type[BaseException], ...]) -> None:
        """A pool of `slots` workers; `lost` are the errors that say that a worker has died."""
        self.slots = slots
        self.lost = lost
        self._make = make
        self._executor: Executor | None = None

    @property
    def executor(self) -> Executor:
        """The executor, made when it is first needed. Raises SimexploreError where the system has no room for it."""
        if self._executor is None:
            try:
                self._executor = self._make()
            except OSError as error:
                raise SimexploreError(f"workers can't be started: {error.strerror or error}") from None
        return self._executor

    def start(self) -> None:
        """Let workers come up while the caller does something else; they need not be waited for."""

    def look(self) -> None:
        """Raise SimexploreError where no worker can answer any more."""

    def renew(self) -> None:
        """Give up the executor; the next use makes another."""
        self.close()

    def close(self) -> None:
        """Let the workers go; what waits is not begun."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


def in_process() -> Pool:
    """This process alone."""
    return Pool(InProcess, 1, ())


def processes(jobs: int) -> Pool:
    """Processes of this machine."""
    context = multiprocessing.get_context("spawn")
    return _Workers(lambda: _Processes(jobs, mp_context=context, initializer=_start_worker), jobs, (BrokenExecutor,))


class _Workers(Pool):
    def start(self) -> None:
        with suppress(*self.lost, OSError):  # a worker that dies is missed when it is given points
            for _ in range(self.slots):
                self.executor.submit(os.getpid)


class _Processes(ProcessPoolExecutor):
    """Processes that Ctrl-C never reaches, from their first moment: those that submitting makes inherit the mask."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(fn, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a Ctrl-C meanwhile arrives now


def on_executor(executor: Executor) -> Pool:
    """An executor of the caller's, which is not closed here."""
    slots = getattr(executor, "_max_workers", 1)
    return _Given(lambda: executor, slots, (BrokenExecutor,))


class _Given(Pool):
    def renew(self) -> None:
        raise SimexploreError("a worker of the executor has died and it takes no more work: run the same sweep again")

    def close(self) -> None:
        """It is the caller's."""


def _start_worker() -> None:
    """A worker leaves Ctrl-C to its parent, and ends when its parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_outlive_no_parent, args=(parent,), daemon=True).start()


def _outlive_no_parent(parent: Any) -> None:
    parent.join()
    os._exit(1)


def job_of(problem: Problem) -> bytes:
    """A problem as workers get it, with what they must be to give this process's results."""
    return pickle.dumps((environment.here(), pickle.dumps(problem)))


def evaluate_chunk(job: bytes, first: int, u: FloatArray) -> tuple[Chunk, float]:
    """What a worker does: a chunk of a `job_of` a problem's points, and the seconds that it took.

    Raises:
        UnfitError: the worker's code is another.
    """
    started = time.perf_counter()
    chunk = _evaluator(job, threading.get_ident()).evaluate(first, u).pack()
    return chunk, time.perf_counter() - started


@lru_cache(maxsize=4)
def _evaluator(job: bytes, thread: int) -> Evaluator:  # noqa: ARG001 - an evaluator belongs to one thread
    """Machines and workloads are made once in a worker."""
    wanted, problem = pickle.loads(job)
    environment.check_same(wanted)
    return Evaluator(pickle.loads(problem))


class Chunks:
    """Cuts ranges of points into chunks of `CHUNK_S` seconds, by what the points before have cost."""

    def __init__(
        self, ranges: Iterable[tuple[int, int]], slots: int, point_s: float | None = None, together: int | None = None
    ) -> None:
        """All is left to do.

        Args:
            ranges: of points, (first, behind the last).
            slots: workers.
            point_s: what a point costs, as far as it is known [s].
            together: points in a row that share what is dear, so that chunks are multiples of as many; None: any.
        """
        self._ranges = deque(ranges)
        self._slots = slots
        self._left = sum(stop - first for first, stop in self._ranges)
        self._first, self._together = min(together or FIRST_POINTS, FIRST_POINTS), together or 1
        self._largest = self._first
        self.point_s = point_s
        """What a point costs, as far as it is known [s]."""

    def learn(self, points: int, seconds: float) -> None:
        """A chunk has been evaluated. What is cheaper counts at once: first chunks pay for what later ones remember."""
        measured = seconds / points
        self.point_s = measured if self.point_s is None else min(measured, 0.5 * (self.point_s + measured))

    def take(self) -> tuple[int, int] | None:
        """The next chunk (first, behind the last); None when none is left."""
        if not self._ranges:
            return None
        size = self._first if self.point_s is None else min(self._points_in(CHUNK_S), GROWTH * self._largest)
        if self._slots > 1:  # the last chunks are smaller, so that workers end together
            least = 1 if self.point_s is None else self._points_in(LAST_S)
            size = min(size, max(math.ceil(self._left / (2 * self._slots)), least))
        if self._together <= FIRST_POINTS:
            size = max(size // self._together, 1) * self._together
        self._largest = max(size, self._largest)
        first, stop = self._ranges.popleft()
        if stop - first > size:
            self._ranges.appendleft((first + size, stop))
            stop = first + size
        self._left -= stop - first
        return first, stop

    def _points_in(self, seconds: float) -> int:
        assert self.point_s is not None
        return min(max(int(seconds / max(self.point_s, 1e-9)), 1), MAX_POINTS)

    def give_back(self, first: int, stop: int) -> None:
        """A chunk was lost."""
        self._ranges.appendleft((first, stop))
        self._left += stop - first


def evaluate_all(
    pool: Pool, problem: Problem, ranges: Iterable[tuple[int, int]], points: Callable[[int, int], FloatArray],
    point_s: float | None = None,
) -> Iterator[tuple[Chunk, float]]:  # fmt: skip
    """Chunks of the points of all ranges as they are done, in any order, each with what it cost a worker [s].

    Args:
        pool: where.
        problem: what.
        ranges: (first, behind the last) point of each range.
        points: coordinates of first … stop - 1.
        point_s: what a point costs, where that is known from before [s].

    Raises:
        SimexploreError: workers die, or cannot work, again and again.
    """
    job = job_of(problem)
    chunks = Chunks(ranges, pool.slots, point_s, problem.together)
    running: dict[Future[Any], tuple[int, int]] = {}
    deaths = unfit = 0
    try:
        while True:
            while len(running) < pool.slots * 2 - (pool.slots == 1) and (chunk := chunks.take()):
                running[_submit(pool, job, chunk, points)] = chunk
            if not running:
                return
            lost = []
            for future in _answered(pool, running):
                first, stop = running.pop(future)
                try:
                    done, seconds = future.result()
                except pool.lost:
                    lost.append((first, stop))
                    continue
                except _ENVIRONMENT as error:
                    unfit += 1
                    _try_again(error, unfit)
                    chunks.give_back(first, stop)
                    continue
                deaths = unfit = 0
                chunks.learn(stop - first, seconds)
                yield done, seconds
            if lost:
                deaths += 1
                _recover(pool, chunks, lost, running, deaths)
    finally:
        for future in running:
            future.cancel()


def _answered(pool: Pool, running: Iterable[Future[Any]]) -> set[Future[Any]]:
    """Futures that are done, at least one."""
    while True:
        done = wait(running, timeout=LOOK_S, return_when=FIRST_COMPLETED).done
        if done:
            return done
        pool.look()


def _try_again(error: BaseException, times: int) -> None:
    """Wait, where a worker could not work.

    Raises:
        SimexploreError: it has happened too often in a row.
    """
    if times > MAX_UNFIT:
        said = str(error) if isinstance(error, UnfitError) else f"{type(error).__name__}: {error}"
        raise SimexploreError(
            f"workers can't evaluate points: {' '.join(said.split())}; "
            "what is stored is kept, and the same command goes on from there"
        )
    time.sleep(CALM_S)


def _submit(pool: Pool, job: bytes, chunk: tuple[int, int], points: Callable[[int, int], FloatArray]) -> Future[Any]:
    lost: tuple[type[BaseException], ...] = (*pool.lost, OSError)
    try:
        return pool.executor.submit(evaluate_chunk, job, chunk[0], points(*chunk))
    except lost as error:
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed


def _recover(
    pool: Pool, chunks: Chunks, lost: list[tuple[int, int]], running: dict[Future[Any], tuple[int, int]], deaths: int
) -> None:
    """Put lost chunks back, with those that wait in an executor that is given up."""
    if deaths > MAX_DEATHS:
        raise SimexploreError(
            f"workers have died {deaths} times in a row, perhaps for want of memory: try fewer with --jobs"
        )
    before = pool.executor
    pool.renew()
    if pool.executor is not before:
        lost += [chunk for future, chunk in running.items() if not future.done() or future.exception() is not None]
        for future in [future for future, chunk in running.items() if chunk in lost]:
            del running[future]
    for first, stop in sorted(lost, reverse=True):
        chunks.give_back(first, stop)
