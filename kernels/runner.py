"""The measuring loop: each case is checked against numpy, warmed up, and timed until its time is known well enough.

A row is written as soon as it is known (`kernels.recorder`), so an interrupted run resumes where it stopped. Where
other jobs share the device (a CPU), all cases are gone through several times, and the least time of each is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.session import Prepared, Sample, Session
from simexplore.kernels.measurement import TIME
from simexplore.kernels.pace import DRIFT, Pace, reference_of
from simexplore.kernels.problems import check, problem_of
from simexplore.kernels.statistics import AGREEING, Timing, timing_of

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
    """Enough is known when half the 95 % interval of the median is within this share of it; on a CPU, when the lowest
    three samples are."""
    case_s: float = 1.5
    """Time for sampling one case; `min_samples` are taken even where it ends."""
    rounds: int = 3
    """Times that all cases are gone through on a CPU; samples and time of a case are spread over them."""
    more_rounds: int = 2
    """Further ones for what was measured while the reference kernel was slow."""

    def of_one_round(self) -> Effort:
        """What one of the rounds spends on a case."""
        least, most = (max(-(-samples // self.rounds), AGREEING) for samples in (self.min_samples, self.max_samples))
        short_s = self.sample_s / 2.0  # the shorter a sample, the likelier nothing disturbed it
        return replace(self, sample_s=short_s, min_samples=least, max_samples=most, case_s=self.case_s / self.rounds)


@dataclass(frozen=True)
class Known:
    """What the rounds have told of one case so far."""

    time_s: float
    """The least over the rounds."""
    slowest_s: float
    """The largest."""
    rounds: int
    reference_s: float
    """What the reference kernel took beside the least disturbed round; 0 where there is none."""

    def and_then(self, time_s: float, reference_s: float) -> Known:
        """With a further round."""
        least_s, reference_s = min(self.time_s, time_s), min(self.reference_s or reference_s, reference_s)
        return Known(least_s, max(self.slowest_s, time_s), self.rounds + 1, reference_s)


@dataclass(frozen=True)
class Measured:
    """One case's outcome in one round."""

    case: Case
    timing: Timing
    extra: Mapping[str, float]
    """Medians of what the backend read beside the time."""
    known: Known | None = None
    """With the rounds before it; None where a case is measured alone."""

    @property
    def kept(self) -> bool:
        """Whether no earlier round was faster: the row is then this one's."""
        return self.known is None or self.timing.time_s <= self.known.time_s

    def row(self, source: str, device: str) -> dict[str, Any]:
        """The measurement row: times in µs, rates where the case has flops or bytes.

        Of a round that is not kept only what the rounds tell together, and the case.
        """
        if not self.kept:
            return {CASE: self.case.key, **self._rounds()}
        t = self.timing
        row: dict[str, Any] = {"source": source, "device": device, **self.case.columns(), TIME: t.time_s * 1e6}
        row |= {"low_us": t.low_s * 1e6, "high_us": t.high_s * 1e6, "samples": t.samples, "outliers": t.outliers}
        row |= {"gflop_per_s": self.case.work_flops / t.time_s / 1e9, "gb_per_s": self.case.work_bytes / t.time_s / 1e9}
        return row | self._rounds() | dict(self.extra)

    def _rounds(self) -> dict[str, Any]:
        if self.known is None or not self.known.reference_s:
            return {}
        known = self.known
        return {ROUNDS: known.rounds, SLOWEST: known.slowest_s * 1e6, REFERENCE: known.reference_s * 1e6}


CASE, ROUNDS, SLOWEST, REFERENCE = "case", "rounds", "slowest_us", "reference_us"
"""Columns that tell cases apart, and what the rounds of a case say."""
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
        width = timing.spread if noise_only_adds else timing.relative_width
        if width <= effort.width or monotonic() - started > effort.case_s:
            break
    return samples


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    device: str
    """Name of what the kernels ran on."""
    measured: int
    """Cases that have their first row from this run."""
    already_done: int
    """Cases that had a row before."""
    left_out: Counter[str]
    """Cases that were not measured, by the reason why: a missing feature, or the budget."""
    noisy: tuple[str, ...]
    """Cases whose interval stayed wide or that had outliers, with how much."""
    pace: Mapping[str, Any] = field(default_factory=dict)
    """The reference kernel's case and its least and largest time [µs], and the cases that are of a slow moment."""


