"""A LLaMA of two layers, small enough to train a step on a CPU."""

from __future__ import annotations

from typing import Any

from simexplore.workloads.families.decoder.readers import decoder_of

SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "tie_word_embeddings": False,
}
MODEL = decoder_of(
    {**SIZES, "model_type": "llama", "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-6},
    "small llama",
    "small llama",
)
