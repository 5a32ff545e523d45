"""Graphs of decoder-only language models, as serving engines run them: a prefill of prompts, or one decode step.

What is one operator here is one kernel or module of a serving engine (TensorRT-LLM, vLLM):
the query, key and value projections are one GEMM, and so are a gated feed-forward's gate and up projections; rotary
embedding and the append to the KV cache are part of attention; residual additions are fused into the norm that
follows; biases are added in a GEMM's epilogue. Activations are narrowed for 8-bit GEMMs by the norm or activation that
makes them, and after attention by kernels of their own. Only the last token of a prompt goes through the output head.
Scaling of the embedding and soft caps of logits are left out.

Tensor parallelism (Shoeybi et al. 2019, "Megatron-LM", arXiv:1909.08053): the graph is one GPU's share. Heads and the
feed-forward width are divided, with an all-reduce after attention and after the feed-forward. The embedding table is
held whole by every GPU; the output head is divided by columns, the vocabulary rounded up, and its logits gathered.
Latent attention, delta networks and experts have modules of their own beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from simexplore.workloads.families.decoder.chain import ATTENTION, Chain, Parts
from simexplore.workloads.families.decoder.delta import add_delta_network
from simexplore.workloads.families.decoder.feed_forward import add_feed_forward
from simexplore.workloads.families.decoder.latent import add_latent_attention
from simexplore.workloads.families.decoder.options import DecodeOptions, Options, PrefillOptions
from simexplore.workloads.families.decoder.shape import Decoder, Grouped, Latent, Layer, Mlp
from simexplore.workloads.families.decoder.share import resident_bytes, shard
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Count
from simexplore.workloads.ops import (
    Add,
    AllGather,
    AttentionDecode,
    AttentionPrefill,
    Embedding,
    Gemm,
    LayerNorm,
    Operator,
    Pointwise,
    RmsNorm,
)

GATE_FLOPS = 4
"""Of x sigmoid(gate): exp, addition, reciprocal and product."""
AttentionOf = Callable[[Grouped], Mapping[str, Operator]]
"""From a kind of attention to the operators that it amounts to, by the name of their node."""


def build_prefill(model: Decoder, name: str, options: PrefillOptions) -> Graph:
    """The graph of one prefill of `batch` prompts on one of `tensor_parallel` GPUs.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """

    def attention(kind: Grouped) -> dict[str, Operator]:
        return {ATTENTION: prefill_attention(kind, options, options.batch, options.prompt, 0)}

    return _graph(model, name, options, options.prompt, options.batch * options.prompt, attention)


def build_decode(model: Decoder, name: str, options: DecodeOptions) -> Graph:
    """The graph of one decode step of `batch` sequences on one of `tensor_parallel` GPUs.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """

    def attention(kind: Grouped) -> dict[str, Operator]:
        return {ATTENTION: decode_attention(kind, options, options.batch, options.context)}

    return _graph(model, name, options, options.context, options.batch, attention)


def prefill_attention(kind: Grouped, options: Options, sequences: Count, queries: Count, past: Count) -> Operator:
    """Attention of the last tokens of sequences, each of as many queries after as many earlier tokens."""
    return AttentionPrefill(
        batch=sequences,
        heads=kind.heads,
        kv_heads=kind.kv_heads,
        head_dim=kind.head_dim,
        seq_q=queries,
        seq_kv=past + queries,
        window=_window(kind, past + queries),
        dtype=options.activation_dtype,
        kv_dtype=options.kv_dtype,
    )


def decode_attention(kind: Grouped, options: Options, sequences: Count, context: Count) -> Operator:
    """Attention of a new token of each sequence, which is one of its `context` tokens."""
    return AttentionDecode(
        batch=sequences,
        heads=kind.heads,
        kv_heads=kind.kv_heads,
        head_dim=kind.head_dim,
        seq_kv=context,
        window=_window(kind, context),
        dtype=options.activation_dtype,
        kv_dtype=options.kv_dtype,
    )


def _window(kind: Grouped, tokens: Count) -> Count:
    """A window that sees all tokens is none."""
    if isinstance(tokens, int):
        return kind.window if kind.window < tokens else 0
    return np.where(kind.window < tokens, kind.window, 0)


def _graph(model: Decoder, name: str, options: Options, length: int, tokens: int, attention: AttentionOf) -> Graph:
    share = shard(model, name, options)
    nodes = nodes_of(Parts(share, options, tokens, options.batch), attention)
    return Graph(name, nodes, resident_bytes(share, options, length))


def nodes_of(parts: Parts, attention: AttentionOf) -> tuple[Node, ...]:
    """The nodes of all layers, and of what is before and after them."""
    chain = Chain()
    add_embedding(chain, parts)
    for index, layer in enumerate(parts.share.layers):
        add_layer(chain, parts, f"layer{index}", layer, attention, first=index == 0)
    add_head(chain, parts)
    return tuple(chain.nodes)


def add_embedding(chain: Chain, parts: Parts) -> None:
    """What turns tokens into vectors."""
    share, dtype = parts.share, parts.options.activation_dtype
    chain.add("embedding", Embedding(parts.tokens, share.hidden, share.vocabulary, dtype), "embedding")
    if share.learned_positions:
        positions = Embedding(parts.tokens, share.hidden, share.learned_positions, dtype)
        chain.beside("position_embedding", positions, "embedding")
        both = Add(parts.tokens * share.hidden, dtype)
        chain.add("add_positions", both, "embedding", "position_embedding")
    chain.residual = chain.last[0]


def add_layer(chain: Chain, parts: Parts, group: str, layer: Layer, attention: AttentionOf, first: bool) -> None:
    """A layer's attention and feed-forward with their norms; `first`: there is no sum before it."""
    if parts.share.placement in ("parallel", "shared"):
        _add_parallel_layer(chain, parts, group, layer, attention)
        return
    around, narrow = parts.share.placement == "around", isinstance(layer.feed_forward, Mlp)
    # The first norm adds no residual: its input, the embedding, is the residual of the second.
    norm = chain.add(f"{group}.attention_norm", _norm(parts, 0 if first else 1), group, chain.residual)
    residual = chain.residual if first else norm
    _add_attention(chain, parts, group, layer, attention)
    if around:
        chain.add(f"{group}.attention_post_norm", _norm(parts, 0, narrow=False), group)
    chain.residual = chain.add(f"{group}.ffn_norm", _norm(parts, 1, narrow=narrow), group, residual)
    add_feed_forward(chain, parts, group, layer.feed_forward)
    if around:
        chain.add(f"{group}.ffn_post_norm", _norm(parts, 0, narrow=False), group)


