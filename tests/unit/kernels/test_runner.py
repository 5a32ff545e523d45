"""The measuring loop: checked first, timed until the interval is narrow, nothing measured twice."""

from __future__ import annotations

from itertools import chain, cycle, repeat

import numpy as np
import pytest
from fake_backend import DEVICE, FakeSession

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.measurement import TIME
from simexplore.kernels.runner import Effort, Known, Measured, measure, measure_case
from simexplore.kernels.statistics import timing_of

COPY = Case("copy", {"elements": 1000, "dtype": "fp32"}, "elementwise", {"threads": 64})
ADD = Case("add", {"elements": 1000, "dtype": "fp32"}, "elementwise", {"threads": 64})


def test_steady_kernels_take_the_fewest_samples() -> None:
    session = FakeSession()
    measured = measure_case(session, COPY, 0, Effort(warmup=2, min_samples=8))
    assert measured.timing.samples == 8
    assert measured.timing.time_s == 1e-3
    assert measured.extra == {"cycles": 7.0}
    assert session.closed == 1


def test_short_kernels_are_launched_many_times_in_one_sample() -> None:
    session = FakeSession(repeat(1e-5))
    measure_case(session, COPY, 0, Effort(warmup=1, sample_s=0.004, max_launches=300))
    assert session.launches[0] == 1
    assert set(session.launches[1:]) == {400 - 100}


def test_noisy_kernels_are_sampled_until_patience_ends_and_are_told() -> None:
    noisy: list[Measured] = []
    outcome = measure(FakeSession(cycle([1e-3, 2e-3])), [COPY], noisy.append, effort=Effort(max_samples=20))
    assert noisy[0].timing.samples == 20
    assert outcome.noisy[0].startswith(COPY.key)
    assert "±50%" in outcome.noisy[0] or "±33%" in outcome.noisy[0]


def test_a_wrong_result_is_an_error_and_not_a_row() -> None:
    rows: list[Measured] = []
    session = FakeSession(error=0.01)
    with pytest.raises(SimexploreError, match=r"copy.*wrong result.*0\.01"):
        measure(session, [COPY], rows.append)
    assert rows == []
    assert session.closed == 1


def test_done_cases_are_skipped_and_a_spent_budget_leaves_the_rest() -> None:
    rows: list[Measured] = []
    outcome = measure(FakeSession(), [COPY, ADD], rows.append, done={COPY.key: Known(1e-3, 1e-3, 1, 0.0)})
    assert [row.case for row in rows] == [ADD]
    assert (outcome.measured, outcome.already_done) == (1, 1)
    outcome = measure(FakeSession(), [COPY, ADD], rows.append, budget_s=-1.0)
    assert outcome.measured == 0
    assert outcome.left_out == {"the time budget ended": 2}


def test_inputs_are_fresh_for_each_seed_and_case() -> None:
    seen: list[np.ndarray] = []

    class Watching(FakeSession):
        def prepare(self, case):  # type: ignore[no-untyped-def]
            prepared = super().prepare(case)
            run = prepared.run
            prepared.run = lambda inputs: (seen.append(inputs["x"]), run(inputs))[1]  # type: ignore[method-assign]
            return prepared

    for seed, case in ((0, COPY), (1, COPY), (0, ADD)):
        measure_case(Watching(), case, seed, Effort())
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def test_rows_have_the_operator_the_kernel_and_rates() -> None:
    measured = measure_case(FakeSession(), COPY, 0, Effort())
    row = measured.row("simexplore/fake", DEVICE.name)
    assert row["op"] == "copy"
    assert row["elements"] == 1000
    assert row["kernel"] == "elementwise"
    assert row["case"] == "copy(elements=1000,dtype=fp32) by elementwise,threads=64"
    assert row[TIME] == pytest.approx(1000.0)
    assert row["gb_per_s"] == pytest.approx(8000 / 1e-3 / 1e9)
    assert row["cycles"] == 7.0


def test_median_interval_and_outliers() -> None:
    samples = np.array([*np.linspace(0.99, 1.01, 99), 5.0])
    timing = timing_of(samples, noise_only_adds=False)
    assert timing.time_s == pytest.approx(1.0, rel=1e-3)
    assert timing.low_s < timing.time_s < timing.high_s
    assert timing.high_s - timing.low_s == pytest.approx(0.02 * 20 / 98, rel=0.1)
    assert timing.outliers == 1
    assert timing_of(samples, noise_only_adds=True).time_s == pytest.approx(0.992, rel=1e-3)


def test_the_interval_covers_the_true_median_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(3)
    draws = [timing_of(rng.lognormal(0.0, 0.3, 41), noise_only_adds=False) for _ in range(1000)]
    covered = np.mean([timing.low_s <= 1.0 <= timing.high_s for timing in draws])
    assert 0.94 <= covered <= 0.98


def test_a_cpu_reports_what_little_noise_leaves() -> None:
    cpu = Device("fake", 0, "a CPU", "CPU", "none")
    times = chain([1e-3, 1e-3], cycle([3e-3, 1e-3, 1e-3, 9e-3]))
    measured = measure_case(FakeSession(times, device=cpu), COPY, 0, Effort(max_samples=40))
    assert measured.timing.time_s == 1e-3
