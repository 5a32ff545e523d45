"""Language models by their configurations: parameters, KV cache, and the graphs of their families."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from checkout import ROOT

from simexplore.workloads import catalog
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.families.llm import FAMILIES, MODELS
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.importers.imported import Imported, to_yaml
from simexplore.workloads.ops import (
    Attention,
    AttentionDecode,
    AttentionPrefill,
    GdnDecode,
    GdnPrefill,
    Gelu,
    Gemm,
    LayerNorm,
    MlaDecode,
    MlaPrefill,
    Norm,
    Pointwise,
    RmsNorm,
    SiluMul,
)

ROUNDED = {"gpt-3-13b", "qwen3.5-9b"}
"""GPT-3's table prints 13.0 billion, and its own widths make 12.85; Qwen's card prints 9, and its widths make 8.954."""
SIZES = 3


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_its_parameters_are_those_that_its_makers_publish(model: Decoder) -> None:
    within = 0.02 if model.name in ROUNDED else 0.005
    assert model.published_parameters > 0
    assert model.parameters == pytest.approx(model.published_parameters, rel=within)
    assert model.source


def test_twelve_families_have_three_sizes() -> None:
    assert sum(len(models) >= SIZES for models in FAMILIES.values()) >= 12


EXACT = {
    "llama-2-70b": 68976648192,
    "gemma-2-27b": 27227128320,
    "gemma-3-1b": 999885952,
    "pythia-12b": 11846072320,
    "gpt-neox-20b": 20554567680,
    "phi-2": 2779683840,
    "phi-4-mini": 3836021760,
    "qwen2.5-7b": 7615616512,
    "smollm2-360m": 361821120,
    "mixtral-8x7b": 46702792704,
    "deepseek-v3": 671026419200,
}
"""A model of each kind of layer, to the last norm and bias; `transformers` 5.24 counts them so on its meta device, but
for DeepSeek-V3's 256 corrections in each of 58 routers, which it holds as buffers."""


@pytest.mark.parametrize(("name", "parameters"), EXACT.items())
def test_parameters_are_exact(name: str, parameters: int) -> None:
    assert MODELS[name].parameters == parameters


KV_BYTES = {
    "llama-2-7b": 2 * 2 * 32 * 128 * 32,
    "llama-3-8b": 2 * 2 * 8 * 128 * 32,
    "llama-3.1-405b": 2 * 2 * 8 * 128 * 126,
    "mistral-nemo-12b": 2 * 2 * 8 * 128 * 40,
    "qwen2.5-72b": 2 * 2 * 8 * 128 * 80,
    "qwen3-30b-a3b": 2 * 2 * 4 * 128 * 48,
    "gemma-2-9b": 2 * 2 * 8 * 256 * 42,
    "gemma-3-1b": 2 * 2 * 1 * 256 * 26,
    "phi-3-mini": 2 * 2 * 32 * 96 * 32,
    "pythia-410m": 2 * 2 * 16 * 64 * 24,
    "gpt-oss-120b": 2 * 2 * 8 * 64 * 36,
    "deepseek-v3": 2 * (512 + 64) * 61,
    "deepseek-v2-lite": 2 * (512 + 64) * 27,
    "yi-34b": 2 * 2 * 8 * 128 * 60,
}
"""Of a token in bf16: two bytes, keys and values, heads, width, layers. Of MLA two narrow parts."""


@pytest.mark.parametrize(("name", "kv_bytes"), KV_BYTES.items())
def test_kv_bytes_of_a_token_are_exact(name: str, kv_bytes: int) -> None:
    model = MODELS[name]
    assert 2 * model.kv_elements() == kv_bytes
    graph = catalog.build(f"llm/{name}/decode", {"batch": 3, "context": 100})
    assert graph.resident_bytes["kv_cache"] == 300 * kv_bytes


