"""How soon `--help` answers, and what a GEMM costs: `pytest tests/bench --benchmark-enable` on an idle machine."""

from __future__ import annotations

import resource
import subprocess
import sys

from pytest_benchmark.fixture import BenchmarkFixture

HELP_S = 0.3
RUN_CPU_S = 0.6
ROUNDS = 20


def test_help_comes_at_once(benchmark: BenchmarkFixture) -> None:
    call = [sys.executable, "-c", "from simexplore.cli.main import main; main()", "--help"]
    done = benchmark.pedantic(subprocess.run, (call,), {"capture_output": True, "check": True}, rounds=5)
    assert done.stdout.startswith(b"Usage: ")
    if benchmark.enabled:
        assert benchmark.stats.stats.min <= HELP_S


def test_a_gemm_takes_little_of_a_core(benchmark: BenchmarkFixture) -> None:
    """User and system time with the start, of the quickest of twenty calls."""
    work = ("run", "gemm(m=4096,n=4096,k=4096,dtype=bf16)", "--arch", "nvidia/h200-sxm")
    call = [sys.executable, "-c", "from simexplore.cli.start import start; start()", *work]
    spent: list[float] = []

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(call, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    benchmark.pedantic(run, rounds=ROUNDS if benchmark.enabled else 1)
    if benchmark.enabled:
        assert min(spent) <= RUN_CPU_S
