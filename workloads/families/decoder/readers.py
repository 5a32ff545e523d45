"""From a model's `config.json` to its shape: a reader for each family, by `model_type`.

Keys, defaults and which projection has a bias are those of the configuration and modelling files of Hugging Face's
`transformers` 5.24 (`models/<model_type>/`), and of DeepSeek's own files beside the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from simexplore.workloads.families.decoder.config import MOST_LAYERS, Config, ConfigError
from simexplore.workloads.families.decoder.shape import (
    Decoder,
    Delta,
    Experts,
    FeedForward,
    Grouped,
    Latent,
    Layer,
    Mlp,
)
from simexplore.workloads.hints import did_you_mean, found

ACTIVATIONS: Mapping[str, Literal["silu", "gelu", "relu"]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
}
FULL, SLIDING, LINEAR = "full_attention", "sliding_attention", "linear_attention"
GEMMA_DEFAULTS = {"tie_word_embeddings": True, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh"}
GEMMA_3_DEFAULTS = {
    **GEMMA_DEFAULTS,
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
_DELTA_DEFAULTS = {
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
QWEN_NEXT_DEFAULTS = {**_DELTA_DEFAULTS, "num_key_value_heads": 2}
QWEN_3_5_DEFAULTS = {**_DELTA_DEFAULTS, "num_key_value_heads": 4, "vocab_size": 248320}
GPT_OSS_DEFAULTS = {"attention_bias": True, "sliding_window": 128}


def _depth(config: Config, key: str = "num_hidden_layers") -> int:
    return config.count(key, most=MOST_LAYERS)


def _heads(config: Config, **more: Any) -> Grouped:
    """The attention that most families have; `more` sets its fields."""
    heads = config.count("num_attention_heads")
    kv_heads = config.count("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise config.error("num_key_value_heads", f"a divisor of num_attention_heads = {heads}")
    hidden = config.count("hidden_size")
    if config.get("head_dim") is None and hidden % heads:
        raise config.error("hidden_size", f"a multiple of num_attention_heads = {heads}, or a head_dim")
    return Grouped(heads, kv_heads, config.count("head_dim", default=hidden // heads), **more)


def _activation(config: Config, *keys: str) -> Literal["silu", "gelu", "relu"]:
    key = next((key for key in keys if config.get(key) is not None), keys[0])
    return ACTIVATIONS[config.word(key, *ACTIVATIONS)]


def _mlp(config: Config, key: str = "intermediate_size", **more: Any) -> Mlp:
    return Mlp(config.count(key), activation=_activation(config, "hidden_act", "hidden_activation"), **more)


def _model(config: Config, layers: list[Layer], **more: Any) -> Decoder:
    tied = config.flag("tie_word_embeddings")
    hidden, vocabulary = config.count("hidden_size"), config.count("vocab_size")
    return Decoder("", hidden, vocabulary, tuple(layers), tied_head=tied, **more)


def _kinds_of_attention(config: Config, default: Callable[[int], bool], other: str = SLIDING) -> list[bool]:
    """Of each layer, whether it is the `other` kind, by default with a window: as `layer_types` tells, or by a rule."""
    depth, told = _depth(config), config.get("layer_types")
    if told is None:
        return [default(index) for index in range(depth)]
    if not isinstance(told, list) or len(told) != depth or not all(kind in (FULL, other) for kind in told):
        raise config.error("layer_types", f"{depth} of {FULL!r} and {other!r}, one a layer")
    return [kind == other for kind in told]


def _windowed(attention: Grouped, config: Config, windowed: bool) -> Grouped:
    return replace(attention, window=config.count("sliding_window")) if windowed else attention


def _llama(config: Config) -> Decoder:
    bias = config.flag("attention_bias")
    layer = Layer(_heads(config, qkv_bias=bias, out_bias=bias), _mlp(config, bias=config.flag("mlp_bias")))
    return _model(config, [layer] * _depth(config))


def _mistral(config: Config) -> Decoder:
    """Every layer has the window, where there is one; Phi-3's too."""
    attention = _windowed(_heads(config), config, config.get("sliding_window") is not None)
    return _model(config, [Layer(attention, _mlp(config))] * _depth(config))


