"""Speed of what Python users call: one operator, asked for the first time and again, and tables of them; of a command.

Run with `pytest tests/bench/test_api_bench.py --benchmark-enable -s` on an idle machine for the figures; otherwise
small runs check that what is measured works. Figures are of CPU time: other work on the machine counts for little.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from statistics import median

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import simexplore
from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.operators import physics, predict
from simexplore.workloads.ops import Gemm

MACHINES = ["nvidia/a100-sxm-80gb", "nvidia/h200-sxm"]
FRESH_S, AGAIN_S = 150e-6, 15e-6
PHYSICS_PER_S, FULL_PER_S = 20_000, 15_000
RUN_S = 0.6


def texts(count: int) -> list[str]:
    """Different GEMMs of any sizes."""
    draw = random.Random(0)
    sizes = ((draw.randint(1, 8192), 8 * draw.randint(8, 2048), 8 * draw.randint(8, 2048)) for _ in range(count))
    return [f"gemm(m={m},n={n},k={k},dtype=bf16)" for m, n, k in sizes]


def seconds_of_each(work: list[str], arch: str) -> list[float]:
    told = []
    for text in work:
        begun = time.process_time()
        simexplore.estimate(text, arch)
        told.append(time.process_time() - begun)
    return told


@pytest.mark.parametrize("arch", MACHINES)
def test_one_operator(arch: str, benchmark: BenchmarkFixture) -> None:
    """By the machine's name; the first fifty or so are computed by numpy."""
    work = texts(500 if benchmark.enabled else 3)
    fresh = median(benchmark.pedantic(seconds_of_each, (work, arch), rounds=1))
    again = median(seconds_of_each(work, arch))
    benchmark.extra_info.update(fresh_us=round(1e6 * fresh), again_us=round(1e6 * again, 1))
    assert again < fresh
    if benchmark.enabled:
        pytest.importorskip("llvmlite")
        assert fresh <= FRESH_S
        assert again <= AGAIN_S


@pytest.mark.parametrize(("function", "least"), [(physics, PHYSICS_PER_S), (predict, FULL_PER_S)])
def test_columns_of_operators(function: object, least: int, benchmark: BenchmarkFixture) -> None:
    gpu, rows = load_arch("nvidia/h200-sxm"), 8192 if benchmark.enabled else 50
    m, n, k = (2.0 ** np.random.default_rng(0).uniform(4.0, 14.0, size=(3, rows))).astype(np.int64)
    op = Gemm(m=m, n=n, k=k, dtype="bf16")
    benchmark.pedantic(function, (op, gpu, Conditions()), rounds=5, warmup_rounds=1)
    if benchmark.enabled:
        pytest.importorskip("llvmlite")
        rate = rows / benchmark.stats.stats.min
        benchmark.extra_info.update(rows_per_s=round(rate))
        assert rate >= least


def test_a_run_from_the_command_line(benchmark: BenchmarkFixture) -> None:
    """CPU time of the whole process, Python's own start included; modules are compiled once, as after any first run."""
    command = "from simexplore.cli.main import main; main()"
    with_bytecode = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    call = [sys.executable, "-c", command, "run", texts(1)[0], "--arch", "nvidia/h200-sxm"]

    def cpu_s() -> float:
        before = os.times()
        subprocess.run(call, capture_output=True, check=True, env=with_bytecode)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    rounds = [benchmark.pedantic(cpu_s, rounds=1), *(cpu_s() for _ in range(4 if benchmark.enabled else 0))]
    benchmark.extra_info.update(cpu_s=round(min(rounds), 2))
    if benchmark.enabled:
        assert min(rounds) <= RUN_S
