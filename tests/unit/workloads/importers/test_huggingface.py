"""Models from `config.json`: what is read, and the one line that a damaged file gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import simexplore
from simexplore.errors import SimexploreError
from simexplore.workloads import catalog
from simexplore.workloads.families.decoder.config import ConfigError
from simexplore.workloads.families.decoder.readers import READERS, decoder_of
from simexplore.workloads.families.decoder.shape import Experts, Grouped, Latent
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.importers.huggingface import build, read_model

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "hidden_act": "silu",
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "q_lora_rank": None,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 2,
    "v_head_dim": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
}
GPT_2 = {"model_type": "gpt2", "n_embd": 64, "n_head": 8, "n_layer": 2, "n_positions": 32, "vocab_size": 100}
SAMPLES: dict[str, dict[str, Any]] = {
    **{family: {**LLAMA, "model_type": family} for family in READERS},
    "gpt2": GPT_2,
    "mixtral": {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {**LLAMA, "model_type": "gpt_oss", "num_local_experts": 4, "experts_per_token": 2},
    "qwen2_moe": {**LLAMA, "model_type": "qwen2_moe", **EXPERTS, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**LLAMA, "model_type": "qwen3_moe", **EXPERTS},
    **{
        family: {**LLAMA, "model_type": family, **EXPERTS, "shared_expert_intermediate_size": 32}
        for family in ("qwen3_next", "qwen3_5_moe", "qwen3_5_moe_text")
    },
    **{family: {**LLAMA, "model_type": family, **LATENT} for family in ("deepseek_v2", "deepseek_v3", "kimi_k2")},
}


def write(folder: Path, data: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


@pytest.mark.parametrize("family", READERS)
def test_every_family_is_read(family: str) -> None:
    model = decoder_of(SAMPLES[family], "mine", "config.json")
    assert len(model.layers) == 2
    assert (model.name, model.hidden, model.vocabulary) == ("mine", 64, 100)
    assert model.parameters > 0


def attention(**changed: Any) -> Grouped:
    kind = decoder_of({**LLAMA, **changed}, "mine", "config.json").layers[0].attention
    assert isinstance(kind, Grouped)
    return kind


def test_biases_are_where_each_family_has_them() -> None:
    assert attention() == Grouped(8, 2, 8)
    assert attention(attention_bias=True) == Grouped(8, 2, 8, qkv_bias=True, out_bias=True)
    assert attention(model_type="qwen2") == Grouped(8, 2, 8, qkv_bias=True)
    assert attention(model_type="qwen3", head_dim=16) == Grouped(8, 2, 16, head_norm=True)
    assert attention(model_type="gpt_neox", num_key_value_heads=None) == Grouped(8, 8, 8, qkv_bias=True, out_bias=True)


def windows(family: str, layers: int, **more: Any) -> list[int]:
    data = {**SAMPLES[family], "num_hidden_layers": layers, **more}
    return [layer.attention.window for layer in decoder_of(data, "mine", "config.json").layers]


def test_windows_are_on_the_layers_that_have_them() -> None:
    assert windows("mistral", 2, sliding_window=7) == [7, 7]
    assert windows("mistral", 2, sliding_window=None) == [0, 0]
    assert windows("gemma2", 3, sliding_window=7) == [7, 0, 7]
    assert windows("gemma3_text", 7, sliding_window=7) == [7, 7, 7, 7, 7, 0, 7]
    assert windows("gpt_oss", 3) == [128, 0, 128]
    assert windows("gemma2", 2, sliding_window=7, layer_types=["full_attention", "sliding_attention"]) == [0, 7]
    assert windows("qwen2", 3, sliding_window=7, max_window_layers=2) == [0, 0, 0]
    assert windows("qwen2", 3, sliding_window=7, max_window_layers=2, use_sliding_window=True) == [0, 0, 7]


def test_experts_are_on_the_layers_that_have_them() -> None:
    def sparse(family: str, **more: Any) -> list[bool]:
        data = {**SAMPLES[family], "num_hidden_layers": 4, **more}
        layers = decoder_of(data, "mine", "config.json").layers
        return [isinstance(layer.feed_forward, Experts) for layer in layers]

    assert sparse("mixtral") == [True] * 4
    assert sparse("qwen3_moe", decoder_sparse_step=2, mlp_only_layers=[3]) == [False, True, False, False]
    assert sparse("deepseek_v2", first_k_dense_replace=2) == [False, False, True, True]
    assert sparse("deepseek_v2", first_k_dense_replace=None, moe_layer_freq=None) == [True] * 4
    assert sparse("deepseek_v2", first_k_dense_replace=1, moe_layer_freq=2) == [False, False, True, False]


def test_latent_attention_counts_what_is_cached_once_for_all_heads() -> None:
    kind = decoder_of(SAMPLES["deepseek_v3"], "mine", "config.json").layers[0].attention
    assert kind == Latent(heads=8, q_rank=0, kv_rank=8, nope=4, rope=2, value=4)
    assert kind.kv_elements == 10
    # queries, the narrow vector with the rotated key, its norm, keys and values from it, output
    assert kind.parameters(64) == 64 * 8 * 6 + 64 * 10 + 8 + 8 * 8 * 8 + 8 * 4 * 64


def test_a_multi_modal_file_holds_its_language_model_under_a_key() -> None:
    text = {key: value for key, value in MODELS_GEMMA.items() if key not in ("model_type", "vocab_size")}
    outer = {"model_type": "gemma3", "vision_config": {"hidden_size": 1152}, "text_config": text}
    model = decoder_of(outer, "gemma-3-4b", "config.json")
    assert model.parameters == MODELS["gemma-3-4b"].parameters


MODELS_GEMMA = {
    "model_type": "gemma3_text",
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 34,
    "sliding_window": 1024,
    "vocab_size": 262208,
}


def test_a_file_or_its_folder_is_a_workload(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    file = write(folder, LLAMA)
    graph = build(f"hf:{file}/decode", {"batch": 16, "context": 512})
    assert graph.name == "hf/my-model/decode"
    assert simexplore.load_workload(f"hf:{folder}/decode", {"batch": 16, "context": 512}) == graph
    assert graph.resident_bytes["weights"] == 2 * read_model(file).parameters
    assert read_model(file.rename(folder / "other.json")).name == "other"


@pytest.mark.parametrize(
    ("gpus", "changed", "message"),
    [
        (16, {}, "tensor_parallel=16 must divide heads=8 and ffn=96"),
        (8, {"intermediate_size": 100}, "tensor_parallel=8 must divide heads=8 and ffn=100"),
        (2, {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 8}, "be a multiple of kv_heads=3"),
    ],
)
def test_a_model_that_does_not_divide_is_one_line(
    gpus: int, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write(tmp_path, {**LLAMA, **changed})
    with pytest.raises(SimexploreError, match=message):
        build(f"hf:{file}/decode", {"tensor_parallel": gpus})


def test_it_is_the_catalogues_model_where_the_shape_is(tmp_path: Path) -> None:
    keys = {**LLAMA, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    file = write(tmp_path, {**keys, "intermediate_size": 14336, "vocab_size": 128256})
    mine = build(f"hf:{file}/prefill", {"prompt": 128})
    known = catalog.build("llm/llama-3-8b/prefill", {"prompt": 128})
    assert (mine.nodes, mine.resident_bytes) == (known.nodes, known.resident_bytes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "lama"}, "model_type: expected one of llama, .*found 'lama'; did you mean 'llama'"),
        ({"model_type": None}, "model_type: expected one of llama, .*found nothing"),
        ({"hidden_size": None}, "hidden_size: expected an integer from 1 to 2147483647, found nothing"),
        ({"hidden_size": "64"}, "hidden_size: expected an integer .*found '64'"),
        ({"hidden_size": 64.0}, "hidden_size: expected an integer .*found 64.0"),
        ({"hidden_size": True}, "hidden_size: expected an integer .*found True"),
        ({"hidden_size": 65}, "hidden_size: expected a multiple of num_attention_heads = 8, or a head_dim, found 65"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: expected an integer from 1 to 4096"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: expected a divisor of num_attention_heads = 8, found 3"),
        ({"hidden_act": "mish"}, "hidden_act: expected one of silu, .*found 'mish'"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings: expected true or false, found 1"),
        ({"model_type": "gemma2", "layer_types": ["full"]}, "layer_types: expected 2 of 'full_attention'"),
        ({"model_type": "gemma3", "text_config": 3}, "text_config: expected a mapping, found 3"),
        (
            {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3},
            "an integer from 1 to 2, found 3",
        ),
    ],
)
def test_a_mistake_names_file_and_key(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = write(tmp_path, {**LLAMA, **changed})
    with pytest.raises(ConfigError, match=message) as error:
        read_model(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_latent_attention_and_experts_run(tmp_path: Path) -> None:
    file = write(tmp_path, {**SAMPLES["deepseek_v3"], "num_hidden_layers": 4})
    families = {node.op.op for node in build(f"hf:{file}/decode", {}).nodes}
    assert {"mla_decode", "moe"} <= families


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "expected JSON, found"),
        (b"\xff\xfe\x00", "expected JSON, found"),
        (b"[1]", "expected a mapping, as config.json of a model holds, found the list"),
        (b"[" * 200_000, "expected JSON, found"),
        (b" " * 10_000_001, "expected at most 10000000 bytes"),
    ],
)
def test_what_is_no_configuration_is_one_line(text: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(text)
    with pytest.raises(SimexploreError, match=message):
        read_model(file)


@pytest.mark.parametrize("source", ["hf:", "hf:decode", "hf:/decode", "hf:mine/encode", "hf:mine", "hf:a\0b/decode"])
def test_what_is_no_source_is_one_line(source: str) -> None:
    with pytest.raises(SimexploreError, match="expected"):
        simexplore.load_workload(source)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.integers(0, 40),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.data())
def test_any_mutilated_file_is_a_model_or_one_line(data: st.DataObject) -> None:
    sample = SAMPLES[data.draw(st.sampled_from(sorted(READERS)))]
    keys = data.draw(st.lists(st.sampled_from([*sample, "head_dim", "layer_types", "sliding_window"]), max_size=3))
    damaged = {**sample, **{key: data.draw(VALUES) for key in keys}}
    try:
        model = decoder_of(damaged, "mine", "config.json")
    except SimexploreError as error:
        told = str(error)
    else:
        told = f"config.json: {model.parameters} parameters"
        assert min(model.parameters, model.kv_elements(100) + model.state_bytes(2.0)) > 0
    assert told.startswith("config.json: ")
    assert "\n" not in told
