"""torch.compile's default backend, TorchInductor.

What it merges (Ansel et al., PyTorch 2, ASPLOS 2024, section 4.3; torch/_inductor/scheduler.py): chains of pointwise
operators, into each other and into the softmax or norm that makes what they read or reads what they make. A value
that others need too is written by the same kernel. Products, convolutions and attention are calls of libraries, which
take nothing in. With `mode="reduce-overhead"` or `"max-autotune"` kernels are launched by a CUDA graph, as here.
"""

from __future__ import annotations

from simexplore.workloads.compilers.merging import is_pointwise, merged, on_one_stream
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import GroupNorm, Norm, Softmax


def inductor(graph: Graph) -> Graph:
    """The graph as TorchInductor's kernels."""
    return on_one_stream(merged(graph, _into_maker, _into_reader, shared=True))


def _into_maker(maker: Operator, op: Operator) -> bool:
    return is_pointwise(op) and (is_pointwise(maker) or isinstance(maker, Norm | GroupNorm | Softmax))


def _into_reader(maker: Operator, op: Operator) -> bool:
    return is_pointwise(maker) and isinstance(op, Norm | GroupNorm | Softmax)