def _mixtral(config: Config) -> Decoder:
    attention = _windowed(_heads(config), config, config.get("sliding_window") is not None)
    count = config.count("num_local_experts")
    experts = Experts(count, config.count("num_experts_per_tok", most=count), config.count("intermediate_size"))
    return _model(config, [Layer(attention, experts)] * _depth(config))


def _qwen(config: Config, qkv_bias: bool, head_norm: bool) -> list[Grouped]:
    """The attention of each layer: those from `max_window_layers` on have the window, where windows are used."""
    bias = config.flag("attention_bias")
    attention = _heads(config, qkv_bias=qkv_bias or bias, out_bias=bias, head_norm=head_norm)
    first = config.count("max_window_layers", default=0, least=0) if config.flag("use_sliding_window") else MOST_LAYERS
    return [_windowed(attention, config, each) for each in _kinds_of_attention(config, lambda index: index >= first)]


def _qwen_2(config: Config) -> Decoder:
    return _model(config, [Layer(each, _mlp(config)) for each in _qwen(config, qkv_bias=True, head_norm=False)])


def _qwen_3(config: Config) -> Decoder:
    return _model(config, [Layer(each, _mlp(config)) for each in _qwen(config, qkv_bias=False, head_norm=True)])


def _qwen_experts(config: Config, attention: Sequence[Grouped | Delta], experts: Experts) -> Decoder:
    """Every `decoder_sparse_step`-th layer has experts, but for those that are told to be dense."""
    step, dense = config.count("decoder_sparse_step", default=1), config.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise config.error("mlp_only_layers", "a list of layers")
    layers = [
        Layer(each, experts if index not in dense and (index + 1) % step == 0 else _mlp(config))
        for index, each in enumerate(attention)
    ]
    return _model(config, layers)


def _qwen_2_moe(config: Config) -> Decoder:
    count = config.count("num_experts")
    chosen, width = config.count("num_experts_per_tok", most=count), config.count("moe_intermediate_size")
    shared = config.count("shared_expert_intermediate_size")
    experts = Experts(count, chosen, width, shared=shared, shared_gate=True)
    return _qwen_experts(config, _qwen(config, qkv_bias=True, head_norm=False), experts)


def _qwen_3_moe(config: Config) -> Decoder:
    count = config.count("num_experts")
    experts = Experts(count, config.count("num_experts_per_tok", most=count), config.count("moe_intermediate_size"))
    return _qwen_experts(config, _qwen(config, qkv_bias=False, head_norm=True), experts)


def _hybrid(config: Config) -> list[Grouped | Delta]:
    """Qwen3-Next's: gated delta networks, and each `full_attention_interval`-th layer gated attention."""
    bias = config.flag("attention_bias")
    attention = _heads(config, qkv_bias=bias, out_bias=bias, head_norm=True, gated=True)
    heads, key_heads = config.count("linear_num_value_heads"), config.count("linear_num_key_heads")
    if heads % key_heads:
        raise config.error("linear_num_key_heads", f"a divisor of linear_num_value_heads = {heads}")
    sizes = config.count("linear_key_head_dim"), config.count("linear_value_head_dim")
    delta = Delta(heads, key_heads, *sizes, taps=config.count("linear_conv_kernel_dim", least=2))
    interval = config.count("full_attention_interval")
    kinds = _kinds_of_attention(config, lambda index: (index + 1) % interval != 0, LINEAR)
    return [delta if linear else attention for linear in kinds]


