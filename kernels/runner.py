"""The measuring loop: each case is checked against numpy, warmed up, and timed until its time is known well enough.

A row is written as soon as it is known (`kernels.recorder`), so an interrupted run resumes where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from simexplore.kernels.backend import Prepared, Sample, Session
from simexplore.kernels.measurement import TIME
from simexplore.kernels.problems import check, problem_of
from simexplore.kernels.statistics import Timing, timing_of
from simexplore.kernels.suites import Case

Row = Mapping[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Effort:
    """How much is spent on one case."""

    warmup: int = 2
    """Launches before the first timing; the first one may compile."""
    sample_s: float = 0.004
    """Launches are repeated back to back until one sample takes this long."""
    max_launches: int = 200
    """Launches of one sample at most."""
    min_samples: int = 10
    max_samples: int = 60
    width: float = 0.03
    """Enough is known when half the 95 % interval of the median is within this share of it."""
    case_s: float = 1.5
    """Time for sampling one case; `min_samples` are taken even where it ends."""


@dataclass(frozen=True)
class Measured:
    """One case's outcome."""

    case: Case
    timing: Timing
    extra: Mapping[str, float]
    """Medians of what the backend read beside the time."""

    def row(self, source: str, device: str) -> dict[str, Any]:
        """The measurement row: times in µs, rates where the case has flops or bytes."""
        t = self.timing
        row: dict[str, Any] = {"source": source, "device": device, **self.case.columns(), TIME: t.time_s * 1e6}
        row |= {"low_us": t.low_s * 1e6, "high_us": t.high_s * 1e6, "samples": t.samples, "outliers": t.outliers}
        row |= {"gflop_per_s": self.case.work_flops / t.time_s / 1e9, "gb_per_s": self.case.work_bytes / t.time_s / 1e9}
        return row | dict(self.extra)


EXTRA_COLUMNS = (TIME, "low_us", "high_us", "samples", "outliers", "gflop_per_s", "gb_per_s")
"""Columns of every row beside the case's own."""


def measure_case(session: Session, case: Case, seed: int, effort: Effort) -> Measured:
    """Check one case against numpy on fresh random inputs, then time it.

    Raises:
        SimexploreError: a wrong result, or a kernel that the device can't run.
    """
    problem = problem_of(case, session.problems)
    inputs = problem.inputs(case, np.random.default_rng([seed, *case.key.encode()]))
    prepared = session.prepare(case)
    try:
        check(case, prepared.run(inputs), problem.expected(case, inputs))
        samples = _samples(prepared, effort, session.device.noise_only_adds)
    finally:
        prepared.close()
    times = np.array([sample.time_s for sample in samples])
    extra = {name: float(np.median([sample.extra[name] for sample in samples])) for name in samples[0].extra}
    return Measured(case, timing_of(times, session.device.noise_only_adds), extra)


def _samples(prepared: Prepared, effort: Effort, noise_only_adds: bool) -> list[Sample]:
    """Samples until the interval of the median is narrow, or time or patience ends."""
    for _ in range(effort.warmup):
        once = prepared.sample(1)
    launches = int(np.clip(effort.sample_s / max(once.time_s, 1e-9), 1, effort.max_launches))
    started = monotonic()
    samples: list[Sample] = []
    while len(samples) < effort.max_samples:
        samples.append(prepared.sample(launches))
        if len(samples) < effort.min_samples:
            continue
        timing = timing_of(np.array([sample.time_s for sample in samples]), noise_only_adds)
        if timing.relative_width <= effort.width or monotonic() - started > effort.case_s:
            break
    return samples


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    measured: int
    already_done: int
    left_out: Counter[str]
    """Cases that were not measured, by the reason why: a missing feature, or the budget."""
    noisy: tuple[str, ...]
    """Cases whose interval stayed wide or that had outliers, with how much."""


def measure(
    session: Session,
    cases: Iterable[Case],
    record: Callable[[Measured], None],
    done: frozenset[str] = frozenset(),
    seed: int = 0,
    effort: Effort | None = None,
    budget_s: float = float("inf"),
    progress: Progress | None = None,
) -> Outcome:
    """Measure cases one after another and record each at once.

    Args:
        session: the open device.
        cases: what to measure, all runnable on the device.
        record: is given each outcome as soon as there is one.
        done: keys of cases that an earlier run has recorded; they are skipped.
        seed: of the random inputs.
        effort: spent on each case.
        budget_s: wall time after which no further case is begun.
        progress: told how many cases are done, and of how many.

    Raises:
        SimexploreError: a kernel computes something wrong.
    """
    effort = effort or Effort()
    todo = list(cases)
    left_out: Counter[str] = Counter()
    noisy: list[str] = []
    started, measured, skipped = monotonic(), 0, 0
    for position, case in enumerate(todo):
        if progress is not None:
            progress(position, len(todo))
        if case.key in done:
            skipped += 1
        elif monotonic() - started > budget_s:
            left_out["the time budget ended"] += 1
        else:
            outcome = measure_case(session, case, seed, effort)
            record(outcome)
            measured += 1
            noisy += _noise(outcome, effort)
    if progress is not None:
        progress(len(todo), len(todo))
    return Outcome(measured, skipped, left_out, tuple(noisy))


def _noise(outcome: Measured, effort: Effort) -> list[str]:
    t = outcome.timing
    if t.relative_width <= effort.width and not t.outliers:
        return []
    return [f"{outcome.case.key}: ±{t.relative_width:.0%}, {t.outliers} of {t.samples} samples are outliers"]
