"""A sweep from its file to its table: points are asked for, evaluated and kept, from where an earlier run stopped."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from simexplore.sim.estimate.op_run import html_table
from simexplore.sim.explore.evaluation import executor as executors
from simexplore.sim.explore.evaluation.executor import FIRST_POINTS, Pool, evaluate_all
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.evaluation.work import Workload
from simexplore.sim.explore.sampler import BATCH, LIBRARIES, SEARCHES, Results, Sampler, make_sampler, population
from simexplore.sim.explore.spec.file import Options, Spec, read_spec
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.spec.serving import KEY
from simexplore.sim.explore.storage.header import Header
from simexplore.sim.explore.store import Chunk, Store, gaps
from simexplore.sim.explore.table import FloatArray
from simexplore.sim.explore.verdict.basis import KEY as VERDICT
from simexplore.sim.explore.verdict.basis import basis_of
from simexplore.sim.keeping import environment

TRIED_S = 0.3
"""A dry run evaluates more and more points until some take so long, to learn what one costs."""


class Listener(Protocol):
    """Is told how a sweep goes."""

    def begin(self, store: Store, done: int) -> None:
        """The sweep begins, or goes on with `done` points of an earlier run."""

    def chunk(self, chunk: Chunk) -> None:
        """A chunk has been stored."""


@dataclass(frozen=True)
class Forecast:
    """What a sweep will take."""

    points: int
    point_s: float
    """Time of a point on one core [s]."""
    searches: bool
    """Whether points depend on results: choosing them takes time of its own."""

    def time_s(self, jobs: int) -> float:
        """Time of the whole on so many cores [s]."""
        return self.points * self.point_s / jobs


class Sweep:
    """A sweep over machines and workloads.

    >>> table = Sweep.from_yaml("examples/hopper-memory.yaml").run()
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    @classmethod
    def from_yaml(cls, path: str | Path, options: Options | None = None) -> Sweep:
        """A sweep from its file.

        Raises:
            SimexploreError: in one line, `file:line: key: expected …, found …`.
        """
        return cls(read_spec(path, options))

    def __repr__(self) -> str:
        spec = self.spec
        axes = ", ".join(axis.path for axis in spec.problem.free)
        return f"<Sweep {spec.name}: {spec.points} points over {axes}>"

    def _repr_html_(self) -> str:
        """For notebooks: what is searched, and for what."""
        spec = self.spec
        rows = [("points", str(spec.points)), ("over", ", ".join(axis.path for axis in spec.problem.free))]
        rows += [(way, name) for name, way in spec.problem.objectives.items()]
        return html_table(f"Sweep {spec.name}", ("", ""), rows)

    def to_frame(self) -> pd.DataFrame:
        """All points as `run` gives them, evaluated in this process."""
        return self.run()

    @property
    def header(self) -> Header:
        """The header of the store: what is known before the first point."""
        spec, problem = self.spec, self.spec.problem
        return Header(spec.data, spec.text, problem.columns, spec.points, _metadata(spec))

    def run(
        self,
        executor: Executor | Pool | None = None,
        folder: str | Path | None = None,
        listener: Listener | None = None,
    ) -> pd.DataFrame:
        """Evaluate what is not evaluated yet, and give the whole table: `Store.results`.

        Args:
            executor: where chunks of points are evaluated; by default this process.
            folder: where the sweep is kept, and goes on from; by default nowhere.
            listener: told how it goes.

        Raises:
            SimexploreError: the folder holds another sweep; a library that the sampler needs is not installed.
        """
        if folder is None:
            with tempfile.TemporaryDirectory(prefix="simexplore-") as temporary:
                return self.run(executor, temporary, listener)
        self.fill(folder, executor, listener)
        with Store.open(folder) as store:
            return store.results()

    def fill(
        self,
        folder: str | Path,
        executor: Executor | Pool | None = None,
        listener: Listener | None = None,
        *,
        judge: bool = False,
    ) -> None:
        """As `run`, without making the table of what is in the folder then.

        With `judge`, what a verdict stands on is evaluated and kept too, when all points are there.
        """
        pool = executor if isinstance(executor, Pool) else _pool(executor)
        with Store.create(folder, self.header) as store:
            if store.finished:
                if listener is not None:
                    listener.begin(store, store.count())
                return
            if store.count() < store.planned:
                pool.start()  # workers come up meanwhile
            self._fill(store, pool, listener)
            if judge and (basis := basis_of(self.spec.problem, store.results())) is not None:
                store.keep(VERDICT, basis.to_json())
            store.finish()

    def forecast(self) -> Forecast:
        """How many points, and how long they will take, from evaluating a few.

        Raises:
            SimexploreError: as `run`.
        """
        u = self._some_points()
        searches = self.spec.sampler in SEARCHES
        evaluator, together = Evaluator(self.spec.problem), self.spec.problem.together
        evaluator.evaluate(0, u[: 8 if together is None else 1])  # imports, machines and graphs are made once
        first, few = len(u) // 2, FIRST_POINTS
        if together is not None:  # what is dear is remembered too, so whole machines are timed from nothing
            evaluator, few = Evaluator(self.spec.problem), min(together, FIRST_POINTS)
            first -= first % few
        points = population(self.spec.points) if searches else few
        while True:  # neighbours, as workers get them: what they have in common is computed once
            part = u[first : first + points] if first < len(u) else u
            started = time.perf_counter()
            evaluator.evaluate(0, part)
            seconds = time.perf_counter() - started
            first, points = first + points, points if searches else 4 * points
            if searches or seconds > TRIED_S or first + points > len(u):
                return Forecast(self.spec.points, seconds / len(part), searches)

    def _some_points(self) -> FloatArray:
        """The first points of a sampler that does not search, else random ones."""
        if self.spec.sampler not in SEARCHES and (u := self._sampler().ask()) is not None:
            return u
        return np.random.default_rng(self.spec.seed).random((BATCH, len(self.spec.problem.free)))

    def _fill(self, store: Store, pool: Pool, listener: Listener | None) -> None:
        sampler = self._sampler()
        if listener is not None:
            listener.begin(store, store.count())
        first = 0
        point_s: float | None = None
        for u in _batches(sampler):
            stop = first + len(u)
            missing = gaps(store.done(), first, stop)
            for chunk, seconds in evaluate_all(pool, self.spec.problem, missing, partial(_rows, u, first), point_s):
                point_s = seconds / chunk.points
                if store.add(chunk) and listener is not None:
                    listener.chunk(chunk)
            if self.spec.sampler in SEARCHES:
                sampler.tell(self._results(store, first, stop))
            first = stop

    def _sampler(self) -> Sampler:
        problem = self.spec.problem
        levels = [None if axis.levels is None else len(axis.levels) for axis in problem.free]
        return make_sampler(self.spec.sampler, levels, self.spec.points, self.spec.seed, len(problem.objectives))

    def _results(self, store: Store, first: int, stop: int) -> Results:
        """What a search is told: objectives as losses."""
        _, values = store.values(first, stop)
        index = {column.name: position for position, column in enumerate(store.columns)}
        losses = [
            values[index[name]] if way == "min" else -values[index[name]]
            for name, way in self.spec.problem.objectives.items()
        ]
        return Results(np.stack(losses, axis=1), values[index["feasible"]] == 1.0)


