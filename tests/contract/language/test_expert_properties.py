"""What must hold of layers of experts and of attention over a latent cache on any machine that runs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_machines import expert_layers, latent_prefills

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import SERVING, WARM, Conditions
from simexplore.sim.estimate.operators import physics
from simexplore.workloads.ops import MlaDecode, MlaPrefill, Moe, Operator

MACHINES = st.sampled_from(
    [
        load_arch(name).physics_only()
        for name in ("nvidia/h100-sxm", "nvidia/b200", "nvidia/a100-sxm-80gb", "amd/mi300x")
    ]
)
STATES = st.sampled_from([SERVING, WARM])
STEPS = 0.02
"""Larger tiles, more of them in flight: a step of a choice may gain so much."""
SPLIT = 0.25
"""Decode splits by a rule of the engine, and one split less may gain so much."""


def seconds(op: Operator, gpu: Gpu, cache: Any = WARM) -> float:
    return float(physics(op, gpu, Conditions(cache=cache)).time_s[0])


LAYERS = st.builds(
    Moe,
    num_tokens=st.integers(1, 20_000),
    hidden_size=st.sampled_from([2048, 4096, 7168]),
    inter_size=st.sampled_from([1024, 1536, 4096, 14336]),
    topk=st.integers(1, 8),
    num_experts=st.sampled_from([32, 64, 256]),
    gated=st.integers(0, 1),
    dtype=st.sampled_from(["fp16", "bf16"]),
)
"""Of sizes that there are: products of fewer tiles than SMs wait for loads, which a second row of tiles shares."""


@settings(max_examples=150)
@given(LAYERS, MACHINES, STATES, st.integers(2, 5))
def test_more_tokens_are_never_faster(op: Moe, gpu: Gpu, cache: Any, factor: int) -> None:
    more = replace(op, num_tokens=op.num_tokens * factor)
    assert seconds(more, gpu, cache) >= seconds(op, gpu, cache) * (1.0 - STEPS)


@settings(max_examples=100)
@given(expert_layers(), MACHINES, st.sampled_from(["hidden_size", "inter_size"]))
def test_larger_experts_are_never_faster(op: Moe, gpu: Gpu, name: str) -> None:
    op = replace(op, hidden_size=512 * (1 + op.hidden_size % 16), inter_size=128 * op.moe_tp_size)
    larger = replace(op, **{name: 2 * getattr(op, name)})
    assert seconds(larger, gpu) >= seconds(op, gpu) * (1.0 - STEPS)


@settings(max_examples=100)
@given(latent_prefills(), MACHINES, st.sampled_from(["batch", "heads", "seq_kv"]))
def test_more_prefill_is_never_faster(op: MlaPrefill, gpu: Gpu, name: str) -> None:
    more = replace(op, **{name: 2 * getattr(op, name)})
    assert seconds(more, gpu) >= seconds(op, gpu) * (1.0 - STEPS)


DECODES = st.builds(
    MlaDecode,
    batch=st.integers(1, 300),
    heads=st.integers(1, 128),
    seq_kv=st.integers(1, 70_000),
    dtype=st.just("fp16"),
)


@settings(max_examples=150)
@given(DECODES, MACHINES, st.sampled_from(["batch", "heads", "seq_kv"]))
def test_more_decode_is_never_faster(op: MlaDecode, gpu: Gpu, name: str) -> None:
    more = replace(op, **{name: 2 * getattr(op, name)})
    assert seconds(more, gpu) >= seconds(op, gpu) * (1.0 - SPLIT)


def test_up_to_64_heads_take_hopper_as_long_as_one() -> None:
    """The cache is read once for all of them, and no rule leaves the kernel for another: no cliff at any number."""
    gpu = load_arch("nvidia/h100-sxm")
    heads = np.arange(1, 65)
    times = physics(MlaDecode(128, heads, 4096), gpu, Conditions(cache=WARM)).time_s
    assert times.max() < 1.1 * times.min()
    one, two = (seconds(MlaDecode(128, count, 4096), gpu) for count in (64, 65))
    assert 1.0 < two / one < 2.0


def test_one_token_an_expert_takes_as_long_as_eight() -> None:
    """Their weights' bytes are all that counts, until products do."""
    gpu = load_arch("nvidia/h100-sxm")
    layer = Moe(np.array([32, 256, 16384]), 4096, 2048, 8, 256)
    few, some, many = physics(layer, gpu, Conditions(cache=WARM)).time_s
    assert few < some < 1.1 * few
    assert many > 2.0 * some


@pytest.mark.parametrize("skew", [101, 120])
def test_a_skewed_load_leaves_weights_unread_or_makes_a_rank_wait(skew: int) -> None:
    """Of one GPU: few tokens go to fewer experts. Of many: the busiest has more than its share."""
    gpu = load_arch("nvidia/h100-sxm")
    alone, shared = Moe(48, 4096, 2048, 8, 256), Moe(16384, 4096, 2048, 8, 256, moe_ep_size=32)
    assert seconds(replace(alone, skew=skew), gpu) < 0.9 * seconds(alone, gpu)
    assert seconds(replace(shared, skew=skew), gpu) > 1.5 * seconds(shared, gpu)


def test_weights_that_hold_no_data_are_held_back_less_by_the_power_limit() -> None:
    gpu = load_arch("nvidia/h100-sxm").physics_only()
    layer = Moe(16384, 4096, 14336, 2, 8)
    real, blank = (
        float(physics(layer, gpu, Conditions(cache=WARM, runs_before=3, activity=told)).time_s[0])
        for told in (1.0, 0.0)
    )
    assert blank < 0.95 * real
