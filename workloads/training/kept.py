"""Activations: what the forward pass makes and the backward pass reads, which is in memory between the two."""

from __future__ import annotations

from collections import defaultdict

from simexplore.workloads.graph import Graph
from simexplore.workloads.training.tape import FORWARD


def kept_bytes(step: Graph) -> dict[str, float]:
    """Bytes that each group's forward pass leaves for the backward pass, by the group's name without its phase [B]."""
    nodes = {node.name: node for node in step.nodes}
    read_late = {name for node in step.nodes if not node.group.endswith(FORWARD) for name in node.reads}
    kept: dict[str, float] = defaultdict(float)
    for name in read_late:
        node = nodes[name]
        if node.group.endswith(FORWARD):
            kept[node.group.removesuffix(FORWARD).strip()] += node.output_bytes
    return kept
