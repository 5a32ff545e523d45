"""`simexplore sweep`: many machines and workloads, kept in a folder that may be killed and continued at any moment."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np

from simexplore.archs.units import one_line
from simexplore.cli.console import INTERRUPTED
from simexplore.cli.explore.front import about_sweep, cell, print_front
from simexplore.cli.explore.verdict import print_verdict
from simexplore.cli.options import json_option
from simexplore.cli.output import note, print_json
from simexplore.cli.pages import now
from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation import executor as executors
from simexplore.sim.explore.evaluation.dask import on_dask
from simexplore.sim.explore.evaluation.executor import Pool
from simexplore.sim.explore.pareto import choose_objectives
from simexplore.sim.explore.sampler import KINDS
from simexplore.sim.explore.spec.file import FIDELITIES, Options
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.explore.table import POINT
from simexplore.sim.explore.verdict.verdict import verdict_of
from simexplore.sim.keeping.folder import written_aside

_BAR_S = 0.2


@click.command(epilog="Example: simexplore sweep examples/hopper-memory.yaml -o out/")
@click.argument("spec", metavar="SPEC", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the sweep; continues what is there.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes. By default one a core.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786, instead of processes.")
@click.option("--sampler", type=click.Choice(KINDS), help="Instead of the file's.")
@click.option("--budget", type=click.IntRange(1), help="Points, instead of the file's; a grid takes all.")
@click.option("--seed", type=click.IntRange(0), help="Instead of the file's.")
@click.option("--fidelity", type=click.Choice(FIDELITIES), help="Closed form or events, instead of the file's.")
@click.option(
    "--export", "exports", multiple=True, type=click.Path(path_type=Path), help="Also write a .csv or .parquet."
)
@click.option("--dry-run", is_flag=True, help="Print the number of points and the time they will take, and end.")
@json_option()
def sweep(
    spec: Path,
    output: Path | None,
    jobs: int | None,
    scheduler: str | None,
    sampler: str | None,
    budget: int | None,
    seed: int | None,
    fidelity: str | None,
    exports: tuple[Path, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Evaluate the points of SPEC, a YAML file of axes and objectives, and print the best.

    With --json, one line for each point as it is done, and last one with the verdict.
    """
    study = Sweep.from_yaml(spec, Options(sampler=sampler, budget=budget, seed=seed, fidelity=fidelity))
    workers = jobs or os.cpu_count() or 1
    if dry_run:
        _print_forecast(study, workers, as_json)
        return
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output': the folder to keep the sweep in.")
    pool = _pool(workers, scheduler)
    progress = _Lines() if as_json else _Bar()
    try:
        study.fill(output, pool, progress, judge=True)
    except KeyboardInterrupt:
        progress.close()
        _say_how_to_resume(output)
        sys.exit(INTERRUPTED)
    finally:
        progress.close()
        pool.close()
    with Store.open(output) as store:
        table = _export(store, output, exports)
        if store.failed == store.count():
            raise SimexploreError(_nothing(store))
        if as_json:
            verdict = verdict_of(store)
            click.echo(json.dumps({**about_sweep(store.metadata), "verdict": verdict.to_json()}))
        else:
            _print(store, table)


def _pool(jobs: int, scheduler: str | None) -> Pool:
    if scheduler is not None:
        return on_dask(scheduler)
    return executors.in_process() if jobs == 1 else executors.processes(jobs)


def _print_forecast(study: Sweep, jobs: int, as_json: bool) -> None:
    forecast = study.forecast()
    time_s = forecast.time_s(min(jobs, os.cpu_count() or 1))
    if as_json:
        told = {"points": forecast.points, "jobs": jobs, "point_s": forecast.point_s, "time_s": time_s}
        print_json({**about_sweep(study.header.metadata), **told})
    else:
        rate = 1.0 / forecast.point_s
        click.echo(f"{forecast.points:,} points, {rate:,.{0 if rate >= 10.0 else 1}f} points/s on one core")
        search = ", and what the search takes to choose them" if forecast.searches else ""
        click.echo(f"about {_duration(time_s)} in {jobs} process{'es' if jobs > 1 else ''}{search}")


def _say_how_to_resume(output: Path) -> None:
    try:
        store = Store.open(output)
    except SimexploreError:
        note("stopped before the first point")
        return
    with store:
        counts = f"{store.count():,} of {store.planned:,} points"
        note(f"stopped: {counts} are in {output}; the same command goes on from there")


