"""What backward attention and optimizer steps ask for, against the forward kernel, on the machine of round numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from round_gpu import plain, round_gpu

from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import demands_of
from simexplore.workloads.ops import AttentionBackward, OptimizerStep

CAUSAL = AttentionBackward(2, 4, 2, 64, 512, 512, dtype="fp16")
UNMASKED = replace(CAUSAL, mask="none")
CONDITIONS = Conditions(cache=COLD)
QUERIES, KEYS = 2 * 2 * 4 * 512 * 64, 2 * 2 * 2 * 2 * 512 * 64
"""Bytes of the queries; of keys and values."""


def kernels(op: AttentionBackward | OptimizerStep, conditions: Conditions = CONDITIONS) -> tuple[KernelDemand, ...]:
    demands = demands_of(op, round_gpu(), conditions)
    assert all(isinstance(each, KernelDemand) for each in demands)
    return demands  # type: ignore[return-value]  # as asserted


def whole(kernel: KernelDemand, name: str) -> float:
    """An amount of all CTAs together."""
    return float(plain(kernel.grid.ctas * getattr(kernel.work, name)))


@pytest.mark.parametrize("op", [CAUSAL, UNMASKED], ids=lambda op: op.mask)
def test_products_are_five_where_the_forward_kernel_has_two(op: AttentionBackward) -> None:
    _, back, _ = kernels(op)
    (forward,) = demands_of(op.forward, round_gpu(), CONDITIONS)
    assert isinstance(forward, KernelDemand)
    assert plain(back.grid.ctas) == plain(forward.grid.ctas)
    assert whole(back, "tensor_ops") == 2.5 * whole(forward, "tensor_ops")
    assert whole(back, "shared_bytes") == 2.5 * whole(forward, "shared_bytes")
    assert whole(back, "fma_ops") == 2 * whole(forward, "fma_ops")
    assert whole(back, "special_ops") == whole(forward, "special_ops")
    # dQ is added up in fp32 once for every tile of queries and keys, where the forward kernel reads keys and values.
    added = whole(forward, "l2_read_bytes") * 4 / (2 * 2)
    assert whole(back, "l2_write_bytes") == whole(forward, "l2_write_bytes") + added
    assert back.overlap == forward.overlap


def test_cold_operands_come_from_dram_once() -> None:
    sums, back, narrow = kernels(CAUSAL)
    assert whole(sums, "dram_read_bytes") == pytest.approx(2 * QUERIES)
    assert whole(back, "dram_read_bytes") == pytest.approx(2 * QUERIES + KEYS)
    assert whole(narrow, "l2_read_bytes") == pytest.approx(2 * QUERIES)  # fp32
    assert whole(narrow, "l2_write_bytes") == pytest.approx(QUERIES)
    assert whole(sums, "fma_ops") == pytest.approx(2 * QUERIES / 2)
    assert [each.kernel for each in (sums, back, narrow)] == ["attention_sums", "attention", "attention_narrow"]


def test_the_serving_module_is_not_around_a_backward_kernel() -> None:
    module = Conditions(cache=COLD, attention_module=True)
    assert [plain(each.latency.extra_launches) for each in kernels(CAUSAL, module)] == [0.0, 0.0, 0.0]


def test_an_update_is_one_pass() -> None:
    (kernel,) = kernels(OptimizerStep(10**6, 8 * 10**6, dtype="fp16", gradient_dtype="fp32"))
    assert whole(kernel, "l2_read_bytes") == pytest.approx((4 + 2 + 8) * 10**6)
    assert whole(kernel, "l2_write_bytes") == pytest.approx((2 + 8) * 10**6)
    assert whole(kernel, "fma_ops") == pytest.approx(12 * 10**6)


@pytest.mark.parametrize("op", [CAUSAL, UNMASKED, OptimizerStep(10**7, 10**8, dtype="fp16")], ids=lambda op: op.op)
def test_never_below_the_roofline(op: AttentionBackward | OptimizerStep) -> None:
    gpu = round_gpu()
    assert float(predict(op, gpu, CONDITIONS).time_s[0]) >= float(least_seconds(op, gpu, COLD))
