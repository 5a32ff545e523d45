"""Decode steps whose keys and values stay in a CPU's memory: attention over a window, and over what a search finds.

After RetrievalAttention (Liu et al., arXiv:2409.10516): the GPU holds the first tokens and the last ones; the CPU holds
all others, finds for each query head those that matter, and attends to them; both results are merged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import AttentionDecode, HostWork, Transfer

CPU = "cpu"
"""Place of the search and of what it finds."""
VECTOR_BYTES = 4
"""Of an element on the CPU: FAISS holds fp32 [B]."""


@dataclass(frozen=True)
class Retrieval:
    """How a step finds what the GPU does not hold."""

    search: Operator
    """Of one layer, all heads."""
    found: int
    """Tokens that each query head attends to on the CPU."""
    held: int
    """Tokens whose keys and values the CPU holds."""


def retrieving(graph: Graph, retrieval: Retrieval) -> Graph:
    """A decode step on the GPU's window, with a search and attention on the CPU beside each layer's attention.

    Queries go to the CPU when they are made. What comes back is merged before the projection, so the step waits for it.
    The step's KV cache is that of the window; the CPU's keys and values are held from start to end.
    """
    nodes: list[Node] = []
    held_bytes = 0.0
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        node = replace(node, after=tuple(name for old in node.after for name in _with(old, renamed)))
        nodes.append(node)
        if isinstance(node.op, AttentionDecode):
            beside = _beside(node, node.op, retrieval)
            nodes += beside
            renamed[node.name] = beside[-1].name
            held_bytes += 2.0 * retrieval.held * int(node.op.kv_heads) * int(node.op.head_dim) * VECTOR_BYTES
    elsewhere = {**graph.resident_elsewhere, CPU: {"kv_cache": held_bytes}}
    return replace(graph, name=f"{graph.name}, retrieving", nodes=tuple(nodes), resident_elsewhere=elsewhere)


def _with(name: str, renamed: dict[str, str]) -> tuple[str, ...]:
    return (name, renamed[name]) if name in renamed else (name,)


def _beside(node: Node, op: AttentionDecode, retrieval: Retrieval) -> list[Node]:
    """The queries on their way, the search, attention over what it found, and the result on its way back."""
    elements = int(op.batch * op.heads * op.head_dim)
    attended = int(op.batch * op.heads * retrieval.found)
    attend = HostWork(4 * attended * int(op.head_dim), 2 * attended * int(op.head_dim) * VECTOR_BYTES)
    steps: list[tuple[str, Operator, str]] = [
        ("queries", Transfer(2 * elements, dtype="fp16"), f"gpu->{CPU}"),
        ("search", retrieval.search, CPU),
        ("attend", attend, CPU),
        ("found", Transfer(VECTOR_BYTES * elements, dtype="fp32"), f"{CPU}->gpu"),
    ]
    after, nodes = node.after, []
    for name, work, place in steps:
        nodes.append(Node(f"{node.name}.{name}", work, after, group=node.group, place=place))
        after = (nodes[-1].name,)
    return nodes
