"""How a graph is trained, and which tensors its nodes hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Bmm, Conv, Conv2d, ConvTranspose, Embedding, Gemm, GroupNorm, Norm
from simexplore.workloads.training.methods.low_rank import Method
from simexplore.workloads.training.methods.weights import Weight

Recompute = Literal["none", "attention", "full"]
Held = Mapping[str, tuple[Weight, ...]]
"""Tensors by the name of the node that reads them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a training step.

    Args:
        method: which tensors are trained, and by which optimizer.
        dtype: type of the model's tensors.
        gradient_dtype: type that gradients are added up in; None: their tensor's.
        micro_batches: forward and backward passes whose gradients are added up before the optimizer's step.
        recompute: what of the forward pass is done once more in the backward pass instead of being kept: `none`, all of
            a layer (`full`), or the operators between a layer's projections (`attention`; Korthikanti et al.,
            arXiv:2205.05198, selective).
        layer_wise: tensors are updated as soon as their gradients are there, which are then freed.
        replicas: GPUs that train copies of the model, and add up their gradients while the backward pass goes on.
        of_copy: GPUs of a copy, which are neighbours.
        cross_entropy: whether the loss is a cross entropy over each row of what the graph makes; else a mean square.
        svd_every: steps that share a decomposition of each projected gradient, of which a step has its part; 1: a step
            that does it; 0: one that does not.
    """

    method: Method
    dtype: str = "bf16"
    gradient_dtype: str | None = None
    micro_batches: int = 1
    recompute: Recompute = "none"
    layer_wise: bool = False
    replicas: int = 1
    of_copy: int = 1
    cross_entropy: bool = False
    svd_every: int = 0


def held_by(graph: Graph) -> dict[str, tuple[Weight, ...]]:
    """The tensors of a graph's nodes by what their operators are: a matrix a GEMM, the vectors of norms, tables."""
    return {node.name: held for node in graph.nodes if (held := _of_node(node))}


def _of_node(node: Node) -> tuple[Weight, ...]:
    op, name = node.op, node.name
    if isinstance(op, Gemm) and not isinstance(op, Bmm):
        return (Weight(name, int(op.n), int(op.k), "mlp", count=int(op.batch)),)
    if isinstance(op, Conv2d):
        op = op.general
    if isinstance(op, Conv):
        taps = int(op.layers * op.rows * op.cols * op.cin // op.groups)
        return (Weight(name, int(op.cout), taps, "mlp"),)
    if isinstance(op, ConvTranspose):
        return (Weight(name, int(op.cin), int(op.cout * op.taps) // int(op.groups), "mlp"),)
    if isinstance(op, GroupNorm):
        return (Weight(name, int(op.channels), 0, "vector", count=2),)
    if isinstance(op, Norm):
        return (Weight(name, int(op.cols), 0, "vector", count=op.learned_vectors),)
    if isinstance(op, Embedding):
        return (Weight(name, int(op.vocabulary), int(op.width), "embedding"),)
    return ()
