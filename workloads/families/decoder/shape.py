"""The shape of a decoder-only language model, layer by layer, and what it counts: parameters and KV elements.

A layer is an attention and a feed-forward, each one of a few kinds. A kind knows its parameters; which operators it
amounts to is `graph`'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

STATE_BYTES = 4.0
"""Of an element of a delta network's state, which engines keep in fp32 (`mamba_ssm_dtype` of the configurations)."""
Norm = Literal["rms", "layer"]
Placement = Literal["before", "around", "parallel", "shared"]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Attention whose query heads share key-value heads (Ainslie et al. 2023, arXiv:2305.13245).

    Args:
        window: keys that a query sees, itself included; 0: all.
        qkv_bias, out_bias: whether the projections have biases.
        head_norm: an RMSNorm of `head_dim` on each query and key head.
        sinks: a learned logit for each query head.
        gated: what each head makes is weighed by a sigmoid of one more projection, as wide as queries.
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int = 0
    qkv_bias: bool = False
    out_bias: bool = False
    head_norm: bool = False
    sinks: bool = False
    gated: bool = False

    @property
    def qkv_features(self) -> int:
        """Columns of the fused projection of queries, keys and values, and of gates."""
        return (self.heads * (1 + self.gated) + 2 * self.kv_heads) * self.head_dim

    @property
    def kv_elements(self) -> int:
        """Elements of the KV cache for each token."""
        return 2 * self.kv_heads * self.head_dim

    def parameters(self, hidden: int) -> int:
        """Weights, biases and vectors."""
        matrices = hidden * (self.qkv_features + self.heads * self.head_dim)
        biases = self.qkv_features * self.qkv_bias + hidden * self.out_bias
        return matrices + biases + 2 * self.head_dim * self.head_norm + self.heads * self.sinks

    def share(self, gpus: int) -> Grouped:
        """One GPU's part of it; with more GPUs than key-value heads several hold the same one."""
        return replace(self, heads=self.heads // gpus, kv_heads=max(1, self.kv_heads // gpus))


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: keys and values come from one narrow vector a token (DeepSeek-V2, arXiv:2405.04434).

    Args:
        q_rank: width that queries are first projected to; 0: they are not.
        kv_rank: width of the vector that is cached.
        nope, rope: width of a head's query and key without and with rotation; the rotated key is one for all heads.
        value: width of a head's value.
    """

    heads: int
    q_rank: int
    kv_rank: int
    nope: int
    rope: int
    value: int
    window: int = 0

    @property
    def kv_elements(self) -> int:
        """Elements of the KV cache for each token: the narrow vector and the rotated key."""
        return self.kv_rank + self.rope

    def parameters(self, hidden: int) -> int:
        """Weights, and the norms of the narrow vectors."""
        queries = self.heads * (self.nope + self.rope)
        of_queries = self.q_rank * (hidden + 1 + queries) if self.q_rank else hidden * queries
        of_keys = hidden * self.kv_elements + self.kv_rank * (1 + self.heads * (self.nope + self.value))
        return of_queries + of_keys + self.heads * self.value * hidden

    def share(self, gpus: int) -> Latent:
        """One GPU's part of it: its heads."""
        return replace(self, heads=self.heads // gpus)


@dataclass(frozen=True, slots=True)
class Delta:
    """A gated delta network in place of attention: a state a head, no KV cache (Yang et al., arXiv:2412.06464).

    Queries, keys and values go through a convolution; what each head makes is normalised and weighed by a gate.

    Args:
        heads: value heads, each with a state of `key_dim` x `value_dim`.
        key_heads: heads of queries and of keys.
        taps: of the convolution, over tokens.
    """

    heads: int
    key_heads: int
    key_dim: int
    value_dim: int
    taps: int = 4
    window: int = 0

    @property
    def channels(self) -> int:
        """Of the convolution: queries, keys and values."""
        return 2 * self.key_heads * self.key_dim + self.values

    @property
    def values(self) -> int:
        """Elements of all heads' values."""
        return self.heads * self.value_dim

    @property
    def kv_elements(self) -> int:
        """None: what it keeps does not grow with the tokens."""
        return 0

    @property
    def state_elements(self) -> int:
        """Elements of the states of a sequence, which are fp32."""
        return self.values * self.key_dim

    @property
    def kept_elements(self) -> int:
        """Elements of the tokens that the convolution of the next one needs."""
        return self.channels * (self.taps - 1)

    def parameters(self, hidden: int) -> int:
        """Projections, filters, a rate and a bias of forgetting a head, and the norm of a head's result."""
        into = hidden * (self.channels + self.values + 2 * self.heads)
        return into + self.channels * self.taps + 2 * self.heads + self.value_dim + self.values * hidden

    def share(self, gpus: int) -> Delta:
        """One GPU's part of it; with more GPUs than key heads several hold the same one."""
        return replace(self, heads=self.heads // gpus, key_heads=max(1, self.key_heads // gpus))


@dataclass(frozen=True, slots=True)
class Mlp:
    """A dense feed-forward.

    Args:
        width: features between its two projections.
        gated: gate and value side by side (SwiGLU, GeGLU); else one projection up.
        activation: the function on the gate, or on what was projected up.
        bias: whether both projections have biases.
    """

    width: int
    gated: bool = True
    activation: Literal["silu", "gelu", "relu"] = "silu"
    bias: bool = False

    @property
    def up_features(self) -> int:
        """Columns of the projection into it."""
        return (2 if self.gated else 1) * self.width

    def parameters(self, hidden: int) -> int:
        """Weights and biases."""
        return hidden * (self.up_features + self.width) + (self.up_features + hidden) * self.bias

    def share(self, gpus: int) -> Mlp:
        """One GPU's part of it."""
        return replace(self, width=self.width // gpus)


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated experts of which a router chooses some for each token, or one GPU's part of it.

    Args:
        count: experts that the router chooses among.
        chosen: experts that a token goes through.
        width: features between an expert's two projections.
        shared: width of the experts that every token goes through, side by side; 0: none. One GPU's part of it.
        shared_gate: a vector that weighs the shared experts.
        bias: whether the experts' projections and the router have biases.
        router_correction: a number for each expert that balances the load.
        groups: groups of GPUs among which experts are divided.
        slices: GPUs of a group, which divide each expert.
    """

    count: int
    chosen: int
    width: int
    shared: int = 0
    shared_gate: bool = False
    bias: bool = False
    router_correction: bool = False
    groups: int = 1
    slices: int = 1

    def parameters(self, hidden: int) -> int:
        """Weights and biases of the experts held here and of the router."""
        return self._parameters(hidden, self.count // self.groups)

    def active_parameters(self, hidden: int) -> int:
        """Of those, what one token is multiplied by, where all experts are held here."""
        return self._parameters(hidden, self.chosen)

    def _parameters(self, hidden: int, experts: int) -> int:
        of_experts = experts * Mlp(self.width // self.slices, bias=self.bias).parameters(hidden)
        router = self.count * (hidden + self.bias + self.router_correction)
        return of_experts + router + Mlp(self.shared).parameters(hidden) + hidden * self.shared_gate

    def share(self, gpus: int, groups: int) -> Experts:
        """One GPU's part of it: a part of the experts, of each a part, and a part of the shared ones."""
        return replace(self, shared=self.shared // gpus, groups=groups, slices=gpus // groups)


Attention = Grouped | Latent | Delta
FeedForward = Mlp | Experts


@dataclass(frozen=True, slots=True)
class Layer:
    """An attention and the feed-forward after it, or beside it."""

    attention: Attention
    feed_forward: FeedForward

    def parameters(self, hidden: int) -> int:
        """All but the norms before and after its parts."""
        return self.attention.parameters(hidden) + self.feed_forward.parameters(hidden)

    def idle_parameters(self, hidden: int) -> int:
        """Those of experts that a token does not go through."""
        kind = self.feed_forward
        return kind.parameters(hidden) - kind.active_parameters(hidden) if isinstance(kind, Experts) else 0

    def share(self, gpus: int, groups: int = 1) -> Layer:
        """One GPU's part of it; of experts, `groups` groups of GPUs have a part each."""
        kind = self.feed_forward
        part = kind.share(gpus, groups) if isinstance(kind, Experts) else kind.share(gpus)
        return Layer(self.attention.share(gpus), part)


NORMS_OF_A_LAYER: dict[Placement, int] = {"before": 2, "around": 4, "parallel": 2, "shared": 1}
"""Norms beside each residual stream of a layer, by where they are."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder-only transformer, or one GPU's share of it.

    Args:
        name: for people and in names of workloads.
        layers: in order; models whose layers differ list each.
        norm: `rms` has one learned vector, `layer` two.
        placement: of a layer's norms. `before`: before attention and before feed-forward. `around`: also after each.
            `parallel`: attention and feed-forward read the same sum, each through a norm of its own. `shared`: through
            one.
        learned_positions: rows of the position table; 0: rotary embedding.
        tied_head: the output head is the embedding table.
        head_bias: the output head has a bias.
        head_columns: columns of the output head held here; 0: the whole vocabulary.
        published_parameters: count that the source gives; 0: none.
        source: citation.
    """

    name: str
    hidden: int
    vocabulary: int
    layers: tuple[Layer, ...]
    norm: Norm = "rms"
    placement: Placement = "before"
    learned_positions: int = 0
    tied_head: bool = False
    head_bias: bool = False
    head_columns: int = 0
    published_parameters: float = 0.0
    source: str = ""

    @property
    def norm_parameters(self) -> int:
        """Elements of one norm's vectors."""
        return self.hidden * (1 if self.norm == "rms" else 2)

    @property
    def layer_parameters(self) -> int:
        """Parameters of all layers."""
        norms = NORMS_OF_A_LAYER[self.placement] * self.norm_parameters * len(self.layers)
        return norms + self._sum(lambda layer: layer.parameters(self.hidden))

    @property
    def outer_parameters(self) -> int:
        """Embedding tables, last norm and output head."""
        columns = self.head_columns or self.vocabulary
        tables = self.hidden * (self.vocabulary + self.learned_positions + (0 if self.tied_head else columns))
        return tables + self.norm_parameters + columns * self.head_bias

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.layer_parameters + self.outer_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token goes through: all but those of experts that are not chosen for it."""
        return self.parameters - self._sum(lambda layer: layer.idle_parameters(self.hidden))

    def kv_elements(self, tokens: int = 1) -> int:
        """Elements of the KV cache of one sequence of `tokens`; a layer with a window keeps no more than that."""
        return self._sum(lambda layer: layer.attention.kv_elements * min(tokens, layer.attention.window or tokens))

    def state_bytes(self, element: float) -> float:
        """States of one sequence [B]: fp32 ones of delta networks, and tokens of `element` bytes for convolutions."""
        kinds = [layer.attention for layer in self.layers if isinstance(layer.attention, Delta)]
        return float(sum(STATE_BYTES * kind.state_elements + element * kind.kept_elements for kind in kinds))

    def _sum(self, amount: Callable[[Layer], int]) -> int:
        """A sum over layers that asks each kind of layer once."""
        return sum(count * amount(layer) for layer, count in Counter(self.layers).items())
