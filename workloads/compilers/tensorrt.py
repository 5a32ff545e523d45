"""NVIDIA TensorRT.

What it merges (NVIDIA TensorRT Developer Guide, "Layer Fusion" and "Types of Fusions"): pointwise operators that
follow a convolution or a product into its epilogue, such as bias, activation, or the sum with a skip connection;
chains of other pointwise operators into one; pointwise operators into the softmax or norm before them. An engine of
fp16 sums products of fp16 in fp16, where the network does not ask for more. What others read too is not merged.
"""

from __future__ import annotations

from dataclasses import replace

from simexplore.workloads.compilers.merging import is_pointwise, merged, on_one_stream
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import Conv, Conv2d, ConvTranspose, Gemm, GroupNorm, Norm, Softmax

EPILOGUE = (Gemm, Conv2d, Conv, ConvTranspose, Norm, GroupNorm, Softmax)
"""Operators whose kernels take pointwise ones in."""


def tensorrt(graph: Graph) -> Graph:
    """The graph as kernels of a TensorRT engine of fp16."""
    fused = merged(graph, _into_maker, lambda _maker, _op: False, shared=False)
    return on_one_stream(replace(fused, nodes=tuple(_with_narrow_sums(node) for node in fused.nodes)))


def _into_maker(maker: Operator, op: Operator) -> bool:
    return is_pointwise(op) and (is_pointwise(maker) or isinstance(maker, EPILOGUE))


def _with_narrow_sums(node: Node) -> Node:
    op = node.op
    if isinstance(op, Gemm | Conv2d | Conv | ConvTranspose) and op.dtype == "fp16" and op.accumulate is None:
        return replace(node, op=replace(op, accumulate="fp16"))
    return node