def _export(store: Store, output: Path, exports: tuple[Path, ...]) -> Path:
    """Write the table beside the store, as Parquet where that can be, and to all files asked for."""
    table = output / ("results.parquet" if find_spec("pyarrow") else "results.csv")
    if os.access(output, os.W_OK):
        store.export(table)
    elif not table.is_file():
        note(f"nothing can be written to {one_line(str(output))}: --export FILE writes the table elsewhere")
    for file in exports:
        store.export(file)
    return table


def _nothing(store: Store) -> str:
    """Why there are no results."""
    failed = store.failures()
    first = failed["error"].iloc[0] if len(failed) else "there are no points"
    return f"expected a point that can be evaluated, found none of {len(failed):,}; the first: {one_line(str(first))}"


def _print(store: Store, table: Path) -> None:
    """The front, and where everything lies."""
    results, failed = store.results(), store.failures()
    print_verdict(store, verdict_of(store))
    click.echo()
    print_front(store, results, choose_objectives(store), limit=10)
    click.echo()
    if len(failed):
        kinds = failed["error"].nunique()
        click.echo(f"{len(failed):,} points failed ({kinds} causes); the first: {one_line(failed['error'].iloc[0])}")
    click.echo(f"table   {one_line(str(table))}")
    click.echo(f"report  {one_line(_write_report(store))}")


def _write_report(store: Store) -> str:
    """The report beside the store, where the library for its pictures is installed; else how to make it."""
    folder = store.path.parent
    if find_spec("plotly") is None:
        return f"pip install 'simexplore[report]', then simexplore report {folder}"
    if not os.access(folder, os.W_OK):
        return f"simexplore report {folder} -o FILE"
    from simexplore.sim.report.sweep import sweep_html

    page = folder / "report.html"
    with written_aside(page, "the report") as aside:
        aside.write_text(sweep_html(store, now()), encoding="utf-8")
    return str(page)


def _duration(seconds: float) -> str:
    if seconds < 90.0:
        return f"{seconds:.1f} s"
    return f"{seconds / 60.0:.1f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


class _Lines:
    """One line of JSON for each point."""

    def begin(self, store: Store, done: int) -> None:  # noqa: ARG002 - the listener's signature
        self._columns = store.columns

    def chunk(self, chunk: Chunk) -> None:
        for index, values in enumerate(chunk.values.T):
            point = chunk.first + index
            line: dict[str, Any] = {POINT: point}
            for column, value in zip(self._columns, values, strict=True):
                line[column.name] = _plain(column.kind, column.words, float(value))
            if point in chunk.failures:
                line["error"] = chunk.failures[point]
            click.echo(json.dumps(line))

    def close(self) -> None:
        """Nothing is held."""


def _plain(kind: str, words: tuple[str, ...], value: float) -> Any:
    if not np.isfinite(value):
        return None
    if kind == "text":
        return words[int(value)]
    return bool(value) if kind == "bool" else int(value) if kind == "int" else value


class _Bar:
    """A bar with rate, time left and the best point so far, on terminals."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._best = float("inf")
        self._shown = ""
        self._last = 0.0
        self._done = 0

    def begin(self, store: Store, done: int) -> None:
        self._columns = store.columns
        self._objective = store.objectives[0]
        self._done = done
        if done and done < store.planned:
            note(f"goes on with {done:,} of {store.planned:,} points done")
        if not sys.stderr.isatty() or done == store.planned:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(bar_width=20),  # all of the line fits 80 columns
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("sweeping", total=store.planned, completed=done, rate="", best="")
        self._started, self._before = time.monotonic(), done
        self._bar.start()

    def chunk(self, chunk: Chunk) -> None:
        self._done += chunk.points
        if self._bar is None:
            return
        self._improve(chunk)
        now = time.monotonic()
        if now - self._last > _BAR_S:
            self._last = now
            rate = (self._done - self._before) / max(now - self._started, 1e-9)
            self._bar.update(self._task, completed=self._done, rate=f"{rate:,.0f} points/s", best=self._shown)

    def _improve(self, chunk: Chunk) -> None:
        names = [column.name for column in self._columns]
        values = chunk.values[names.index(self._objective.name)]
        sign = -1.0 if self._objective.direction == "max" else 1.0
        counted = np.where(chunk.values[names.index("feasible")] == 1.0, sign * values, np.inf)
        best = float(np.nanmin(counted, initial=np.inf))
        if best < self._best:
            self._best = best
            self._shown = f"best {self._objective.name} {cell(self._objective, sign * best)}"

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
