"""Attention that an ONNX file has in pieces: a product, perhaps a scale and a mask, a softmax, and another product.

Files of before version 23 have no operation for it, and runtimes merge the pieces into one kernel (NVIDIA TensorRT
Developer Guide, "Types of Fusions", multi-head attention). What PyTorch calls as one is then one here too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SCALES = ("Mul", "Div")
MASKS = ("Add",)
BESIDE = ("Cast", "Dropout", "Identity")
"""Operations between the pieces that runtimes merge with them."""
MOST_BETWEEN = 4
"""Operations between a product and its softmax."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Names of the tensors of one attention.

    Args:
        queries, keys, values: operands; keys have tokens last.
        mask: what is added to the scores, if anything.
        inside: nodes by the name of their first result that are part of it, the last product left out.
    """

    queries: str
    keys: str
    values: str
    mask: str | None
    inside: frozenset[str]


def attentions(nodes: Iterable[Any], outputs: Iterable[str]) -> Mapping[str, Pieces]:
    """The attentions of a graph, by the name of what their last product makes.

    Args:
        nodes: of the graph, in order.
        outputs: names of its results, which are there whatever reads them.
    """
    nodes = tuple(node for node in nodes if node.input and node.output)
    makers = {name: node for node in nodes for name in node.output}
    readers: dict[str, int] = defaultdict(int)
    for name in (*(name for node in nodes for name in node.input), *outputs):
        readers[name] += 1
    return dict(_found(nodes, makers, readers))


def _found(
    nodes: tuple[Any, ...], makers: Mapping[str, Any], readers: Mapping[str, int]
) -> Iterator[tuple[str, Pieces]]:
    for node in nodes:
        if node.op_type != "MatMul" or len(node.input) != 2:
            continue
        chain = list(_chain(node.input[0], makers, readers))
        kinds = [each.op_type for each in chain]
        if "Softmax" not in kinds or kinds[-1] != "MatMul" or kinds.index("Softmax") > 1:
            continue
        masks = [each for each in chain if each.op_type in MASKS]
        if len(masks) <= 1:
            product = chain[-1]
            if len(product.input) != 2:
                continue
            inside = frozenset(each.output[0] for each in chain)
            mask = next((_other(each, makers, inside) for each in masks), None)
            yield node.output[0], Pieces(product.input[0], product.input[1], node.input[1], mask, inside)


def _chain(name: str, makers: Mapping[str, Any], readers: Mapping[str, int]) -> Iterator[Any]:
    """Nodes before a tensor up to a product, each of which makes only what the next one reads."""
    for _ in range(MOST_BETWEEN + 2):
        node = makers.get(name)
        if node is None or readers[name] != 1 or node.op_type not in ("Softmax", "MatMul", *SCALES, *MASKS, *BESIDE):
            return
        yield node
        if node.op_type == "MatMul":
            return
        name = next((each for each in node.input if each in makers and _leads_to_product(each, makers)), "")


def _leads_to_product(name: str, makers: Mapping[str, Any], most: int = MOST_BETWEEN) -> bool:
    """Whether a tensor comes from a product by way of at most so many operations between the pieces."""
    node = makers.get(name)
    if node is None or node.op_type == "MatMul":
        return node is not None
    if not most or node.op_type not in ("Softmax", *SCALES, *MASKS, *BESIDE):
        return False
    return any(_leads_to_product(each, makers, most - 1) for each in node.input)


def _other(node: Any, makers: Mapping[str, Any], inside: frozenset[str]) -> str | None:
    """The operand that is no piece."""
    return next((str(name) for name in node.input if name not in makers or name not in inside), None)
