"""Speed of serving: an hour of requests to a large model, from nothing.

Run with `pytest tests/bench/test_serve_bench.py --benchmark-enable -s` on an idle machine for the figure; otherwise a
minute of it checks that what is measured works.
"""

from __future__ import annotations

import time

from pytest_benchmark.fixture import BenchmarkFixture

from simexplore.archs.load import load_arch
from simexplore.sim.serve.asked import Placed
from simexplore.sim.serve.load.arrivals import Arrivals, Lengths
from simexplore.sim.serve.results import Objectives, Result
from simexplore.sim.serve.study import Study, longest_of
from simexplore.workloads.families.llm import MODELS

HOUR_S = 3600.0
MOST_CPU_S = 2.4
"""Processor time of an hour at 10 requests a second, the table of steps empty at first: 1,500 times real time."""
PARAMS = {"tensor_parallel": "4", "dtype": "fp8", "kv_dtype": "fp8"}


def hour(duration_s: float) -> tuple[Result, float]:
    """The load served, and the processor time that it took [s]."""
    load = Arrivals(10.0, duration_s, Lengths(100, 1000), Lengths(50, 350), seed=1)
    placed = Placed(PARAMS, {"max_tokens": "2048"})
    (deployment,) = placed.deployments(MODELS["llama-3-70b"], load_arch("nvidia/h100-sxm"), [load]).values()
    begun_s = time.process_time()
    result = Study(deployment, deployment.table(longest_of(load)), Objectives()).run(load)
    return result, time.process_time() - begun_s


def test_an_hour_of_requests_to_seventy_billion_parameters(benchmark: BenchmarkFixture) -> None:
    duration_s = HOUR_S if benchmark.enabled else 60.0
    result, cpu_s = benchmark.pedantic(hour, args=(duration_s,), rounds=1)
    assert len(result.served) > 8.0 * duration_s
    assert result.duration_s < duration_s + 30.0
    if benchmark.enabled:
        benchmark.extra_info.update(cpu_s=cpu_s, times_real=HOUR_S / cpu_s)
        assert cpu_s <= MOST_CPU_S
