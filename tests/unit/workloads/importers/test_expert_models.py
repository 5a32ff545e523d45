"""Graphs of models with experts and latent attention: which operators a layer becomes, and how GPUs share it."""

from __future__ import annotations

import pytest

from simexplore.workloads import catalog
from simexplore.workloads.families.decoder.graph import build_decode
from simexplore.workloads.families.decoder.options import DecodeOptions
from simexplore.workloads.families.decoder.readers import decoder_of
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Add, AllReduce, Gemm, MlaDecode, MlaPrefill, Moe, Operator, Pointwise, RmsNorm

V3, LITE = "llm/deepseek-v3", "llm/deepseek-v2-lite"


def layer(graph: Graph, index: int) -> dict[str, Node]:
    group = f"layer{index}"
    return {node.name.removeprefix(f"{group}."): node for node in graph.nodes if node.group == group}


def ops(graph: Graph, index: int) -> dict[str, Operator]:
    return {name: node.op for name, node in layer(graph, index).items()}


def test_a_decode_step_of_latent_attention_absorbs_the_projection_of_keys_and_values() -> None:
    graph = catalog.build(f"{V3}/decode", {"batch": 5, "context": 300, "layers": 4, "kv_dtype": "fp8"})
    found = ops(graph, 3)
    assert list(found)[:9] == [
        *("attention_norm", "qkv_down", "query_norm", "query_up", "kv_norm"),
        *("absorb", "attention", "expand", "projection"),
    ]
    assert found["qkv_down"] == Gemm(5, 1536 + 512 + 64, 7168)
    assert found["query_norm"] == RmsNorm(5, 1536, "bf16")
    assert found["query_up"] == Gemm(5, 128 * 192, 1536)
    assert found["kv_norm"] == RmsNorm(5, 512, "bf16")
    assert found["absorb"] == Gemm(5, 512, 128, batch=128)
    assert found["attention"] == MlaDecode(5, 128, 300, 512, 64, "bf16", "fp8")
    assert found["expand"] == Gemm(5, 128, 512, batch=128)
    assert found["projection"] == Gemm(5, 7168, 128 * 128)
    attention = layer(graph, 3)["attention"]
    assert attention.module
    assert attention.after == ("layer3.absorb", "layer3.query_up", "layer3.kv_norm", "layer3.qkv_down")


def test_a_prefill_of_latent_attention_expands_keys_and_values() -> None:
    graph = catalog.build(f"{LITE}/prefill", {"batch": 2, "prompt": 30, "layers": 2})
    found = ops(graph, 1)  # without a narrow vector of queries
    assert list(found)[:7] == ["attention_norm", "query", "kv_down", "kv_norm", "kv_up", "attention", "projection"]
    assert found["query"] == Gemm(60, 16 * 192, 2048)
    assert found["kv_down"] == Gemm(60, 576, 2048)
    assert found["kv_up"] == Gemm(60, 16 * 256, 512)
    assert found["attention"] == MlaPrefill(2, 16, 30, 30, 128, 64, 128, 512)
    assert layer(graph, 1)["kv_down"].after == ("layer1.query", "layer1.attention_norm")
    assert layer(graph, 1)["attention"].after == ("layer1.kv_up", "layer1.query", "layer1.kv_down")


def test_narrow_types_reach_latents_and_experts() -> None:
    decode, prefill = (
        ops(catalog.build(f"{V3}/{phase}", {"layers": 4, "dtype": "fp8", "batch": 2}), 3)
        for phase in ("decode", "prefill")
    )
    norms = [decode["query_norm"], decode["kv_norm"], prefill["kv_norm"], decode["ffn_norm"]]
    assert [norm.output_dtype for norm in norms if isinstance(norm, RmsNorm)] == ["fp8", None, "fp8", None]
    gemms = [decode[name] for name in ("qkv_down", "absorb", "expand", "projection", "shared_gate_up", "shared_down")]
    given = [(gemm.dtype, gemm.activation_dtype) for gemm in gemms if isinstance(gemm, Gemm)]
    wide, narrow = ("fp8", "bf16"), ("fp8", None)
    assert given == [narrow, wide, wide, wide, wide, narrow]
    assert decode["router"] == Gemm(2, 256, 7168, dtype="bf16")
    dense = ops(catalog.build(f"{V3}/decode", {"layers": 1, "dtype": "fp8"}), 0)["ffn_norm"]
    assert isinstance(dense, RmsNorm)
    assert dense.output_dtype == "fp8"


