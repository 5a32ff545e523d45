"""What must hold on any machine: never below the roofline, and more hardware is never slower."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_machines import machines, operators, with_values

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, SERVING, WARM, CacheState, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads import ops

STATES = st.sampled_from([COLD, SERVING, WARM])
FACTORS = st.floats(1.0, 16.0)
ROUNDING = 1e-9
ROWS_IN_FLIGHT = {"softmax": 1.0, "layernorm": 0.5, "rmsnorm": 0.5}
"""More SMs hold more rows at once, which may no longer fit L2: what is read again then comes from DRAM, beside one read
and one write."""
SPLIT_BY_RULE = 0.3
"""Decode splits its keys by a rule of the engine that counts SMs, and one split more can cost more than it gains."""
MERGED_APART = 2.0
"""The same over a latent cache, where the rule of a B200 splits to fill a wave: what then merges can take longer than
all the rest."""


CHOSEN_COLD = 1.0
"""A GEMM library chooses as if operands were cold: the best then may not be the best with warm ones, on either GPU."""


def slack_of(op: ops.Operator, cache: CacheState) -> float:
    """By how much a choice of a library's may cost more on the better machine; nothing where it knows what there is."""
    return CHOSEN_COLD if isinstance(op, ops.Gemm) and cache != COLD else ROUNDING


def with_one_decode_kernel(gpu: Gpu) -> Gpu:
    """The GPU without the engine's rule that leaves the grouped decode kernel by a count of SMs, not by time."""
    attention = gpu.attention_kernels
    grouped = attention.grouped.model_copy(update={"least_ctas_per_sm": 1e-6})
    attention = attention.model_copy(update={"grouped": grouped})
    return gpu.model_copy(update={"library": gpu.library.model_copy(update={"attention": attention})})


def seconds(op: ops.Operator, gpu: Gpu, cache: CacheState) -> float:
    return float(predict(op, gpu, Conditions(cache=cache)).time_s[0])


UNLIMITED_W = 1e9
"""A power limit that holds no kernel back; `test_power.py` has what the limit does to one and the same kernel."""


@settings(max_examples=400)
@given(machines(), operators())
def test_never_below_the_roofline(gpu: Gpu, op: ops.Operator) -> None:
    rates = gpu.sm.tensor_ops_per_clk if op.dtype in gpu.sm.tensor_ops_per_clk else gpu.sm.fma_ops_per_clk
    compute_s = float(op.matmul_flops) / (gpu.sm.count * gpu.clock.top_hz * rates.get(op.dtype, 1.0))
    memory_s = float(op.min_bytes - op.output_bytes) / gpu.dram.bandwidth_bytes_per_s
    assert seconds(op, gpu, COLD) >= max(compute_s, memory_s) * (1.0 - ROUNDING)


@settings(max_examples=400)
@given(machines(), operators(), FACTORS, STATES)
@pytest.mark.parametrize("path", ["dram__bandwidth_bytes_per_s", "l2__bandwidth_bytes_per_clk"])
def test_more_bandwidth_is_never_slower(
    path: str, gpu: Gpu, op: ops.Operator, factor: float, cache: CacheState
) -> None:
    part, field = path.split("__")
    # At a power limit the library, which knows none, may choose a kernel that is faster at boost and hungrier.
    gpu = with_values(gpu, power__tdp_w=UNLIMITED_W)
    faster = with_values(gpu, **{path: getattr(getattr(gpu, part), field) * factor})
    assert seconds(op, faster, cache) <= seconds(op, gpu, cache) * (1.0 + slack_of(op, cache))


@settings(max_examples=400)
@given(machines(), operators(), FACTORS, STATES)
def test_more_sms_are_never_slower(gpu: Gpu, op: ops.Operator, factor: float, cache: CacheState) -> None:
    # At a power limit the library, which knows none, may choose a hungrier kernel for more SMs.
    gpu = with_values(with_one_decode_kernel(gpu), power__tdp_w=UNLIMITED_W)
    larger = with_values(gpu, sm__count=int(gpu.sm.count * factor))
    split = {ops.AttentionDecode.op: SPLIT_BY_RULE, ops.MlaDecode.op: MERGED_APART}
    slack = {**ROWS_IN_FLIGHT, **split}.get(op.op, slack_of(op, cache))
    assert seconds(op, larger, cache) <= seconds(op, gpu, cache) * (1.0 + slack)


@settings(max_examples=200)
@given(machines(), operators())
def test_warm_is_never_slower_than_cold(gpu: Gpu, op: ops.Operator) -> None:
    assert seconds(op, gpu, WARM) <= seconds(op, gpu, COLD) * (1.0 + ROUNDING)


@settings(max_examples=200)
@given(machines(), operators(), STATES)
def test_energy_is_at_least_that_of_idling(gpu: Gpu, op: ops.Operator, cache: CacheState) -> None:
    prediction = predict(op, gpu, Conditions(cache=cache))
    assert prediction.energy_j[0] >= gpu.power.idle_w * prediction.time_s[0]