def measure(
    session: Session,
    cases: Iterable[Case],
    record: Callable[[Measured], None],
    done: Mapping[str, Known] | None = None,
    seed: int = 0,
    effort: Effort | None = None,
    budget_s: float = float("inf"),
    progress: Progress | None = None,
) -> Outcome:
    """Measure cases one after another and record each at once; on a CPU in several rounds.

    Args:
        session: the open device.
        cases: what to measure, all runnable on the device.
        record: is given the outcome of each case and round as soon as there is one.
        done: what an earlier run has recorded, by key; only the rounds that it lacks are run.
        seed: of the random inputs.
        effort: spent on each case.
        budget_s: wall time after which no further case is begun.
        progress: told how many cases are done, and of how many.

    Raises:
        SimexploreError: a kernel computes something wrong.
    """
    with Pace(session, reference_of(session.device)) as pace:
        run = _Run(session, list(cases), record, dict(done or {}), seed, effort or Effort(), budget_s, pace, progress)
        return run.whole()


class _Run:
    """One call of `measure`: its rounds, and what is known so far."""

    def __init__(
        self,
        session: Session,
        cases: list[Case],
        record: Callable[[Measured], None],
        known: dict[str, Known],
        seed: int,
        effort: Effort,
        budget_s: float,
        pace: Pace,
        progress: Progress | None,
    ) -> None:
        self._session, self._cases, self._record, self._seed = session, cases, record, seed
        self._rounds = effort.rounds if pace.case is not None else 1
        self._more = effort.more_rounds if pace.case is not None else 0
        self._effort = effort.of_one_round() if self._rounds > 1 else effort
        self._known, self._pace, self._progress = known, pace, progress
        self._deadline = monotonic() + budget_s
        self._at, self._noise = 0, dict[str, list[str]]()

    def whole(self) -> Outcome:
        """All rounds, and what came of them."""
        before = {case.key for case in self._cases if case.key in self._known}
        for number in range(self._rounds):
            for position, case in enumerate(self._cases):
                self._tell(number * len(self._cases) + position)
                if self._rounds_of(case) <= number and monotonic() <= self._deadline:
                    self._once(case)
        for _ in range(self._more):
            for case in self._slow():
                if monotonic() <= self._deadline:
                    self._once(case)
        self._tell(self._rounds * len(self._cases))
        now = {case.key for case in self._cases if case.key in self._known}
        left_out = Counter({BUDGET_ENDED: len(self._cases) - len(now)} if len(now) < len(self._cases) else {})
        noisy = tuple(line for lines in self._noise.values() for line in lines)
        return Outcome(self._session.device.name, len(now - before), len(before), left_out, noisy, self._told_pace())

    def _rounds_of(self, case: Case) -> int:
        known = self._known.get(case.key)
        return 0 if known is None else known.rounds

    def _slow(self) -> list[Case]:
        """Cases that were never measured but while the machine was slower than at its best."""
        references = {case.key: self._known[case.key].reference_s for case in self._cases if case.key in self._known}
        best_s = min([self._pace.best_s, *(reference for reference in references.values() if reference)])
        return [case for case in self._cases if references.get(case.key, 0.0) > DRIFT * best_s]

    def _once(self, case: Case) -> None:
        """One case in one round."""
        before_s = self._pace.last_s or self._pace.now_s()
        outcome = measure_case(self._session, case, self._seed, self._effort)
        reference_s = max(before_s, self._pace.now_s())
        earlier, time_s = self._known.get(case.key), outcome.timing.time_s
        known = earlier.and_then(time_s, reference_s) if earlier else Known(time_s, time_s, 1, reference_s)
        outcome = replace(outcome, known=known)
        self._known[case.key] = known
        self._record(outcome)
        if outcome.kept:
            self._noise[case.key] = _noise(outcome, self._effort)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._rounds * len(self._cases))

    def _told_pace(self) -> dict[str, Any]:
        pace = self._pace
        if pace.case is None or not pace.worst_s:
            return {}
        figures = {"best_us": pace.best_s * 1e6, "worst_us": pace.worst_s * 1e6}
        return {"reference": pace.case.key, **figures, "slow": [case.key for case in self._slow()]}


BUDGET_ENDED = "the time budget ended"


def _noise(outcome: Measured, effort: Effort) -> list[str]:
    t = outcome.timing
    if t.relative_width <= effort.width and not t.outliers:
        return []
    return [f"{outcome.case.key}: ±{t.relative_width:.0%}, {t.outliers} of {t.samples} samples are outliers"]
