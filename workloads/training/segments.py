"""Which nodes of a forward pass are done once more in the backward pass, and together with which."""

from __future__ import annotations

from collections import defaultdict

from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import AllGather, Attention, Bmm, MlaPrefill
from simexplore.workloads.training.plan import Recompute

LAYER = "layer"
"""What the names of groups begin with that are recomputed as a whole."""


def segments_of(forward: Graph, recompute: Recompute) -> dict[str, tuple[str, ...]]:
    """The nodes that are recomputed, each with all that are so at the same time, in order.

    `full`: a layer from its first node to its last. `attention`: of each layer all nodes from the first product of
    scores, or the fused attention, to the last such. What GPUs hold in parts is gathered again in any case.
    """
    layers: dict[str, list[str]] = defaultdict(list)
    for node in forward.nodes:
        if node.group.startswith(LAYER):
            layers[node.group].append(node.name)
    if recompute == "full":
        return {name: tuple(names) for names in layers.values() for name in names}
    ops = {node.name: node.op for node in forward.nodes}
    segments: dict[str, tuple[str, ...]] = {name: (name,) for name, op in ops.items() if isinstance(op, AllGather)}
    for names in layers.values() if recompute == "attention" else ():
        core = [index for index, name in enumerate(names) if isinstance(ops[name], Attention | Bmm | MlaPrefill)]
        if core:
            between = tuple(names[core[0] : core[-1] + 1])
            segments |= dict.fromkeys(between, between)
    return segments
