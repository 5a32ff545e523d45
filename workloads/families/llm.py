"""Decoder-only language models, as serving engines run them: one prefill of prompts, or one decode step.

What is one operator here is one kernel or module of a serving engine (TensorRT-LLM, vLLM):
the query, key and value projections are one GEMM, and so are SwiGLU's gate and up projections; rotary embedding and
the append to the KV cache are part of attention; residual additions are fused into the norm that follows; biases are
added in a GEMM's epilogue. Activations are narrowed for 8-bit GEMMs by the norm or activation that makes them, and
after attention by kernels of their own. Only the last token of a prompt goes through the output head.

Tensor parallelism (Shoeybi et al. 2019, "Megatron-LM", arXiv:1909.08053): the graph is one GPU's share. Heads and the
feed-forward width are divided, with an all-reduce after attention and after the feed-forward. The embedding table is
held whole by every GPU; the output head is divided by columns, the vocabulary rounded up, and its logits gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from simexplore.errors import SimexploreError
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.llm_shapes import SHAPES, ModelShape
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.parameters import count_of, dtype_of, label_of
from simexplore.workloads.ops import (
    Add,
    AllGather,
    AllReduce,
    Attention,
    AttentionDecode,
    AttentionPrefill,
    Embedding,
    Gelu,
    Gemm,
    LayerNorm,
    Operator,
    RmsNorm,
    SiluMul,
)
from simexplore.workloads.workload import Workload

QUANTIZE = ("fused", "kernels")


@dataclass(frozen=True, slots=True)
class Options:
    """What prefill and decode have in common."""

    batch: int = field(default=1, metadata=count_of("sequences"))
    dtype: str = field(
        default="bf16",
        metadata=dtype_of("type of the layers' GEMMs; when narrower than 16 bits, all else is bf16, the head too"),
    )
    weight_dtype: str | None = field(
        default=None, metadata=dtype_of("type the layers' weights are stored in; none: dtype")
    )
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the KV cache; none: as the activations"))
    quantize: str = field(
        default="fused",
        metadata=label_of(
            "how activations are narrowed for the layers' GEMMs. fused: by the norm or activation before them; "
            "kernels: by kernels of their own"
        ),
    )
    tensor_parallel: int = field(default=1, metadata=count_of("GPUs that share every layer"))
    layers: int = field(default=0, metadata=count_of("layers, for a quick run; 0: all of the model's", minimum=0))

    @property
    def activation_dtype(self) -> str:
        """Type of everything that is not a layer's GEMM."""
        return self.dtype if bytes_of(self.dtype) >= 2 else "bf16"

    @property
    def written_dtype(self) -> str | None:
        """Type that norms and activations write for the layers' GEMMs; None: the activations' own."""
        fused = self.quantize == "fused" and self.dtype != self.activation_dtype
        return self.dtype if fused else None


@dataclass(frozen=True, slots=True)
class PrefillOptions(Options):
    """A prefill: every prompt goes through the model once."""

    prompt: int = field(default=2048, metadata=count_of("tokens of each prompt"))


@dataclass(frozen=True, slots=True)
class DecodeOptions(Options):
    """A decode step: one new token for each sequence."""

    context: int = field(
        default=2048, metadata=count_of("tokens in the KV cache of each sequence, the new one included")
    )


def build_prefill(shape: ModelShape, options: PrefillOptions) -> Graph:
    """The graph of one prefill of `batch` prompts on one of `tensor_parallel` GPUs.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """
    share = shard(shape, options)
    attention = AttentionPrefill(
        batch=options.batch,
        heads=share.heads,
        kv_heads=share.kv_heads,
        head_dim=share.head_dim,
        seq_q=options.prompt,
        seq_kv=options.prompt,
        dtype=options.activation_dtype,
        kv_dtype=options.kv_dtype,
    )
    nodes = _model(share, options, options.batch * options.prompt, attention)
    return Graph(f"llm/{shape.name}/prefill", nodes, resident_bytes(share, options, options.prompt))


