"""Speed of predictions of single operators, and of reading a machine.

Run with `pytest tests/bench/test_estimate_bench.py --benchmark-enable -s` on an idle machine for the figures;
otherwise small runs check that what is measured works.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import AttentionDecode, Gemm, Operator

LEAST_PER_S = 10_000
"""Rows predicted a second, tile search and learned correction included."""
READING_S = 0.03
ROWS = 8192


def gemms(rows: int) -> Gemm:
    """Products of any sizes between 16 and 16384."""
    m, n, k = (2.0 ** np.random.default_rng(0).uniform(4.0, 14.0, size=(3, rows))).astype(np.int64)
    return Gemm(m=m, n=n, k=k, dtype="bf16")


def decodes(rows: int) -> AttentionDecode:
    """Batches of 1 to 256 with contexts of 16 to 32768."""
    random = np.random.default_rng(0)
    batch, seq_kv = (2.0 ** random.uniform(low, high, rows) for low, high in ((0.0, 8.0), (4.0, 15.0)))
    batch, seq_kv = batch.astype(np.int64), seq_kv.astype(np.int64)
    return AttentionDecode(batch=batch, heads=32, kv_heads=8, head_dim=128, seq_kv=seq_kv, dtype="bf16")


CASES = [
    ("nvidia/h200-sxm", gemms, Conditions()),
    ("nvidia/l40s", gemms, Conditions()),
    ("nvidia/h200-sxm", decodes, Conditions(attention_module=True)),
]


@pytest.mark.parametrize(("arch", "make", "conditions"), CASES, ids=["h200 gemm", "l40s gemm", "h200 decode"])
def test_rows_predicted_a_second(arch: str, make: object, conditions: Conditions, benchmark: BenchmarkFixture) -> None:
    gpu = load_arch(arch)
    op: Operator = make(ROWS if benchmark.enabled else 200)  # type: ignore[operator]
    prediction = benchmark.pedantic(predict, args=(op, gpu, conditions), rounds=5, warmup_rounds=1)
    assert np.all(prediction.time_s > 0.0)
    assert np.any(prediction.correction != 1.0)
    if benchmark.enabled:
        rows_per_s = len(prediction.time_s) / benchmark.stats.stats.min
        benchmark.extra_info.update(rows_per_s=round(rows_per_s))
        assert rows_per_s >= LEAST_PER_S


def test_reading_a_machine(benchmark: BenchmarkFixture) -> None:
    gpu = benchmark.pedantic(load_arch, args=("nvidia/h200-sxm",), rounds=5, warmup_rounds=1)
    assert gpu.name
    if benchmark.enabled:
        assert benchmark.stats.stats.min < READING_S
