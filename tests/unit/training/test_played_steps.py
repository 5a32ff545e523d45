"""Training steps as events: exchanges run beside the backward pass, and recomputation trades time for memory."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.play.result import Run
from simexplore.sim.training.parts import seconds_by_group


@cache
def machine() -> Gpu:
    return load_arch("nvidia/a100-sxm-80gb")


def played(**params: Any) -> Run:
    return simexplore.simulate("llm/llama-2-7b/train", machine(), {"tokens": 2048, "layers": 2, **params})


@pytest.fixture(scope="module")
def alone() -> Run:
    return played()


def test_gradients_are_added_up_beside_the_backward_pass(alone: Run) -> None:
    shared = played(data_parallel=8)
    exchanges = [op for op in shared.ops if "gradients_all_reduce" in op.name]
    in_all_s = sum(op.time_s for op in exchanges)
    assert len(exchanges) == 4
    assert alone.time_s < shared.time_s < alone.time_s + in_all_s
    started = {op.name: op.start_s for op in shared.ops}
    ended = {op.name: op.start_s + op.time_s for op in shared.ops}
    assert started["layer1.gradients_all_reduce"] < started["embedding.weights_backward"]
    assert all(started[op.name] >= ended[op.name] - op.time_s for op in exchanges)
    assert min(started[name] for name in started if name.endswith(".update")) >= max(ended[op.name] for op in exchanges)


def test_recomputation_trades_time_for_memory(alone: Run) -> None:
    selective, full = played(recompute="attention"), played(recompute="full")
    assert alone.time_s < selective.time_s < full.time_s
    assert full.peak_memory_bytes < alone.peak_memory_bytes


def test_activations_by_hand() -> None:
    """s b h (34 + 5 a s / h) for each layer of a GPT: Korthikanti et al., arXiv:2205.05198, equation 1."""
    heads, hidden, tokens, batch = 12, 768, 1024, 4
    peaks = [
        simexplore.simulate(
            "llm/gpt2/train", machine(),
            {"tokens": tokens, "batch": batch, "layers": layers, "attention": "unfused", "dtype": "fp16"},
        ).peak_memory_bytes
        for layers in (2, 4)
    ]  # fmt: skip
    held = 12 * hidden**2 * 4 * 2  # weights, gradients and two moments
    per_layer = (peaks[1] - peaks[0]) / 2 - held
    published = tokens * batch * hidden * (34 + 5 * heads * tokens / hidden)
    assert per_layer == pytest.approx(published, rel=0.002)


def test_parts_of_a_step_sum_up_to_it() -> None:
    graph = simexplore.load_workload("llm/llama-2-7b/train", {"tokens": 2048, "layers": 2})
    took = seconds_by_group(graph, machine())
    assert sum(took.values()) == pytest.approx(simexplore.estimate(graph, machine()).time_s)
    assert {name.split()[1] for name in took} == {"forward", "backward", "update"}
    assert took["layer0 forward"] == pytest.approx(took["layer1 forward"], rel=0.01)
