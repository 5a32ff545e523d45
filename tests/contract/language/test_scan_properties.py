"""What must hold of linear attention on any machine that runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import SERVING, WARM, Conditions
from simexplore.sim.estimate.operators import physics
from simexplore.workloads.ops import CausalConv1d, GdnDecode, GdnPrefill, KdaPrefill, Operator, SsdPrefill

MACHINES = st.sampled_from(
    [
        *(load_arch(name).physics_only() for name in ("nvidia/h100-sxm", "nvidia/l40s", "amd/mi300x")),
        load_arch("nvidia/h200-sxm", engine="vllm").physics_only(),
        load_arch("nvidia/b200", engine="sglang").physics_only(),
    ]
)
HEADS, TOKENS, SEQUENCES = st.sampled_from([4, 16, 48]), st.integers(1, 9000), st.integers(1, 64)
PREFILLS = st.one_of(
    st.builds(GdnPrefill, batch=SEQUENCES, heads=HEADS, key_heads=st.sampled_from([2, 4]), seq_q=TOKENS),
    st.builds(KdaPrefill, batch=SEQUENCES, heads=HEADS, seq_q=TOKENS),
    st.builds(SsdPrefill, batch=SEQUENCES, heads=HEADS, groups=st.sampled_from([1, 2]), seq_q=TOKENS),
    st.builds(CausalConv1d, batch=SEQUENCES, channels=st.sampled_from([256, 3072, 12288]), seq_q=TOKENS),
)
STEPS = 0.02
"""A wave that is full where one was not may gain so much."""


def seconds(op: Operator, gpu: Gpu, cache: Any = WARM) -> float:
    return float(physics(op, gpu, Conditions(cache=cache)).time_s[0])


@settings(max_examples=40, deadline=None)
@given(PREFILLS, MACHINES, st.sampled_from(["batch", "seq_q"]), st.integers(2, 4))
def test_more_tokens_are_never_faster(op: Any, gpu: Gpu, name: str, factor: int) -> None:
    if isinstance(op, CausalConv1d) and name == "seq_q":
        op = replace(op, seq_q=8 * op.seq_q)  # aligned sequences need no transposes
    more = replace(op, **{name: getattr(op, name) * factor})
    assert seconds(more, gpu) >= seconds(op, gpu) * (1.0 - STEPS)


@settings(max_examples=40, deadline=None)
@given(PREFILLS, MACHINES)
def test_never_below_the_roofline(op: Any, gpu: Gpu) -> None:
    pins = gpu.dram.bandwidth_bytes_per_s
    tensor = gpu.sm.count * gpu.sm.tensor_ops_per_clk["bf16"] * gpu.clock.top_hz
    written = op.min_bytes if op.written_bytes > 4 * gpu.l2.capacity_bytes else 0.0  # L2 may keep the rest
    assert seconds(op, gpu, SERVING) >= max(op.matmul_flops / tensor, 0.8 * written / pins)


@pytest.mark.parametrize("name", ["nvidia/h200-sxm", "nvidia/l40s"])
def test_a_step_is_bound_by_its_states(name: str) -> None:
    """States larger than L2 are read and written once: within a fifth of what DRAM's pins allow."""
    gpu = load_arch(name).physics_only()
    op = GdnDecode(batch=256, heads=32, key_heads=16)
    least = op.min_bytes / gpu.dram.bandwidth_bytes_per_s
    assert least < seconds(op, gpu) < 1.45 * least


def test_one_long_sequence_waits_for_its_chunks() -> None:
    """Few heads of one sequence leave SMs idle: eight sequences of the same length take hardly longer."""
    gpu = load_arch("nvidia/h200-sxm", engine="vllm").physics_only()
    one, eight = (GdnPrefill(batch=batch, heads=8, key_heads=4, seq_q=8192) for batch in (1, 8))
    assert seconds(eight, gpu) < 1.2 * seconds(one, gpu)
    assert seconds(replace(one, seq_q=2 * 8192), gpu) > 1.9 * seconds(one, gpu)