def _qwen_next(config: Config) -> Decoder:
    """Qwen3-Next, and Qwen3.5 with experts: some of many experts and one that all tokens go through."""
    if "text_config" in config.data:
        config = config.within("text_config", QWEN_3_5_DEFAULTS)
    count, width = config.count("num_experts"), config.count("moe_intermediate_size")
    chosen, shared = config.count("num_experts_per_tok", most=count), config.count("shared_expert_intermediate_size")
    return _qwen_experts(config, _hybrid(config), Experts(count, chosen, width, shared=shared, shared_gate=True))


def _qwen_3_5(config: Config) -> Decoder:
    """The language model of Qwen3.5; what sees images is no part of it."""
    if "text_config" in config.data:
        config = config.within("text_config", QWEN_3_5_DEFAULTS)
    return _model(config, [Layer(each, _mlp(config)) for each in _hybrid(config)])


def _gemma(config: Config) -> Decoder:
    return _model(config, [Layer(_heads(config), _mlp(config))] * _depth(config))


def _gemma_2(config: Config) -> Decoder:
    """Layers with and without window take turns; norms stand before and after each part."""
    attention = _heads(config)
    kinds = _kinds_of_attention(config, lambda index: index % 2 == 0)
    layers = [Layer(_windowed(attention, config, each), _mlp(config)) for each in kinds]
    return _model(config, layers, placement="around")


def _gemma_3(config: Config) -> Decoder:
    """The last of every `sliding_window_pattern` layers has no window."""
    if "text_config" in config.data:
        config = config.within("text_config", GEMMA_3_DEFAULTS)
    attention = _heads(config, head_norm=True)
    pattern = config.count("sliding_window_pattern", "_sliding_window_pattern")
    kinds = _kinds_of_attention(config, lambda index: (index + 1) % pattern != 0)
    layers = [Layer(_windowed(attention, config, each), _mlp(config)) for each in kinds]
    return _model(config, layers, placement="around")


def _phi(config: Config) -> Decoder:
    """Phi 1, 1.5 and 2: attention and feed-forward of one norm, biases everywhere."""
    layer = Layer(_heads(config, qkv_bias=True, out_bias=True), _mlp(config, gated=False, bias=True))
    layers = [layer] * _depth(config)
    return _model(config, layers, norm="layer", placement="shared", head_bias=True)


def _gpt_neox(config: Config) -> Decoder:
    bias = config.flag("attention_bias", default=True)
    layer = Layer(_heads(config, qkv_bias=bias, out_bias=bias), _mlp(config, gated=False, bias=True))
    parallel = config.flag("use_parallel_residual", default=True)
    return _model(config, [layer] * _depth(config), norm="layer", placement="parallel" if parallel else "before")


