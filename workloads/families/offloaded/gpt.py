"""A decoder of GPT-2's shape as the offloading systems train it: its layers' operators, forward and backward.

The four matrix products of a layer make what is worth keeping for the backward pass. What is kept elsewhere comes back
over a link; what is not is computed again. By operations saved per byte kept, the second product of the feed-forward
comes first (8 h² for h values a token), then the one behind attention (2 h² for h), then the other two alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from simexplore.workloads.operators.parameters import count_of
from simexplore.workloads.ops import Add, AttentionPrefill, Gelu, Gemm, LayerNorm, Operator

DTYPE = "fp16"
HALF_BYTES = 2
"""Of a value of a weight, gradient or activation in fp16 [B]."""
BACKWARD_OF_ATTENTION = 2.5
"""Products of flash attention's backward pass, five, over its forward one's two (T. Dao et al., FlashAttention)."""
INPUT = "x"
"""Name of what goes into a layer."""
BY_BENEFIT = ("fc2", "proj", "qkv", "fc1")
"""Products by operations that keeping a byte of their result saves, the most first (github.com/Crispig/Ratel)."""
WIDTHS = {INPUT: 1, "qkv": 3, "proj": 1, "fc1": 4, "fc2": 1}
"""Values a token of a layer's input, and of what each product makes, over the hidden size."""


@dataclass(frozen=True)
class Model:
    """The shape of a model and of a step's batch."""

    layers: int = field(default=40, metadata=count_of("layers"))
    hidden: int = field(default=5120, metadata=count_of("hidden size"))
    heads: int = field(default=40, metadata=count_of("attention heads"))
    batch: int = field(default=32, metadata=count_of("sequences in a step"))
    seq: int = field(default=1024, metadata=count_of("tokens of a sequence"))
    vocabulary: int = field(default=50257, metadata=count_of("entries of the embedding"))
    swapped: int = field(
        default=4,
        metadata=count_of("of each layer's four products, those kept off the GPU, 0 to 4", 0),
    )
    spilled: int = field(default=0, metadata=count_of("layers whose activations go on from host memory to drives", 0))
    ahead: int = field(default=2, metadata=count_of("layers that copies may run ahead of the work that needs them"))

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch * self.seq

    @property
    def layer_parameters(self) -> int:
        """Weights of a layer's four products, 12 h²."""
        return 12 * self.hidden**2

    @property
    def embedding_parameters(self) -> int:
        """Of tokens and of positions."""
        return (self.vocabulary + self.seq) * self.hidden

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return self.layers * self.layer_parameters + self.embedding_parameters

    @property
    def kept(self) -> tuple[str, ...]:
        """The products whose results are kept off the GPU."""
        return BY_BENEFIT[: self.swapped]

    def value_bytes(self, name: str) -> int:
        """Of what a product makes, or of a layer's input [B]."""
        return HALF_BYTES * self.tokens * self.hidden * WIDTHS[name]

    @property
    def kept_bytes(self) -> int:
        """What a layer keeps off the GPU: its input, and the results of those products [B]."""
        return sum(self.value_bytes(name) for name in (INPUT, *self.kept))

    @property
    def nominal_flops(self) -> float:
        """Operations of a step as the papers count them: six a parameter and token, recomputation not counted."""
        return 6.0 * self.parameters * self.tokens


class Part(NamedTuple):
    """An operator of a layer."""

    name: str
    op: Operator
    reads: tuple[str, ...]
    """Values of the forward pass that it reads, each named by the part that makes it; `x`: what goes into the layer."""
    weighs: bool = False
    """Whether it reads the layer's weights."""


def forward_parts(model: Model) -> list[Part]:
    """A layer's operators, in order."""
    tokens, hidden = model.tokens, model.hidden
    return [
        Part("ln1", LayerNorm(tokens, hidden, DTYPE), (INPUT,)),
        Part("qkv", Gemm(tokens, 3 * hidden, hidden, dtype=DTYPE), ("ln1",), True),
        Part("attend", _attention(model, 1.0), ("qkv",)),
        Part("proj", Gemm(tokens, hidden, hidden, dtype=DTYPE), ("attend",), True),
        Part("add1", Add(tokens * hidden, DTYPE), (INPUT, "proj")),
        Part("ln2", LayerNorm(tokens, hidden, DTYPE), ("add1",)),
        Part("fc1", Gemm(tokens, 4 * hidden, hidden, dtype=DTYPE), ("ln2",), True),
        Part("gelu", Gelu(tokens * 4 * hidden, DTYPE), ("fc1",)),
        Part("fc2", Gemm(tokens, hidden, 4 * hidden, dtype=DTYPE), ("gelu",), True),
        Part("add2", Add(tokens * hidden, DTYPE), ("add1", "fc2")),
    ]


def backward_parts(model: Model) -> list[Part]:
    """A layer's backward pass, in order; of each product the gradient of its input, then that of its weights (`.dw`).

    The first reads `fc2` as systems that run a layer again do: they run all of it, unless that was kept.
    """
    tokens, hidden = model.tokens, model.hidden

    def product(name: str, made: int, read: int, of: str, begins: tuple[str, ...] = ()) -> list[Part]:
        return [
            Part(f"{name}.dx", Gemm(tokens, read, made, dtype=DTYPE), begins, True),
            Part(f"{name}.dw", Gemm(read, made, tokens, dtype=DTYPE), (of,)),
        ]

    return [
        *product("fc2", hidden, 4 * hidden, "gelu", ("fc2",)),
        # It reads the gradient and what went in, and writes one: the traffic of an addition.
        Part("gelu.dx", Add(tokens * 4 * hidden, DTYPE), ("fc1",)),
        *product("fc1", 4 * hidden, hidden, "ln2"),
        Part("ln2.dx", LayerNorm(tokens, hidden, DTYPE), ("add1",)),  # and adds what came around the feed-forward
        *product("proj", hidden, hidden, "attend"),
        Part("attend.dx", _attention(model, BACKWARD_OF_ATTENTION), ("qkv", "attend")),
        *product("qkv", 3 * hidden, hidden, "ln1"),
        Part("ln1.dx", LayerNorm(tokens, hidden, DTYPE), (INPUT,)),
        Part("add.dx", Add(tokens * hidden, DTYPE), ()),
    ]


BROUGHT_AFTER = {INPUT: "fc2.dx", "proj": "fc2.dx", "qkv": "gelu.dx"}
"""The part of a layer's own backward pass after which a kept value comes back, so that it is there no longer than it
must be; the others, and all that anything is made again from, come while attention of the layer above is at work."""
ABOVE = "attend.dx"
"""The part of the layer above after which the first values come back."""


def _attention(model: Model, times: float) -> AttentionPrefill:
    """Causal attention over so many times the heads: work of a pass with more products than the forward one.

    Heads are scaled and not the batch, of which two and a half times one would be two.
    """
    heads, head = round(model.heads * times), model.hidden // model.heads
    return AttentionPrefill(model.batch, heads, heads, head, model.seq, model.seq, dtype=DTYPE)
