"""Speed of the event engine: waves per second, and the same beside bare SimPy timeouts.

Run with `pytest tests/bench --benchmark-enable`; otherwise a small run checks that the counts are right.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
import simpy
from pytest_benchmark.fixture import BenchmarkFixture

from simexplore.sim.play.engine import Clock, Event
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.probes import Activity, Probe, Probes
from simexplore.sim.play.sm_array import GridTiming, SmArray

STREAMS = 8
SMS_PER_STREAM = 16
WAVES_PER_S = 80_000
RATIO_TO_BARE_TIMEOUTS = 0.4


@dataclass(frozen=True)
class Waves:
    """A kernel of so many waves on a stream's share of the SMs; eight of them ask for twice the DRAM there is."""

    waves: int
    wave_s: float
    ctas_per_sm: int = 1
    demands: Mapping[str, float] = field(default_factory=dict)

    @property
    def ctas(self) -> int:
        return self.waves * SMS_PER_STREAM

    def timing(self, ctas: int, sms: float) -> GridTiming:
        waves = ctas / sms
        return GridTiming(1e-6, waves * self.wave_s, int(waves), 1.0 / waves, 0.0, {"dram": self.wave_s / (4 * sms)})


class WaveCount(Probe):
    """Counts waves."""

    def __init__(self) -> None:
        self.waves = 0

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        self.waves += 1


def play(kernels: int, waves: int, *probes: Probe) -> float:
    """Eight streams that each launch so many kernels of so many waves; returns the simulated time [s]."""
    clock, observers = Clock(), Probes(probes)
    network = FlowNetwork(clock, {"dram": 1.0, "l2": 1.0}, observe_waves=observers.watch_waves)
    array = SmArray(clock, network, STREAMS * SMS_PER_STREAM, 32, observers)

    def stream(index: int) -> Iterator[Event]:
        grid = Waves(waves, wave_s=1e-6 * (1 + index / 10))
        activity = Activity(f"stream {index}", index, "kernel")
        for _ in range(kernels):
            yield array.launch(grid, activity, max_sms=SMS_PER_STREAM)

    for index in range(STREAMS):
        clock.process(stream(index))
    clock.run()
    return clock.now_fs / 1e15


def play_bare_timeouts(count: int) -> None:
    """Eight SimPy processes that do nothing but wait."""
    env = simpy.Environment()

    def wait(delay_fs: int) -> Iterator[simpy.Event]:
        for _ in range(count // STREAMS):
            yield env.timeout(delay_fs)

    for index in range(STREAMS):
        env.process(wait(1_000_000 + index))
    env.run()


def seconds_of(function: object, *args: int) -> float:
    start = time.perf_counter()
    function(*args)  # type: ignore[operator]
    return time.perf_counter() - start


@pytest.mark.parametrize(("kernels", "waves"), [(20, 1000), (2000, 10)], ids=["long kernels", "churn"])
def test_no_wave_is_lost(kernels: int, waves: int) -> None:
    count = WaveCount()
    kernels = max(kernels // 100, 1)
    simulated_s = play(kernels, waves, count)
    assert count.waves == STREAMS * kernels * waves
    assert simulated_s > kernels * waves * 1.5e-6, "eight streams that ask for twice the DRAM take nearly twice as long"


def test_waves_of_eight_contending_streams(benchmark: BenchmarkFixture) -> None:
    """At least 80,000 waves a second, and 0.4 of the rate of bare SimPy timeouts in the same run."""
    kernels, waves = (20, 1250) if benchmark.enabled else (1, 100)
    benchmark.pedantic(play, args=(kernels, waves), rounds=5, warmup_rounds=1)
    if not benchmark.enabled:
        return
    count = STREAMS * kernels * waves
    bare_per_s = count / min(seconds_of(play_bare_timeouts, count) for _ in range(5))
    waves_per_s = count / benchmark.stats.stats.min
    benchmark.extra_info.update(
        waves_per_s=round(waves_per_s),
        bare_timeouts_per_s=round(bare_per_s),
        ratio_to_bare_timeouts=round(waves_per_s / bare_per_s, 3),
    )
    assert waves_per_s >= WAVES_PER_S
    assert waves_per_s >= RATIO_TO_BARE_TIMEOUTS * bare_per_s


def test_churn_of_short_kernels(benchmark: BenchmarkFixture) -> None:
    """Reported only: kernels of four waves, so that rates are found anew for every few waves."""
    kernels, waves = (500, 4) if benchmark.enabled else (5, 4)
    benchmark.pedantic(play, args=(kernels, waves), rounds=3, warmup_rounds=1)
    if benchmark.enabled:
        fastest_s = benchmark.stats.stats.min
        benchmark.extra_info.update(
            kernels_per_s=round(STREAMS * kernels / fastest_s), waves_per_s=round(STREAMS * kernels * waves / fastest_s)
        )
