"""Adapters of low rank in a forward pass: B A x beside W x, and their sum (peft, tuners/lora/layer.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Add, Gemm
from simexplore.workloads.training.methods.weights import Weight
from simexplore.workloads.training.plan import Held, Plan


def with_adapters(forward: Graph, held: Held, plan: Plan) -> Graph:
    """The forward pass with what the plan's method adds to the products of each node; as it is where that is nothing.

    An adapter's products are of the model's type, to which `peft` casts what it reads.

    Raises:
        SimexploreError: the method adds to what no plain product multiplies, as to experts.
    """
    added = {name: pairs for name, weights in held.items() if (pairs := _pairs(weights, plan))}
    if not added:
        return forward
    sums = {name: f"{name}.adapted" for name in added}
    nodes: list[Node] = []
    for node in forward.nodes:
        kept = replace(node, after=tuple(sums.get(each, each) for each in node.after))
        nodes.append(kept)
        if node.name in added:
            nodes += _beside(kept, added[node.name], sums[node.name])
    return replace(forward, nodes=tuple(nodes))


def adapters_held(held: Held, plan: Plan) -> Held:
    """The adapters' tensors by the node that multiplies them."""
    return {
        f"{name}.{each.name.rpartition('.')[0].rpartition('.')[2]}.{each.name.rpartition('.')[2]}": (each,)
        for name, weights in held.items()
        for pair in _pairs(weights, plan)
        for each in pair
    }


def _pairs(weights: tuple[Weight, ...], plan: Plan) -> list[tuple[Weight, ...]]:
    return [pair for weight in weights if (pair := plan.method.added(weight))]


def _beside(node: Node, pairs: list[tuple[Weight, ...]], total: str) -> Iterator[Node]:
    op = node.op
    if not isinstance(op, Gemm):
        raise SimexploreError(f"adapters beside {op.op} are not known: take galore, or train all of it")
    ends = []
    for down, up in pairs:
        part = down.name.rpartition(".")[0].rpartition(".")[2]
        narrow, wide = f"{node.name}.{part}.A", f"{node.name}.{part}.B"
        yield Node.of(narrow, Gemm(m=op.m, n=down.rows, k=down.cols, dtype=op.dtype), node.after, node.group)
        yield Node.of(wide, Gemm(m=op.m, n=up.rows, k=up.cols, dtype=op.dtype), (narrow,), node.group)
        ends.append(wide)
    yield Node.of(total, Add(int(op.m * op.n), op.dtype), (node.name, *ends), node.group)