def test_the_first_layers_are_dense_and_the_others_have_routed_and_shared_experts() -> None:
    graph = catalog.build(f"{V3}/decode", {"layers": 4, "batch": 3, "skew": 120})
    assert [any(isinstance(op, Moe) for op in ops(graph, index).values()) for index in range(4)] == [0, 0, 0, 1]
    dense, mixed = ops(graph, 2), ops(graph, 3)
    assert dense["gate_up"] == Gemm(3, 2 * 18432, 7168)
    assert list(mixed)[10:] == [
        *("router", "experts", "shared_gate_up", "shared_activation", "shared_down", "add_shared"),
    ]
    assert mixed["experts"] == Moe(3, 7168, 2048, 8, 256, skew=120)
    assert mixed["shared_gate_up"] == Gemm(3, 2 * 2048, 7168)
    assert mixed["add_shared"] == Add(3 * 7168)
    after = {name: node.after for name, node in layer(graph, 3).items()}
    assert after["router"] == ("layer3.ffn_norm",)
    assert after["experts"] == ("layer3.router", "layer3.ffn_norm")
    assert after["shared_gate_up"] == ("layer3.experts", "layer3.ffn_norm")
    assert after["add_shared"] == ("layer3.shared_down", "layer3.experts")


def test_experts_without_shared_ones_end_with_their_sum() -> None:
    graph = catalog.build("llm/mixtral-8x7b/prefill", {"prompt": 20, "layers": 1})
    assert list(ops(graph, 0))[-2:] == ["router", "experts"]
    assert ops(graph, 0)["experts"] == Moe(20, 4096, 14336, 2, 8)


def test_qwen_2_weighs_its_shared_experts() -> None:
    config = {
        "model_type": "qwen2_moe",
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "vocab_size": 100,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 48,
        "hidden_act": "silu",
        "intermediate_size": 16,
    }
    graph = build_decode(decoder_of(config, "q", "q"), "q", DecodeOptions(batch=3))
    found = ops(graph, 0)
    assert list(found)[-2:] == ["shared_gate", "add_shared"]
    assert found["shared_gate"] == Gemm(3, 1, 64)
    assert found["add_shared"] == Pointwise(3 * 64, 2, 1, 2, "bf16", "weigh_add")
    assert layer(graph, 0)["add_shared"].after == ("layer0.shared_gate", "layer0.shared_down", "layer0.experts")


@pytest.mark.parametrize(("gpus", "groups"), [(8, 1), (8, 4), (8, 8)])
def test_gpus_divide_experts_and_what_is_in_them(gpus: int, groups: int) -> None:
    shared = {"tensor_parallel": gpus, "expert_parallel": groups, "layers": 4}
    graph = catalog.build(f"{V3}/decode", shared)
    found = ops(graph, 3)
    assert found["experts"] == Moe(1, 7168, 2048, 8, 256, moe_tp_size=gpus // groups, moe_ep_size=groups)
    assert found["shared_gate_up"] == Gemm(1, 2 * 2048 // gpus, 7168)
    assert found["query_up"] == Gemm(1, 128 * 192 // gpus, 1536)
    assert found["qkv_down"] == Gemm(1, 2112, 7168)  # whole on every GPU
    reductions = [node.name for node in graph.nodes if isinstance(node.op, AllReduce) and node.group == "layer3"]
    assert reductions == ["layer3.attention_all_reduce", "layer3.ffn_all_reduce"]


def test_what_gpus_hold_of_experts_adds_up() -> None:
    """However they are divided: a GPU of eight holds an eighth of the experts, and the router whole."""
    held = [
        catalog.build("llm/mixtral-8x7b/decode", {"tensor_parallel": 8, "expert_parallel": groups}).resident_bytes[
            "weights"
        ]
        for groups in (1, 2, 8)
    ]
    assert held[0] == held[1] == held[2]
    model = MODELS["mixtral-8x7b"]
    experts, router = 8 * 3 * 4096 * 14336, 8 * 4096
    attention = 4096 * (32 + 2 * 8) * 128 + 4096 * 4096
    norms = 2 * 4096
    assert model.layer_parameters == 32 * (experts + router + attention + norms)
    layers = 32 * (experts / 8 + router + attention / 8 + norms)
    outer = 4096 * (model.vocabulary + model.vocabulary // 8) + 4096
    assert held[0] == 2 * (layers + outer)


def test_latents_are_cached_whole_on_every_gpu() -> None:
    caches = [
        catalog.build(f"{V3}/decode", {"tensor_parallel": gpus, "context": 10}).resident_bytes["kv_cache"]
        for gpus in (1, 8)
    ]
    assert caches == [2 * 576 * 61 * 10] * 2