def build_decode(shape: ModelShape, options: DecodeOptions) -> Graph:
    """The graph of one decode step of `batch` sequences on one of `tensor_parallel` GPUs.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """
    share = shard(shape, options)
    attention = AttentionDecode(
        batch=options.batch,
        heads=share.heads,
        kv_heads=share.kv_heads,
        head_dim=share.head_dim,
        seq_kv=options.context,
        dtype=options.activation_dtype,
        kv_dtype=options.kv_dtype,
    )
    nodes = _model(share, options, options.batch, attention)
    return Graph(f"llm/{shape.name}/decode", nodes, resident_bytes(share, options, options.context))


def shard(shape: ModelShape, options: Options) -> ModelShape:
    """One GPU's share of a model: heads, key-value heads and feed-forward width divided, layers cut if asked.

    With more GPUs than key-value heads each of these is held by several GPUs.

    Raises:
        SimexploreError: something does not divide evenly, or there are not that many layers.
    """
    if options.quantize not in QUANTIZE:
        known = " or ".join(QUANTIZE)
        raise SimexploreError(f"llm/{shape.name}: quantize: expected {known}, found {options.quantize!r}")
    gpus = options.tensor_parallel
    copies = gpus % shape.kv_heads == 0
    if shape.heads % gpus or shape.ffn % gpus or (shape.kv_heads % gpus and not copies):
        raise SimexploreError(
            f"llm/{shape.name}: tensor_parallel={gpus} must divide heads={shape.heads} and ffn={shape.ffn}, and divide "
            f"or be a multiple of kv_heads={shape.kv_heads}"
        )
    if options.layers > shape.layers:
        raise SimexploreError(f"llm/{shape.name}: layers={options.layers} must be at most {shape.layers} (0: all)")
    return replace(
        shape,
        layers=options.layers or shape.layers,
        heads=shape.heads // gpus,
        kv_heads=max(1, shape.kv_heads // gpus),
        ffn=shape.ffn // gpus,
        head_vocabulary=-(-shape.vocabulary // gpus),
    )


def resident_bytes(share: ModelShape, options: Options, tokens: int) -> dict[str, float]:
    """Memory held on one GPU from start to end [B]: weights, and the KV cache of `tokens` tokens a sequence.

    The biases and norm vectors of a layer, under 0.1 % of it, are counted in the type of its weights.
    """
    outside_bytes = bytes_of(options.activation_dtype) * share.parameters_outside_layers
    layer_bytes = bytes_of(options.weight_dtype or options.dtype) * share.parameters_per_layer
    kv_elements = 2.0 * options.batch * tokens * share.kv_heads * share.head_dim * share.layers
    return {
        "weights": outside_bytes + layer_bytes * share.layers,
        "kv_cache": kv_elements * bytes_of(options.kv_dtype or options.activation_dtype),
    }


@dataclass(frozen=True, slots=True)
class _Parts:
    """The operators of a model for a given number of tokens: what the layers are made of."""

    share: ModelShape
    options: Options
    tokens: int

    def gemm(self, out_features: int, in_features: int, *, after_attention: bool = False) -> Gemm:
        """A layer's GEMM; what it reads is narrow already, where a norm or an activation wrote it so."""
        dtype, activation = self.options.dtype, self.options.activation_dtype
        narrow = activation == dtype or (self.options.written_dtype is not None and not after_attention)
        quantised = None if narrow else activation
        return Gemm(
            m=self.tokens,
            n=out_features,
            k=in_features,
            dtype=dtype,
            weight_dtype=self.options.weight_dtype,
            activation_dtype=quantised,
        )

    def norm(self, residual: int, *, of_layer: bool = True) -> Operator:
        """A norm; that before the output head writes no narrow type."""
        family = RmsNorm if self.share.gated else LayerNorm
        written = self.options.written_dtype if of_layer else None
        return family(self.tokens, self.share.hidden, self.options.activation_dtype, residual, written)

    def activation(self) -> Operator:
        family = SiluMul if self.share.gated else Gelu
        return family(self.tokens * self.share.ffn, self.options.activation_dtype, self.options.written_dtype)

    def all_reduce(self) -> AllReduce:
        elements = self.tokens * self.share.hidden
        return AllReduce(elements, self.options.tensor_parallel, self.options.activation_dtype)


class _Chain:
    """Nodes in the making, each after the one before unless told otherwise."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.last: tuple[str, ...] = ()
        self.residual: str | None = None
        """The node whose result holds the sum that the next residual addition needs."""

    def add(self, name: str, op: Operator, group: str, also_after: str | None = None) -> str:
        after = self.last if also_after is None or also_after in self.last else (*self.last, also_after)
        node = Node.of(name, op, after, group)
        self.nodes.append(replace(node, module=isinstance(op, Attention)))
        self.last = (name,)
        return name


def _model(share: ModelShape, options: Options, tokens: int, attention: Operator) -> tuple[Node, ...]:
    parts = _Parts(share, options, tokens)
    chain = _Chain()
    _add_embedding(chain, parts)
    for index in range(share.layers):
        _add_layer(chain, parts, f"layer{index}", attention, first=index == 0)
    chain.add("norm", parts.norm(residual=1, of_layer=False), "head", also_after=chain.residual)
    dtype = options.activation_dtype
    chain.add("lm_head", Gemm(m=options.batch, n=share.head_vocabulary, k=share.hidden, dtype=dtype), "head")
    if options.tensor_parallel > 1:
        elements = options.batch * share.head_vocabulary * options.tensor_parallel
        chain.add("gather_logits", AllGather(elements, options.tensor_parallel, dtype), "head")
    return tuple(chain.nodes)


def _add_embedding(chain: _Chain, parts: _Parts) -> None:
    share, dtype = parts.share, parts.options.activation_dtype
    chain.add("embedding", Embedding(parts.tokens, share.hidden, share.vocabulary, dtype), "embedding")
    if share.learned_positions:
        positions = Embedding(parts.tokens, share.hidden, share.learned_positions, dtype)
        chain.nodes.append(Node.of("position_embedding", positions, group="embedding"))
        both = Add(parts.tokens * share.hidden, dtype)
        chain.add("add_positions", both, "embedding", also_after="position_embedding")
    chain.residual = chain.last[0]


def _add_layer(chain: _Chain, parts: _Parts, group: str, attention: Operator, first: bool) -> None:
    share, parallel = parts.share, parts.options.tensor_parallel > 1

    def add(name: str, op: Operator, also_after: str | None = None) -> str:
        return chain.add(f"{group}.{name}", op, group, also_after)

    # The first norm adds no residual: its input, the embedding, is the residual of the second.
    norm = add("attention_norm", parts.norm(residual=0 if first else 1), also_after=chain.residual)
    residual = chain.residual if first else norm
    add("qkv", parts.gemm(share.qkv_features, share.hidden))
    add("attention", attention)
    add("projection", parts.gemm(share.hidden, share.heads * share.head_dim, after_attention=True))
    if parallel:
        add("attention_all_reduce", parts.all_reduce())
    chain.residual = add("ffn_norm", parts.norm(residual=1), also_after=residual)
    add("gate_up" if share.gated else "up", parts.gemm(share.up_features, share.hidden))
    add("activation", parts.activation())
    add("down", parts.gemm(share.hidden, share.ffn))
    if parallel:
        add("ffn_all_reduce", parts.all_reduce())


def _workload(shape: ModelShape, phase: str, options: type[Options], builder: Callable[..., Graph]) -> Workload:
    description = f"{phase} of {shape.name}: {shape.source}"
    return Workload(f"llm/{shape.name}/{phase}", description, options, partial(builder, shape))


WORKLOADS = tuple(
    _workload(shape, phase, options, builder)
    for shape in SHAPES
    for phase, options, builder in (
        ("prefill", PrefillOptions, build_prefill),
        ("decode", DecodeOptions, build_decode),
    )
)
"""A prefill and a decode step of every model."""