def _add_parallel_layer(chain: Chain, parts: Parts, group: str, layer: Layer, attention: AttentionOf) -> None:
    """Attention and feed-forward of the same sum, one after the other, as engines run them; then one addition."""
    before = chain.residual
    norm = chain.add(f"{group}.attention_norm", _norm(parts, 0), group, before)
    _add_attention(chain, parts, group, layer, attention)
    attended = chain.last[0]
    if parts.share.placement == "parallel":
        chain.add(f"{group}.ffn_norm", _norm(parts, 0), group, before)
    add_feed_forward(chain, parts, group, layer.feed_forward, norm if parts.share.placement == "shared" else None)
    elements = parts.tokens * parts.share.hidden
    total = Pointwise(elements, 3, 1, 2, parts.options.activation_dtype, "add_residual")
    chain.residual = chain.add(f"{group}.residual", total, group, attended, before)


def _add_attention(chain: Chain, parts: Parts, group: str, layer: Layer, attention: AttentionOf) -> None:
    kind = layer.attention
    if isinstance(kind, Grouped):
        _add_grouped(chain, parts, group, kind, attention)
    elif isinstance(kind, Latent):
        add_latent_attention(chain, parts, group, kind)
    else:
        add_delta_network(chain, parts, group, kind)
    if parts.options.tensor_parallel > 1:
        chain.add(f"{group}.attention_all_reduce", parts.all_reduce(), group)


def _add_grouped(chain: Chain, parts: Parts, group: str, kind: Grouped, attention: AttentionOf) -> None:
    dtype = parts.options.activation_dtype
    projected = chain.add(f"{group}.qkv", parts.gemm(kind.qkv_features, parts.share.hidden), group)
    if kind.head_norm:
        chain.add(f"{group}.query_norm", RmsNorm(parts.tokens * kind.heads, kind.head_dim, dtype), group)
        chain.add(f"{group}.key_norm", RmsNorm(parts.tokens * kind.kv_heads, kind.head_dim, dtype), group, projected)
    for part, op in attention(kind).items():
        chain.add(f"{group}.{part}", op, group, projected)
    if kind.gated:
        gate = Pointwise(parts.tokens * kind.heads * kind.head_dim, 2, 1, GATE_FLOPS, dtype, "sigmoid_gate")
        chain.add(f"{group}.attention_gate", gate, group, projected)
    chain.add(f"{group}.projection", parts.gemm(parts.share.hidden, kind.heads * kind.head_dim, wide=True), group)


def _norm(parts: Parts, residual: int, *, narrow: bool = True) -> Operator:
    """A norm; one whose result no layer's GEMM reads writes no narrow type, nor one before experts."""
    family = RmsNorm if parts.share.norm == "rms" else LayerNorm
    written = parts.options.written_dtype if narrow else None
    return family(parts.tokens, parts.share.hidden, parts.options.activation_dtype, residual, written)


def add_head(chain: Chain, parts: Parts) -> None:
    """The last norm, and the output head on the tokens that are sampled."""
    share, options = parts.share, parts.options
    residual = 1 if share.placement in ("before", "around") else 0
    chain.add("norm", _norm(parts, residual, narrow=False), "head", chain.residual)
    dtype = options.activation_dtype
    chain.add("lm_head", Gemm(m=parts.sampled, n=share.head_columns, k=share.hidden, dtype=dtype), "head")
    if options.tensor_parallel > 1:
        elements = parts.sampled * share.head_columns * options.tensor_parallel
        chain.add("gather_logits", AllGather(elements, options.tensor_parallel, dtype), "head")
