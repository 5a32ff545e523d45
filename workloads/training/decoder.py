"""A decoder's forward pass as it is trained: all tokens go to the head, additions are kernels, rotation too.

The graph is that of a prefill, changed where serving engines do other things: norms add no residual, attention appends
to no cache, and every token has logits, which are not gathered. Attention is one fused kernel, or `unfused`: products
of scores and of values with a softmax between, as before FlashAttention, with dropout there and before each addition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from simexplore.workloads.families.decoder.graph import build_prefill
from simexplore.workloads.families.decoder.options import PrefillOptions
from simexplore.workloads.families.decoder.shape import Decoder, Grouped, Mlp
from simexplore.workloads.families.decoder.share import shard
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import (
    Add,
    AllGather,
    AllReduce,
    AttentionPrefill,
    Bmm,
    Embedding,
    GdnPrefill,
    Gemm,
    MlaPrefill,
    Norm,
    Pointwise,
    Rope,
    Softmax,
)
from simexplore.workloads.training.methods.weights import Weight, weights_of
from simexplore.workloads.training.plan import Held

PARTS = {
    "qkv": ("q", "k", "v", "q.bias", "k.bias", "v.bias"),
    "attention": ("sinks",),
    "query_norm": ("head_norm", "q_norm"),
    "qkv_down": ("q_down", "kv_down"),
    "query_up": ("q",),
    "query": ("q",),
    "kv_down": ("kv_down",),
    "kv_norm": ("kv_norm",),
    "kv_up": ("kv_up",),
    "qkvz": ("qkvz",),
    "rates_projection": ("ba",),
    "convolution": ("conv",),
    "rates": ("rate",),
    "gated_norm": ("head_norm",),
    "projection": ("o", "o.bias"),
    "gate_up": ("gate", "up", "up.bias"),
    "up": ("up", "up.bias"),
    "down": ("down", "down.bias"),
    "router": ("router", "router.vector"),
    "experts": ("expert_gate", "expert_up", "expert_down", "expert_up.bias", "expert_down.bias"),
    "shared_gate_up": ("shared_gate", "shared_up"),
    "shared_down": ("shared_down",),
    "shared_gate": ("shared_expert_gate",),
    "attention_norm": ("norm",),
}
"""Tensors of a layer by the last word of the node that reads them; all norms of a layer are their first one's."""
ONLY_AFTER = {
    "qkvz": "rates_projection",
    "rates": "convolution",
    "kv_down": "query",
    "kv_norm": "query_up",
    "shared_gate_up": "experts",
    "shared_gate": "shared_down",
}
"""Nodes of a layer that come after another one on a serving engine's stream, and read nothing of it."""
MASK_BYTES = 1.0
"""Of an element that was dropped, or not."""


def is_plain(model: Decoder) -> bool:
    """Whether all layers are grouped attention and a dense feed-forward."""
    return all(isinstance(layer.attention, Grouped) and isinstance(layer.feed_forward, Mlp) for layer in model.layers)


def forward_pass(model: Decoder, name: str, options: PrefillOptions, *, unfused: bool = False) -> Graph:
    """The forward pass of a micro-batch on one of `tensor_parallel` GPUs.

    Args:
        model: the whole model.
        name: of the graph.
        options: as of a prefill, `prompt` tokens a sequence.
        unfused: attention by products and a softmax, with dropout.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """
    served = build_prefill(model, name, options)
    tokens = options.batch * options.prompt
    rotates = model.learned_positions == 0
    nodes: list[Node] = []
    sums: dict[str, str] = {}
    for node in served.nodes:
        if isinstance(node.op, AllGather):
            continue
        if isinstance(node.op, Norm) and node.op.residual:
            nodes += _apart(node, sums, unfused=unfused)
        elif isinstance(node.op, AttentionPrefill):
            nodes += _attention(node, node.op, rotates=rotates, unfused=unfused)
        elif isinstance(node.op, MlaPrefill):
            nodes += _latent_attention(node, node.op)
        elif isinstance(node.op, GdnPrefill):
            nodes.append(replace(node, op=replace(node.op, carried=0)))
        elif node.name == "embedding" and options.tensor_parallel > 1:
            nodes += _embedding_in_parts(node, options.tensor_parallel)
        elif node.name == "lm_head" and isinstance(node.op, Gemm):
            nodes.append(Node.of(node.name, replace(node.op, m=tokens), node.after, node.group))
        else:
            nodes.append(node)
    return Graph(name, tuple(_without_order(node) for node in nodes))


def _without_order(node: Node) -> Node:
    """A node that reads only what it uses: gradients go where reads come from."""
    group, _, part = node.name.rpartition(".")
    other = f"{group}.{ONLY_AFTER.get(part, '')}"
    return replace(node, unread=(other,)) if other in node.after else node


