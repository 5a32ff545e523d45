"""The tensors of a language model as a framework holds them, one a matrix or vector: what optimizers work on.

Serving engines fuse projections into one GEMM; optimizers see them apart, as `transformers` names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from simexplore.workloads.families.decoder.shape import (
    NORMS_OF_A_LAYER,
    Attention,
    Decoder,
    Delta,
    Experts,
    FeedForward,
    Grouped,
    Latent,
    Layer,
    Mlp,
)

Role = Literal["attention", "mlp", "embedding", "head", "vector", "adapter"]


@dataclass(frozen=True, slots=True)
class Weight:
    """A trained tensor, or several of one shape.

    Args:
        name: the layer and its part, `layer3.gate`.
        rows: output features of a matrix, elements of a vector; `nn.Linear` holds (rows, cols).
        cols: input features of a matrix; 0: it is a vector.
        role: what it is to methods that treat matrices of layers unlike the rest.
        count: tensors of this shape.
    """

    name: str
    rows: int
    cols: int
    role: Role
    count: int = 1

    @property
    def elements(self) -> int:
        """Elements of one of them."""
        return self.rows * (self.cols or 1)

    @property
    def total(self) -> int:
        """Elements of all of them."""
        return self.count * self.elements

    @property
    def is_matrix(self) -> bool:
        """Whether it has two dimensions."""
        return self.cols > 0

    @property
    def in_layer(self) -> bool:
        """Whether it is a matrix of attention or of a feed-forward, which low-rank methods take."""
        return self.is_matrix and self.role in ("attention", "mlp")


def weights_of(model: Decoder) -> tuple[Weight, ...]:
    """All tensors of a model, or of one GPU's share; their elements sum up to its parameters."""
    layers = [weight for index, layer in enumerate(model.layers) for weight in _of_layer(model, f"layer{index}", layer)]
    return (*_embeddings(model), *layers, *_vectors("norm", model, 1), *_head(model))


def layer_weights(model: Decoder, index: int) -> tuple[Weight, ...]:
    """The tensors of one layer, its norms among them."""
    return tuple(_of_layer(model, f"layer{index}", model.layers[index]))


def _of_layer(model: Decoder, group: str, layer: Layer) -> Iterator[Weight]:
    for weight in (*_of_attention(model.hidden, layer.attention), *_of_feed_forward(model.hidden, layer.feed_forward)):
        yield replace(weight, name=f"{group}.{weight.name}")
    yield from _vectors(f"{group}.norm", model, NORMS_OF_A_LAYER[model.placement])


def _embeddings(model: Decoder) -> Iterator[Weight]:
    yield Weight("embedding", model.vocabulary, model.hidden, "embedding")
    if model.learned_positions:
        yield Weight("position_embedding", model.learned_positions, model.hidden, "embedding")


def _head(model: Decoder) -> Iterator[Weight]:
    columns = model.head_columns or model.vocabulary
    if not model.tied_head:
        yield Weight("lm_head", columns, model.hidden, "head")
    if model.head_bias:
        yield Weight("lm_head.bias", columns, 0, "vector")


def _vectors(name: str, model: Decoder, norms: int) -> Iterator[Weight]:
    """The learned vectors of norms: one each, or a scale and a shift."""
    yield Weight(name, model.hidden, 0, "vector", count=norms * model.norm_parameters // model.hidden)


def _of_attention(hidden: int, kind: Attention) -> Iterator[Weight]:
    if isinstance(kind, Grouped):
        yield from _of_grouped(hidden, kind)
    elif isinstance(kind, Latent):
        yield from _of_latent(hidden, kind)
    else:
        yield from _of_delta(hidden, kind)


def _of_grouped(hidden: int, kind: Grouped) -> Iterator[Weight]:
    queries, keys = kind.heads * kind.head_dim, kind.kv_heads * kind.head_dim
    for name, rows, cols, bias in (
        ("q", (1 + kind.gated) * queries, hidden, kind.qkv_bias),
        ("k", keys, hidden, kind.qkv_bias),
        ("v", keys, hidden, kind.qkv_bias),
        ("o", hidden, queries, kind.out_bias),
    ):
        yield Weight(name, rows, cols, "attention")
        if bias:
            yield Weight(f"{name}.bias", rows, 0, "vector")
    if kind.head_norm:
        yield Weight("head_norm", kind.head_dim, 0, "vector", count=2)
    if kind.sinks:
        yield Weight("sinks", kind.heads, 0, "vector")


def _of_latent(hidden: int, kind: Latent) -> Iterator[Weight]:
    queries = kind.heads * (kind.nope + kind.rope)
    if kind.q_rank:
        yield Weight("q_down", kind.q_rank, hidden, "attention")
        yield Weight("q_norm", kind.q_rank, 0, "vector")
    yield Weight("q", queries, kind.q_rank or hidden, "attention")
    yield Weight("kv_down", kind.kv_elements, hidden, "attention")
    yield Weight("kv_norm", kind.kv_rank, 0, "vector")
    yield Weight("kv_up", kind.heads * (kind.nope + kind.value), kind.kv_rank, "attention")
    yield Weight("o", hidden, kind.heads * kind.value, "attention")


def _of_delta(hidden: int, kind: Delta) -> Iterator[Weight]:
    """As `transformers` has them: queries, keys, values and the gate in one matrix, what is forgotten in another."""
    yield Weight("qkvz", kind.channels + kind.values, hidden, "attention")
    yield Weight("ba", 2 * kind.heads, hidden, "attention")
    yield Weight("conv", kind.channels, kind.taps, "vector")
    yield Weight("rate", kind.heads, 0, "vector", count=2)
    yield Weight("head_norm", kind.value_dim, 0, "vector")
    yield Weight("o", hidden, kind.values, "attention")


def _of_feed_forward(hidden: int, kind: FeedForward) -> Iterator[Weight]:
    yield from _of_experts(hidden, kind) if isinstance(kind, Experts) else _of_mlp(hidden, kind)


def _of_mlp(hidden: int, kind: Mlp, prefix: str = "") -> Iterator[Weight]:
    for name in ("gate", "up") if kind.gated else ("up",):
        yield Weight(prefix + name, kind.width, hidden, "mlp")
    yield Weight(f"{prefix}down", hidden, kind.width, "mlp")
    if kind.bias:
        yield Weight(f"{prefix}up.bias", kind.up_features, 0, "vector")
        yield Weight(f"{prefix}down.bias", hidden, 0, "vector")


def _of_experts(hidden: int, kind: Experts) -> Iterator[Weight]:
    held = kind.count // kind.groups
    for weight in _of_mlp(hidden, Mlp(kind.width // kind.slices, bias=kind.bias), "expert_"):
        yield replace(weight, count=held)
    yield Weight("router", kind.count, hidden, "mlp")
    for rows in [kind.count] * (kind.bias + kind.router_correction):
        yield Weight("router.vector", rows, 0, "vector")
    if kind.shared:
        yield from _of_mlp(hidden, Mlp(kind.shared), "shared_")
    if kind.shared_gate:
        yield Weight("shared_expert_gate", 1, hidden, "mlp")
