"""Training steps of models of experts, of latent attention and of delta networks: gradients, and what they keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from simexplore.errors import SimexploreError
from simexplore.workloads import catalog
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import (
    AllReduce,
    CausalConv1d,
    CausalConv1dBackward,
    DeltaBackward,
    GdnPrefill,
    Gemm,
    MlaBackward,
    MlaPrefill,
    Moe,
    MoeBackward,
    Operator,
    OptimizerStep,
    parse_operator,
)
from simexplore.workloads.training.methods.low_rank import Method
from simexplore.workloads.training.methods.optimizers import AdamW
from simexplore.workloads.training.plan import Plan
from simexplore.workloads.training.step import training_step

TOKENS = 64
FEW = {"deepseek-v2-lite": 2, "deepseek-v3": 4, "mixtral-8x7b": 2, "gpt-oss-20b": 2, "qwen3-next-80b-a3b": 4}
"""Models that are unlike in their layers, and as many of these as show all kinds."""


def step(name: str = "mixtral-8x7b", **params: Any) -> Graph:
    return catalog.build(f"llm/{name}/train", {"tokens": TOKENS, "layers": FEW.get(name, 2), **params})


def named(graph: Graph, name: str) -> Node:
    return next(node for node in graph.nodes if node.name == name)


def flops_of(graph: Graph, phase: str, family: type[Operator]) -> float:
    nodes = [node for node in graph.nodes if isinstance(node.op, family) and node.group.endswith(phase)]
    assert nodes
    return sum(float(node.op.flops) for node in nodes)


@pytest.mark.parametrize("name", FEW)
def test_every_parameter_is_held_and_updated_once(name: str) -> None:
    graph = step(name)
    model = replace(MODELS[name], layers=MODELS[name].layers[: FEW[name]])
    assert graph.resident_bytes["weights"] == 2 * model.parameters
    assert graph.resident_bytes["gradients"] == 2 * model.parameters
    updated = sum(int(node.op.elements) for node in graph.nodes if isinstance(node.op, OptimizerStep))
    assert updated == model.parameters


@pytest.mark.parametrize("name", FEW)
def test_products_have_twice_the_flops_of_the_forward_pass(name: str) -> None:
    graph = step(name)
    assert flops_of(graph, "backward", Gemm) == 2 * flops_of(graph, "forward", Gemm)
    assert flops_of(graph, "backward", MoeBackward) == 2 * flops_of(graph, "forward", Moe)


def test_latent_attention_and_scans_have_gradients_of_their_own() -> None:
    latent, hybrid = step("deepseek-v2-lite"), step("qwen3-next-80b-a3b")
    ratio = (3 * 192 + 2 * 128) / (192 + 128)
    assert flops_of(latent, "backward", MlaBackward) == pytest.approx(ratio * flops_of(latent, "forward", MlaPrefill))
    scan = next(node.op for node in hybrid.nodes if isinstance(node.op, GdnPrefill))
    assert scan.carried == 0, "a step begins with zeros"
    assert flops_of(hybrid, "backward", DeltaBackward) == pytest.approx(
        2 * flops_of(hybrid, "forward", GdnPrefill) + 3 * TOKENS * 32 * 4 * 128 * 128
    )
    of_taps = flops_of(hybrid, "backward", CausalConv1dBackward) / flops_of(hybrid, "forward", CausalConv1d)
    assert of_taps == (6 * 4 + 10) / (2 * 4 + 4)


def test_gradients_of_experts_read_what_the_forward_pass_keeps_of_pairs() -> None:
    graph = step()
    experts = named(graph, "layer1.experts")
    pairs, hidden, inter = 2 * TOKENS, 4096, 14336
    assert experts.output_bytes == 2 * (TOKENS * hidden + pairs * (hidden + 3 * inter))
    back, weights = named(graph, "layer1.experts.backward"), named(graph, "layer1.experts.weights_backward")
    assert back.reads == ("norm.backward", "layer1.experts")
    assert weights.reads == ("layer1.experts.backward", "layer1.experts")
    # To the gradient of the norm go those of the experts and of the router.
    assert named(graph, "layer1.ffn_norm.sum").reads == ("layer1.experts.backward", "layer1.router.backward")
    assert named(graph, "layer1.router.backward").reads == ("layer1.experts.backward",)


def test_nothing_flows_back_along_the_order_of_a_stream() -> None:
    graph = step("deepseek-v3")
    assert named(graph, "layer3.shared_gate_up").reads == ("layer3.ffn_norm",)
    assert named(graph, "layer3.experts.backward").reads[0] == named(graph, "layer3.shared_down.backward").reads[0]
    hybrid = step("qwen3-next-80b-a3b")
    assert named(hybrid, "layer0.qkvz").reads == ("layer0.attention_norm",)
    assert named(hybrid, "layer0.rates").reads == ("layer0.rates_projection",)
    # Slices of one product lie side by side: no kernel adds the convolution's and the gate's gradients up.
    assert named(hybrid, "layer0.qkvz.backward").reads == ("layer0.gated_norm.backward", "layer0.convolution.backward")
    latent = step("deepseek-v2-lite")
    assert named(latent, "layer1.kv_norm").reads == ("layer1.kv_down",)
    assert named(latent, "layer1.kv_down").reads == ("layer1.attention_norm",)


def test_recomputation_does_experts_and_latent_attention_again() -> None:
    full, some = step("deepseek-v2-lite", recompute="full"), step("deepseek-v2-lite", recompute="attention")
    assert {node.name for node in full.nodes if isinstance(node.op, Moe)} == {
        "layer1.experts", "layer1.experts.again",
    }  # fmt: skip
    assert named(full, "layer1.experts").output_bytes == 2 * TOKENS * 2048
    assert named(full, "layer1.experts.again").output_bytes > named(full, "layer1.experts").output_bytes
    again = [node.name for node in some.nodes if node.name.endswith(".again")]
    assert again == ["layer1.attention.again", "layer0.attention.again"]


def test_gpus_divide_experts_and_reduce_as_of_dense_layers() -> None:
    graph = step("mixtral-8x7b", tensor_parallel=4, expert_parallel=4)
    op = named(graph, "layer1.experts.weights_backward").op
    assert op == MoeBackward(TOKENS, 4096, 14336, 2, 8, 1, 4, of="weights")
    assert op.output_bytes == 2 * 2 * 3 * 4096 * 14336
    assert sum(isinstance(node.op, AllReduce) for node in graph.nodes) == 1 + 2 * 4
    assert named(graph, "layer1.ffn_norm.all_reduce_backward").reads[0] == "layer1.ffn_norm.sum"


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("mixtral-8x7b", {"sequence": "parallel", "tensor_parallel": 2}, "leave them out"),
        ("deepseek-v2-lite", {"attention": "unfused"}, "leave them out"),
        ("mixtral-8x7b", {"optimizer": "lora"}, "adapters beside moe are not known: take galore"),
        ("mixtral-8x7b", {"dtype": "fp8"}, "no gradient of moe of fp8 is known"),
        ("mixtral-8x7b", {"tensor_parallel": 2, "expert_parallel": 3}, "expert_parallel=3 must divide"),
    ],
)
def test_what_is_not_known_is_one_line(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        step(name, **params)


def test_any_graph_of_scans_is_trained_but_from_carried_states() -> None:
    ops = {
        "kda": "kda_prefill(batch=1,heads=4,seq_q=128,carried={},dtype=bf16)",
        "ssd": "ssd_prefill(batch=1,heads=16,seq_q=128,groups=1,dtype=bf16)",
    }
    plan = Plan(Method(AdamW()))
    for text, seed in ((ops["kda"].format(0), 4 * 128 * 384), (ops["ssd"], 16 * 64 * 128)):
        up = Node.of("up", parse_operator(f"gemm(m=128,n={seed // 128},k=64,dtype=bf16)"))
        graph = training_step(Graph("net", (up, Node.of("scan", parse_operator(text), ["up"]))), plan)
        assert named(graph, "up.weights_backward").reads[0] == "scan.backward"
    scan = Node.of("scan", parse_operator(ops["kda"].format(1)), ["up"])
    with pytest.raises(SimexploreError, match="with carried=1 is known"):
        training_step(Graph("net", (up, scan)), plan)
