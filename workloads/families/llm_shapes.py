"""Shapes of public decoder-only language models. Adding a model is adding an entry to `SHAPES`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder-only transformer, or one GPU's share of it.

    Args:
        layers, hidden, heads, kv_heads, head_dim, ffn, vocabulary: as in the model's configuration.
        gated: SwiGLU and RMSNorm without biases (the Llama family); else GELU and LayerNorm with biases (GPT).
        learned_positions: rows of the position table; 0: rotary embedding.
        tied_head: the output head is the embedding table.
        head_vocabulary: columns of the output head held here; 0: the whole vocabulary.
        published_parameters: count that the source gives.
        source: citation.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    gated: bool
    published_parameters: float
    source: str
    learned_positions: int = 0
    tied_head: bool = False
    head_vocabulary: int = 0

    @property
    def qkv_features(self) -> int:
        """Columns of the fused query, key and value projection."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    @property
    def up_features(self) -> int:
        """Columns of the projection into the feed-forward: gate and up side by side when gated."""
        return (2 if self.gated else 1) * self.ffn

    @property
    def parameters_per_layer(self) -> int:
        """Weights, biases and norm vectors of one layer."""
        matrices = self.hidden * (self.qkv_features + self.heads * self.head_dim + self.up_features + self.ffn)
        if self.gated:
            return matrices + 2 * self.hidden
        biases = self.qkv_features + self.up_features + 2 * self.hidden
        return matrices + biases + 4 * self.hidden

    @property
    def parameters_outside_layers(self) -> int:
        """Embedding tables, last norm and output head."""
        head = 0 if self.tied_head else (self.head_vocabulary or self.vocabulary)
        norm_vectors = 1 if self.gated else 2
        return self.hidden * (self.vocabulary + self.learned_positions + head + norm_vectors)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.layers * self.parameters_per_layer + self.parameters_outside_layers


_LLAMA_2 = "Touvron et al. 2023, 'Llama 2', arXiv:2307.09288, and its config.json"
_LLAMA_3 = "Meta, Llama 3 model card, 2024, and 'The Llama 3 Herd of Models', arXiv:2407.21783, table 3"
_GPT_3 = (
    "Brown et al. 2020, 'Language Models are Few-Shot Learners', arXiv:2005.14165, table 2.1; "
    "its banded sparse layers are modelled as dense"
)

SHAPES = (
    ModelShape(
        name="llama-2-7b",
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=32,
        head_dim=128,
        ffn=11008,
        vocabulary=32000,
        gated=True,
        published_parameters=6.74e9,
        source=_LLAMA_2,
    ),
    ModelShape(
        name="llama-3-8b",
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=8,
        head_dim=128,
        ffn=14336,
        vocabulary=128256,
        gated=True,
        published_parameters=8.03e9,
        source=_LLAMA_3,
    ),
    ModelShape(
        name="llama-3-70b",
        layers=80,
        hidden=8192,
        heads=64,
        kv_heads=8,
        head_dim=128,
        ffn=28672,
        vocabulary=128256,
        gated=True,
        published_parameters=70.6e9,
        source=_LLAMA_3,
    ),
    ModelShape(
        name="gpt-3-13b",
        layers=40,
        hidden=5120,  # the table prints 5140, which is not heads x head_dim
        heads=40,
        kv_heads=40,
        head_dim=128,
        ffn=4 * 5120,
        vocabulary=50257,
        gated=False,
        learned_positions=2048,
        tied_head=True,
        published_parameters=13.0e9,
        source=_GPT_3,
    ),
    ModelShape(
        name="gpt-3-175b",
        layers=96,
        hidden=12288,
        heads=96,
        kv_heads=96,
        head_dim=128,
        ffn=4 * 12288,
        vocabulary=50257,
        gated=False,
        learned_positions=2048,
        tied_head=True,
        published_parameters=175e9,
        source=_GPT_3,
    ),
)
