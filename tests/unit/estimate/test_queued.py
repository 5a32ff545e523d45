"""Eager calls in a queue: the host's pace holds back what is shorter, and is not added to what is longer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping.host import queued_call_seconds
from simexplore.workloads.ops import AttentionDecode, Gemm, RmsNorm

CALLS = "{gemm: 30 us, gemm fp8: 40 us, attention_decode fp8: 50 us}"
STREAM, QUEUED = (Conditions(cache=COLD, launch=launch) for launch in ("stream", "queued"))  # type: ignore[arg-type]


def machine() -> Gpu:
    return round_gpu({"launch.calls": CALLS})


def test_calls_by_operator_and_by_what_it_keeps() -> None:
    """Twenty microseconds are those of an eager call, where the file has no others."""
    gpu, gemm = machine(), Gemm(m=8, n=8, k=8, dtype="fp16")
    decode = AttentionDecode(batch=1, heads=2, kv_heads=2, head_dim=64, seq_kv=8, dtype="fp16")
    expected = {gemm: 30, replace(gemm, weight_dtype="fp8"): 40, decode: 20, replace(decode, kv_dtype="fp8"): 50}
    expected[RmsNorm(rows=8, cols=8, dtype="fp16")] = 20
    for op, microseconds in expected.items():
        assert queued_call_seconds(op, gpu) == pytest.approx(microseconds * 1e-6), op
    assert queued_call_seconds(gemm, round_gpu()) == pytest.approx(20e-6)


def test_the_longer_of_host_and_gpu() -> None:
    """A kernel in a queue is launched as on a stream; a short one waits for its call, and the board idles."""
    gpu, sizes = machine(), np.array([8, 8192])
    alone, queued = (predict(Gemm(m=sizes, n=8192, k=64, dtype="fp16"), gpu, given) for given in (STREAM, QUEUED))
    assert alone.time_s[0] < 30e-6 < alone.time_s[1]
    assert queued.time_s.tolist() == [pytest.approx(30e-6), alone.time_s[1]]
    more_j = queued.energy_j - alone.energy_j
    assert more_j.tolist() == pytest.approx([gpu.power.idle_w * (30e-6 - alone.time_s[0]), 0.0], rel=1e-6, abs=1e-12)


def test_launches_by_how_they_are_told() -> None:
    launch = round_gpu().launch
    assert {how: launch.each_s(how) for how in ("graph", "stream", "queued", "profiled")} == {  # type: ignore[arg-type]
        "graph": pytest.approx(1e-6), "stream": pytest.approx(3e-6), "queued": pytest.approx(3e-6), "profiled": 0.0,
    }  # fmt: skip