def _rows(u: FloatArray, offset: int, first: int, stop: int) -> FloatArray:
    return u[first - offset : stop - offset]


def _batches(sampler: Sampler) -> Iterator[FloatArray]:
    while (u := sampler.ask()) is not None:
        yield u


def _pool(executor: Executor | None) -> Pool:
    return executors.in_process() if executor is None else executors.on_executor(executor)


def _metadata(spec: Spec) -> Mapping[str, Any]:
    return {
        "versions": environment.versions(LIBRARIES.get(spec.sampler, ())),
        "name": spec.name,
        "seed": spec.seed,
        "sampler": spec.sampler,
        "fidelity": spec.problem.fidelity,
        "arch": spec.machine.told(),
        "workloads": {workload.name: _told(workload) for workload in spec.problem.workloads} | _served(spec.problem),
    }


def _served(problem: Problem) -> dict[str, Mapping[str, Any]]:
    """The load, where one is served."""
    if problem.question is None:
        return {}
    return {KEY: problem.question.told([axis.path.removeprefix(f"{KEY}.") for axis in problem.axes])}


def _told(workload: Workload) -> Mapping[str, Any]:
    """What a store keeps of a workload: of a file its contents."""
    known = {"source": workload.source, "weight": workload.weight, "parameters": dict(workload.parameters)}
    return known if workload.data is None else {**known, "data": workload.data}
