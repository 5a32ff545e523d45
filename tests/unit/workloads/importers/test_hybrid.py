"""Models whose layers are gated delta networks but for every fourth: their counts, and what they become."""

from __future__ import annotations

from typing import Any

import pytest

from simexplore.errors import SimexploreError
from simexplore.workloads import catalog
from simexplore.workloads.families.decoder.options import Sizes, StepOptions
from simexplore.workloads.families.decoder.readers import decoder_of
from simexplore.workloads.families.decoder.shape import Decoder, Delta, Grouped
from simexplore.workloads.families.decoder.step import build_step, parts_of
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import AttentionDecode, CausalConv1d, CausalConv1dUpdate, GdnDecode, GdnPrefill
from simexplore.workloads.training.methods.weights import weights_of

SMALL: dict[str, Any] = {
    "model_type": "qwen3_5_text",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "vocab_size": 100,
    "hidden_act": "silu",
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 16,
}


def read(**changes: Any) -> Decoder:
    return decoder_of({**SMALL, **changes}, "small", "config.json")


def ops(graph: Graph, kind: type) -> list[Any]:
    return [node.op for node in graph.nodes if isinstance(node.op, kind)]


def test_every_fourth_layer_is_gated_attention() -> None:
    layers = [layer.attention for layer in read().layers]
    assert [type(kind) for kind in layers] == [Delta, Delta, Delta, Grouped]
    assert layers[0] == Delta(heads=4, key_heads=2, key_dim=8, value_dim=16, taps=4)
    assert layers[3] == Grouped(4, 2, 16, head_norm=True, gated=True)
    told = ["full_attention", "linear_attention"] * 2
    assert [type(each.attention) for each in read(layer_types=told).layers] == [Grouped, Delta] * 2


def test_parameters_by_hand() -> None:
    """In: queries and keys of 16, values and gates of 64, two rates of four heads; 96 channels of four taps."""
    delta = 64 * (16 + 16 + 64 + 64 + 8) + 96 * 4 + 2 * 4 + 16 + 64 * 64
    attention = 64 * (64 + 64 + 32 + 32 + 64) + 2 * 16
    feed_forward, norms = 3 * 64 * 96, 2 * 64
    model = read()
    assert model.parameters == 3 * delta + attention + 4 * (feed_forward + norms) + 2 * 100 * 64 + 64
    assert model.kv_elements(10) == 10 * 2 * 2 * 16
    assert model.state_bytes(2.0) == 3 * (4 * 4 * 8 * 16 + 2 * 96 * 3)


def test_a_token_goes_through_as_many_of_qwen3_next_as_published() -> None:
    """3 billion of 80, without the embedding and the head."""
    model = MODELS["qwen3-next-80b-a3b"]
    outside = 2 * model.hidden * model.vocabulary
    assert model.active_parameters - outside == pytest.approx(3e9, rel=0.09)


def test_prompts_are_scanned_and_tokens_are_steps() -> None:
    prefill = catalog.build("llm/qwen3.5-9b/prefill", {"batch": 2, "prompt": 100, "layers": 4})
    decode = catalog.build("llm/qwen3.5-9b/decode", {"batch": 3, "context": 50, "layers": 4})
    assert ops(prefill, GdnPrefill) == [GdnPrefill(2, 32, 16, 100, 128, 128)] * 3
    assert ops(prefill, CausalConv1d) == [CausalConv1d(2, 8192, 100)] * 3
    assert ops(decode, GdnDecode) == [GdnDecode(3, 32, 16)] * 3
    assert ops(decode, CausalConv1dUpdate) == [CausalConv1dUpdate(3, 8192)] * 3
    assert len(ops(decode, AttentionDecode)) == 1
    states = 3 * 3 * (4 * 32 * 128 * 128 + 2 * 8192 * 3)
    assert decode.resident_bytes["states"] == states
    assert decode.resident_bytes["kv_cache"] == 3 * 50 * 2 * 4 * 256 * 2
    names = [node.name.removeprefix("layer0.") for node in decode.nodes if node.group == "layer0"]
    made = ["rates_projection", "qkvz", "convolution", "rates", "delta", "gated_norm", "projection"]
    assert names[1 : 1 + len(made)] == made
    gated = next(node for node in decode.nodes if node.name == "layer0.gated_norm")
    assert gated.op.min_bytes == 3 * 2 * 3 * 32 * 128  # a result, its gate, and what comes of them
    assert gated.after == ("layer0.delta", "layer0.qkvz")


def test_a_step_scans_pieces_of_prompts_and_steps_sequences() -> None:
    sizes = Sizes(sequences=8, context=500, pieces=2, queries=100, past=40, tokens=208, sampled=9)
    model = read()
    graph = build_step(model, "step", StepOptions(layers=1), sizes)
    assert ops(graph, GdnPrefill) == [GdnPrefill(2, 4, 2, 100, 8, 16)]
    assert ops(graph, GdnDecode) == [GdnDecode(8, 4, 2, 1, 8, 16)]
    shares = {part.name.rpartition(".")[2]: part.share for part in parts_of(model, "step", StepOptions(), sizes)}
    assert (shares["piece_convolution"], shares["piece_delta"]) == ("prefill", "prefill")
    assert (shares["token_convolution"], shares["token_delta"]) == ("decode", "decode")
    assert shares["gated_norm"] == "body"
    delta = [part for part in parts_of(model, "step", StepOptions(), sizes) if part.name.endswith("token_delta")]
    assert sum(part.count for part in delta) == 3


def test_its_weights_are_its_parameters() -> None:
    assert sum(weight.total for weight in weights_of(read())) == read().parameters


def test_gpus_divide_heads() -> None:
    graph = catalog.build("llm/qwen3.5-9b/decode", {"batch": 1, "tensor_parallel": 2, "layers": 1})
    (step,) = ops(graph, GdnDecode)
    assert (step.heads, step.key_heads) == (16, 8)
    with pytest.raises(SimexploreError, match="must divide heads=32"):
        catalog.build("llm/qwen3.5-9b/decode", {"tensor_parallel": 3})


def test_the_language_model_of_one_that_sees() -> None:
    outer = {"model_type": "qwen3_5", "text_config": SMALL, "vision_config": {}}
    assert decoder_of(outer, "small", "config.json") == read()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linear_num_value_heads": 3}, "linear_num_key_heads: expected a divisor of linear_num_value_heads = 3"),
        ({"layer_types": ["sliding_attention"] * 4}, "layer_types: expected 4 of 'full_attention' and 'linear_atten"),
    ],
)
def test_contradictions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        read(**changes)
