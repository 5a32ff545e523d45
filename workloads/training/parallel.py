"""Sequence parallelism (Korthikanti et al., arXiv:2205.05198): what GPUs of a layer do not share, they do in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Add, AllGather, AllReduce, Embedding, Gemm, Norm, Pointwise, ReduceScatter


def in_parts(forward: Graph, gpus: int) -> Graph:
    """A forward pass whose norms and additions each GPU does for its part of the tokens.

    An all-reduce becomes a reduce-scatter, and products that read a norm read what all GPUs' parts are gathered to: as
    many bytes on the links, and a fraction of the activations.

    Raises:
        SimexploreError: the tokens do not divide evenly.
    """
    tokens = next((int(node.op.tokens) for node in forward.nodes if isinstance(node.op, Embedding)), 0)
    if tokens % gpus:
        raise SimexploreError(f"{forward.name}: sequence_parallel: {gpus} GPUs must divide {tokens} tokens")
    nodes = {node.name: node for node in forward.nodes}
    parts = [each for node in forward.nodes for each in _part(node, nodes, tokens, gpus)]
    return replace(forward, nodes=tuple(parts))


def _part(node: Node, nodes: dict[str, Node], tokens: int, gpus: int) -> Iterator[Node]:
    op = node.op
    if isinstance(op, AllReduce):
        yield Node.of(node.name, ReduceScatter(op.elements, gpus, op.dtype), node.after, node.group)
    elif isinstance(op, Norm) and op.rows == tokens:
        yield _shrunk(node, gpus, rows=tokens // gpus)
    elif isinstance(op, Add) or (isinstance(op, Pointwise) and op.function == "add_dropout"):
        yield _shrunk(node, gpus, elements=int(op.elements) // gpus)
    elif isinstance(op, Gemm) and isinstance(nodes[node.after[0]].op, Norm) and op.m == tokens:
        gathered = f"{node.name}.gather"
        whole = AllGather(int(op.m * op.k), gpus, op.dtype)
        yield Node.of(gathered, whole, node.after[:1], node.group)
        yield replace(node, after=(gathered, *node.after[1:]))
    else:
        yield node


def _shrunk(node: Node, gpus: int, **sizes: int) -> Node:
    op = replace(node.op, **sizes)  # type: ignore[type-var]  # operators are dataclasses
    return replace(node, op=op, output_bytes=node.output_bytes / gpus)