def told_kv_elements(config: dict[str, Any]) -> int:
    """Elements of a token's cache by a model's `config.json`, read apart from the readers."""

    def first(*names: str) -> int:
        return int(next(config[name] for name in names if name in config))

    layers = first("num_hidden_layers", "n_layer") // int(config.get("full_attention_interval", 1))
    if "kv_lora_rank" in config:
        return layers * (int(config["kv_lora_rank"]) + int(config["qk_rope_head_dim"]))
    heads = first("num_attention_heads", "n_head")
    width = int(config.get("head_dim") or first("hidden_size", "n_embd") // heads)
    return layers * 2 * int(config.get("num_key_value_heads") or heads) * width


CONFIGS = {
    name: entry["config"]
    for file in sorted((ROOT / "workloads" / "families" / "configs").glob("*.json"))
    for models in json.loads(file.read_text(encoding="utf-8")).values()
    for name, entry in models.items()
}


@pytest.mark.parametrize("name", MODELS)
def test_kv_bytes_of_every_model_are_those_of_its_configuration(name: str) -> None:
    elements = told_kv_elements(CONFIGS[name])
    assert MODELS[name].kv_elements() == elements
    graph = catalog.build(f"llm/{name}/decode", {"batch": 3, "context": 7, "kv_dtype": "fp8"})  # no window is shorter
    assert graph.resident_bytes["kv_cache"] == 21 * elements


THREE_SIZES = [name for models in FAMILIES.values() if len(models) >= SIZES for name in list(models)[:SIZES]]


@pytest.mark.parametrize("name", THREE_SIZES)
def test_three_sizes_of_every_family_survive_yaml(name: str) -> None:
    for phase in ("prefill", "decode"):
        graph = catalog.build(f"llm/{name}/{phase}", {"layers": 2, "batch": 3})
        text = to_yaml(Imported(graph), name)
        assert from_data(yaml.load(text, yaml.CSafeLoader)) == graph
    assert len(THREE_SIZES) >= 12 * SIZES


def test_layers_with_a_window_cache_no_more_than_it() -> None:
    model = MODELS["gemma-3-1b"]  # 22 of 26 layers see 512 tokens
    assert model.kv_elements(1000) == 2 * 256 * (22 * 512 + 4 * 1000)
    graph = catalog.build("llm/gemma-3-1b/decode", {"context": 1000})
    windows = [node.op.window for node in graph.nodes if isinstance(node.op, AttentionDecode)]
    assert windows == [0 if index % 6 == 5 else 512 for index in range(26)]
    assert graph.resident_bytes["kv_cache"] == 2 * model.kv_elements(1000)


def test_a_window_that_sees_all_is_none() -> None:
    for context, window in ((4096, 0), (4097, 4096)):
        graph = catalog.build("llm/mistral-7b-v0.1/prefill", {"prompt": context, "layers": 1})
        attention = next(node.op for node in graph.nodes if isinstance(node.op, AttentionPrefill))
        assert attention.window == window


ACTIVE = {
    "mixtral-8x7b": (12.9e9, 0.005),
    "mixtral-8x22b": (39.1e9, 0.005),
    "deepseek-v2": (21.4e9, 0.005),
    "deepseek-v3": (37e9, 0.02),
    "qwen3-30b-a3b": (3.3e9, 0.02),
    "qwen3-235b-a22b": (22e9, 0.02),
}
"""Parameters that a token goes through, as the makers print them, and how far they round."""


@pytest.mark.parametrize(("name", "published", "within"), [(name, *told) for name, told in ACTIVE.items()])
def test_a_token_goes_through_as_many_parameters_as_published(name: str, published: float, within: float) -> None:
    assert MODELS[name].active_parameters == pytest.approx(published, rel=within)


def test_gpt_oss_counts_its_active_parameters_without_the_embedding() -> None:
    for name, published in (("gpt-oss-20b", 3.61e9), ("gpt-oss-120b", 5.13e9)):  # table 1 of its model card
        model = MODELS[name]
        assert model.active_parameters - model.hidden * model.vocabulary == pytest.approx(published, rel=0.002)


def names(graph: Graph, group: str = "layer1") -> list[str]:
    return [node.name.removeprefix(f"{group}.") for node in graph.nodes if node.group == group]


def node(graph: Graph, name: str) -> Node:
    return next(node for node in graph.nodes if node.name == name)


def test_gemma_has_norms_around_each_part() -> None:
    graph = catalog.build("llm/gemma-2-2b/decode", {"layers": 2, "dtype": "fp8"})
    assert names(graph) == [
        *("attention_norm", "qkv", "attention", "projection", "attention_post_norm"),
        *("ffn_norm", "gate_up", "activation", "down", "ffn_post_norm"),
    ]
    assert node(graph, "layer1.ffn_norm").after == ("layer1.attention_post_norm", "layer1.attention_norm")
    assert node(graph, "layer1.attention_norm").after == ("layer0.ffn_post_norm", "layer0.ffn_norm")
    residuals = [each.op.residual for each in graph.nodes if isinstance(each.op, Norm) and each.group == "layer1"]
    assert residuals == [1, 0, 1, 0]
    written = {each.name: each.op.output_dtype for each in graph.nodes if isinstance(each.op, Norm)}
    assert written["layer1.attention_norm"] == written["layer1.ffn_norm"] == "fp8"
    assert written["layer1.attention_post_norm"] is None
    # The general elementwise operator can't narrow what it writes: the GEMM after it reads bf16.
    down, up = node(graph, "layer1.down").op, node(graph, "layer1.gate_up").op
    assert isinstance(down, Gemm)
    assert isinstance(up, Gemm)
    assert (up.activation_dtype, down.activation_dtype) == (None, "bf16")


def test_the_first_residual_is_the_embedding() -> None:
    graph = catalog.build("llm/llama-3-8b/decode", {"layers": 2})
    assert node(graph, "layer0.attention_norm").after == ("embedding",)
    assert node(graph, "layer0.ffn_norm").after == ("layer0.projection", "embedding")
    assert node(graph, "layer1.attention_norm").after == ("layer0.down", "layer0.ffn_norm")
    assert node(graph, "layer1.ffn_norm").after == ("layer1.projection", "layer1.attention_norm")
    assert node(graph, "norm").after == ("layer1.down", "layer1.ffn_norm")
    residuals = [each.op.residual for each in graph.nodes if isinstance(each.op, Norm)]
    assert residuals == [0, 1, 1, 1, 1]


def test_activations_and_norms_are_those_of_the_family() -> None:
    gemma, llama, gpt = (
        catalog.build(f"llm/{name}/decode", {"layers": 1, "batch": 3}) for name in ("gemma-2-2b", "llama-3-8b", "gpt2")
    )
    assert node(gemma, "layer0.activation").op == Pointwise(3 * 9216, 2, 1, 9, "bf16", "gelu_mul")
    assert node(llama, "layer0.activation").op == SiluMul(3 * 14336, "bf16")
    assert node(gpt, "layer0.activation").op == Gelu(3 * 3072, "bf16")
    assert node(llama, "layer0.ffn_norm").op == RmsNorm(3, 4096, "bf16", 1)
    assert node(gpt, "layer0.ffn_norm").op == LayerNorm(3, 768, "bf16", 1)
    assert node(gpt, "norm").op == LayerNorm(3, 768, "bf16", 1)
    assert node(llama, "lm_head").op == Gemm(3, 128256, 4096)


def test_qwen_3_normalises_heads() -> None:
    graph = catalog.build("llm/qwen3-8b/prefill", {"layers": 2, "prompt": 10, "batch": 3})
    assert names(graph)[1:5] == ["qkv", "query_norm", "key_norm", "attention"]
    rows = [(each.op.rows, each.op.cols) for each in graph.nodes if each.name.endswith(("query_norm", "key_norm"))]  # type: ignore[attr-defined]
    assert rows == [(30 * 32, 128), (30 * 8, 128)] * 2
    assert node(graph, "layer1.attention").after == ("layer1.key_norm", "layer1.qkv")


def test_neox_runs_both_parts_on_one_sum_and_phi_on_one_norm() -> None:
    neox = catalog.build("llm/pythia-1.4b/decode", {"layers": 2})
    assert names(neox)[-5:] == ["ffn_norm", "up", "activation", "down", "residual"]
    assert node(neox, "layer1.ffn_norm").after == ("layer1.projection", "layer0.residual")
    assert node(neox, "layer1.residual").after == ("layer1.down", "layer1.projection", "layer0.residual")
    total = node(neox, "layer1.residual").op
    assert isinstance(total, Pointwise)
    assert (total.elements, total.inputs, total.flops) == (2048, 3, 4096)
    phi = catalog.build("llm/phi-2/decode", {"layers": 2})
    assert "ffn_norm" not in names(phi)
    assert node(phi, "layer1.up").after == ("layer1.projection", "layer1.attention_norm")
    assert all(each.op.residual == 0 for graph in (neox, phi) for each in graph.nodes if isinstance(each.op, Norm))


@pytest.mark.parametrize("models", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("gpus", [1, 2])
def test_graphs_survive_plain_data_and_are_shared(models: dict[str, Decoder], gpus: int) -> None:
    model = next(iter(models.values()))
    layer = model.layers[0].attention
    if layer.heads % gpus:
        pytest.skip(f"{layer.heads} heads can't be shared")
    for phase in ("prefill", "decode"):
        graph = catalog.build(f"llm/{model.name}/{phase}", {"layers": 3, "tensor_parallel": gpus})
        assert from_data(to_data(graph)) == graph
        kinds = Attention | MlaPrefill | MlaDecode | GdnPrefill | GdnDecode
        heads = [each.op.heads for each in graph.nodes if isinstance(each.op, kinds)]
        assert heads == [layer.heads // gpus] * 3
        for each in graph.nodes:
            each.op.validate()


def test_the_documentation_has_every_model() -> None:
    text = (ROOT / "docs" / "models" / "models.md").read_text(encoding="utf-8")
    for family, models in FAMILIES.items():
        for name, model in models.items():
            kept = f"{2 * model.kv_elements():,}"
            billions = f"{model.parameters / 1e9:.3f} | {model.active_parameters / 1e9:.3f}"
            row = f"| {family} | `{name}` | {billions} | {kept} | {model.source} |"
            assert row in text