def _latent_attention(node: Node, op: MlaPrefill) -> Iterator[Node]:
    """Rotation of queries' and keys' parts, then attention over keys and values that were projected up."""
    expanded, queries, narrow = node.after
    rope = Rope(int(op.batch * op.seq_q), op.heads, 1, op.rope_dim, op.dtype)
    yield Node.of(f"{node.name}.rope", rope, (queries, narrow), node.group)
    yield Node.of(node.name, op, (f"{node.name}.rope", expanded, queries), node.group)


def _embedding_in_parts(node: Node, gpus: int) -> Iterator[Node]:
    """Each GPU looks up the tokens of its part of the vocabulary; the sum over GPUs, mostly of zeros, is the row.

    The sum has the embedding's name, so that what reads the embedding reads it.
    """
    op = node.op
    assert isinstance(op, Embedding)
    part = replace(op, vocabulary=-(-int(op.vocabulary) // gpus))
    yield Node.of(f"{node.name}.part", part, node.after, node.group)
    total = AllReduce(int(op.tokens * op.width), gpus, op.dtype)
    yield Node.of(node.name, total, (f"{node.name}.part",), node.group)


def _apart(norm: Node, sums: dict[str, str], *, unfused: bool) -> Iterator[Node]:
    """An addition, and the norm of its sum: the sum is what the next addition reads."""
    op = norm.op
    assert isinstance(op, Norm)
    branch, residual = norm.after
    elements, name = int(op.rows * op.cols), f"{branch}.add"
    added: Operator = Add(elements, op.dtype)
    if unfused:
        added = Pointwise(elements, 2, 1, 3, op.dtype, "add_dropout")
    held = float(added.output_bytes) + (MASK_BYTES * elements if unfused else 0.0)
    sums[norm.name] = name
    group = branch.split(".")[0] if "." in branch else norm.group
    yield Node(name, added, (branch, sums.get(residual, residual)), held, group)
    alone = replace(op, residual=0)  # type: ignore[type-var]  # norms are dataclasses
    yield Node.of(norm.name, alone, (name,), norm.group)


def _attention(node: Node, op: AttentionPrefill, *, rotates: bool, unfused: bool) -> Iterator[Node]:
    """Rotation, then attention as one kernel or as its parts."""
    before = node.after
    if rotates:
        rope = Rope(int(op.batch * op.seq_q), op.heads, op.kv_heads, op.head_dim, op.dtype)
        yield Node.of(f"{node.name}.rope", rope, before, node.group)
        before = (f"{node.name}.rope", before[-1])
    if not unfused:
        yield Node.of(node.name, op, before, node.group)
        return
    heads, names = int(op.batch * op.heads), [f"{node.name}.{part}" for part in ("scores", "softmax", "dropout")]
    scores = Bmm(m=op.seq_q, n=op.seq_kv, k=op.head_dim, batch=heads, dtype=op.dtype)
    elements = int(heads * op.seq_q * op.seq_kv)
    dropout = Pointwise(elements, 1, 1, 2, op.dtype, "dropout")
    yield Node.of(names[0], scores, before, node.group)
    yield Node.of(names[1], Softmax(int(heads * op.seq_q), op.seq_kv, op.dtype), (names[0],), node.group)
    yield Node(names[2], dropout, (names[1],), float(dropout.output_bytes) + MASK_BYTES * elements, node.group)
    values = Bmm(m=op.seq_q, n=op.head_dim, k=op.seq_kv, batch=heads, dtype=op.dtype)
    yield Node.of(node.name, values, (names[2], before[-1]), node.group)


def held_by_nodes(model: Decoder, name: str, options: PrefillOptions) -> Held:
    """The tensors of one GPU's share by the node of the forward pass that reads them.

    The head of a model whose head is its embedding holds none, but has a gradient: it is added to the embedding's.
    """
    share = shard(model, name, options)
    by_name: dict[str, list[Weight]] = {}
    for weight in weights_of(share):
        by_name.setdefault(weight.name, []).append(weight)
    gpus = options.tensor_parallel
    if gpus > 1:
        (table,) = by_name.pop("embedding")
        by_name["embedding.part"] = [replace(table, rows=-(-table.rows // gpus))]
    held: dict[str, tuple[Weight, ...]] = {}
    for node in build_prefill(model, name, options).nodes:
        group, _, part = node.name.rpartition(".")
        wanted = [f"{group}.{each}" for each in PARTS.get(part, ())] if group else [node.name, f"{node.name}.bias"]
        if gpus > 1 and node.name == "embedding":
            held["embedding.part"] = tuple(by_name["embedding.part"])
        held[node.name] = tuple(weight for each in wanted for weight in by_name.get(each, ()))
    if share.tied_head:
        held["lm_head"] += (Weight("lm_head", share.head_columns, share.hidden, "head", count=0),)
    return {node: weights for node, weights in held.items() if weights}
