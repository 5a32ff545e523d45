"""How long imports take, start included; run with `pytest tests/bench --benchmark-enable` on an idle machine."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from simexplore.cli.main import main; main()"]
CONFIG_S = 2.0
MODULE_S = 10.0
MODULE_BYTES = 2e9


def test_an_8b_model_by_its_config(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    models = json.loads((ROOT / "workloads" / "families" / "configs" / "llama.json").read_text(encoding="utf-8"))
    file = tmp_path / "config.json"
    file.write_text(json.dumps(models["Llama 3"]["llama-3-8b"]["config"]), encoding="utf-8")
    call = [*COMMAND, "run", f"hf:{file}/decode", "--arch", "nvidia/h100-sxm", "--param", "batch=16"]
    done = benchmark.pedantic(subprocess.run, (call,), {"capture_output": True, "check": True}, rounds=3)
    assert done.stdout.startswith(b"hf/")
    if benchmark.enabled:
        assert benchmark.stats.stats.min <= CONFIG_S


def test_a_module_of_seven_billion_parameters(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    source = f"{ROOT / 'examples' / 'models' / 'causal_lm.py'}:build"
    call = [*COMMAND, "workload", "import", "torch", source, "-o", str(tmp_path / "g.yaml")]
    benchmark.pedantic(subprocess.run, (call,), {"capture_output": True, "check": True}, rounds=3)
    assert 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= MODULE_BYTES
    if benchmark.enabled:
        assert benchmark.stats.stats.min <= MODULE_S
