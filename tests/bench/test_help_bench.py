"""How soon the command answers `--help`; run with `pytest tests/bench --benchmark-enable` on an idle machine."""

from __future__ import annotations

import subprocess
import sys

from pytest_benchmark.fixture import BenchmarkFixture

HELP_S = 0.3


def test_help_comes_at_once(benchmark: BenchmarkFixture) -> None:
    call = [sys.executable, "-c", "from simexplore.cli.main import main; main()", "--help"]
    done = benchmark.pedantic(subprocess.run, (call,), {"capture_output": True, "check": True}, rounds=5)
    assert done.stdout.startswith(b"Usage: ")
    if benchmark.enabled:
        assert benchmark.stats.stats.min <= HELP_S