def _gpt_2(config: Config) -> Decoder:
    """GPT-2, whose shape GPT-3 has too."""
    hidden, heads = config.count("n_embd"), config.count("n_head")
    if hidden % heads:
        raise config.error("n_embd", f"a multiple of n_head = {heads}")
    attention = Grouped(heads, heads, hidden // heads, qkv_bias=True, out_bias=True)
    width = config.count("n_inner", default=4 * hidden)
    mlp = Mlp(width, gated=False, activation=_activation(config, "activation_function"), bias=True)
    layers = (Layer(attention, mlp),) * _depth(config, "n_layer")
    positions, vocabulary = config.count("n_positions"), config.count("vocab_size")
    tied = config.flag("tie_word_embeddings", default=True)
    return Decoder("", hidden, vocabulary, layers, "layer", learned_positions=positions, tied_head=tied)


def _gpt_oss(config: Config) -> Decoder:
    bias = config.flag("attention_bias")
    attention = _heads(config, qkv_bias=bias, out_bias=bias, sinks=True)
    count = config.count("num_local_experts")
    chosen = config.count("num_experts_per_tok", "experts_per_token", most=count)
    experts = Experts(count, chosen, config.count("intermediate_size"), bias=True)
    kinds = _kinds_of_attention(config, lambda index: index % 2 == 0)
    return _model(config, [Layer(_windowed(attention, config, each), experts) for each in kinds])


def _deepseek(config: Config) -> Decoder:
    """DeepSeek V2 and V3: the first layers are dense, then every `moe_layer_freq`-th has experts.

    The extra layers of V3 that predict further tokens (`num_nextn_predict_layers`) are no part of the model.
    """
    attention = Latent(
        heads=config.count("num_attention_heads"),
        q_rank=config.count("q_lora_rank", default=0, least=0),
        kv_rank=config.count("kv_lora_rank"),
        nope=config.count("qk_nope_head_dim"),
        rope=config.count("qk_rope_head_dim"),
        value=config.count("v_head_dim"),
    )
    count, width = config.count("n_routed_experts"), config.count("moe_intermediate_size")
    experts = Experts(
        count,
        config.count("num_experts_per_tok", most=count),
        width,
        shared=width * config.count("n_shared_experts", default=0, least=0),
        router_correction=config.get("topk_method") == "noaux_tc",
    )
    dense, step = config.count("first_k_dense_replace", default=0, least=0), config.count("moe_layer_freq", default=1)

    def feed_forward(index: int) -> FeedForward:
        return experts if index >= dense and index % step == 0 else _mlp(config)

    return _model(config, [Layer(attention, feed_forward(index)) for index in range(_depth(config))])


READERS: Mapping[str, tuple[Callable[[Config], Decoder], Mapping[str, Any]]] = {
    "llama": (_llama, {}),
    "mistral": (_mistral, {}),
    "mixtral": (_mixtral, {}),
    "qwen2": (_qwen_2, {}),
    "qwen2_moe": (_qwen_2_moe, {}),
    "qwen3": (_qwen_3, {"head_dim": 128}),
    "qwen3_moe": (_qwen_3_moe, {"head_dim": 128}),
    "qwen3_next": (_qwen_next, QWEN_NEXT_DEFAULTS),
    "qwen3_5": (_qwen_3_5, QWEN_3_5_DEFAULTS),
    "qwen3_5_text": (_qwen_3_5, QWEN_3_5_DEFAULTS),
    "qwen3_5_moe": (_qwen_next, QWEN_3_5_DEFAULTS),
    "qwen3_5_moe_text": (_qwen_next, QWEN_3_5_DEFAULTS),
    "gemma": (_gemma, GEMMA_DEFAULTS),
    "gemma2": (_gemma_2, {**GEMMA_DEFAULTS, "sliding_window": 4096}),
    "gemma3": (_gemma_3, GEMMA_3_DEFAULTS),
    "gemma3_text": (_gemma_3, GEMMA_3_DEFAULTS),
    "phi": (_phi, {}),
    "phi3": (_mistral, {}),
    "gpt_neox": (_gpt_neox, {}),
    "gpt2": (_gpt_2, {"activation_function": "gelu_new"}),
    "gpt_oss": (_gpt_oss, GPT_OSS_DEFAULTS),
    "deepseek_v2": (_deepseek, {}),
    "deepseek_v3": (_deepseek, {"topk_method": "noaux_tc"}),
    "kimi_k2": (_deepseek, {"topk_method": "noaux_tc"}),
}
"""A reader and the family's defaults, by `model_type`. A family is one line."""


def decoder_of(data: object, name: str, where: str) -> Decoder:
    """The shape that a `config.json` describes.

    Args:
        data: what the file holds.
        name: the model's.
        where: the file, for messages.

    Raises:
        ConfigError: it is no mapping, of a family that no reader knows, or a key is missing or of a wrong value.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping, as config.json of a model holds, found {found(data)}")
    family = data.get("model_type")
    if not isinstance(family, str) or family not in READERS:
        near = did_you_mean(family, READERS) if isinstance(family, str) else ""
        raise ConfigError(f"{where}: model_type: expected one of {', '.join(READERS)}, found {found(family)}{near}")
    reader, defaults = READERS[family]
    return replace(reader(Config(data, where, defaults)), name=name)
