"""Merging of operators into the kernels that make what they read.

A merged operator's kernel is gone, and so is what lay in memory between: the value is neither written nor read again,
but where another node reads it too. Operators are never lost: a node lists what was merged into it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.tensors.elements import elements_written
from simexplore.workloads.ops import Elementwise, StreamFma

May = Callable[[Operator, Operator], bool]
"""Whether an operator may be merged into the kernel of another one that makes what it reads."""


@dataclass
class _Kernel:
    """A kernel in the making: its nodes in order, the first of which gives it its name."""

    main: Node
    members: list[Node]


def is_pointwise(op: Operator) -> bool:
    """Whether it makes each element from those at the same place, and is no benchmark's loop."""
    return isinstance(op, Elementwise) and not isinstance(op, StreamFma)


def merged(graph: Graph, into_maker: May, into_reader: May, *, shared: bool) -> Graph:
    """A graph with operators merged, each into the last of the kernels before it that it reads.

    Args:
        graph: any.
        into_maker: whether an operator becomes part of its maker's kernel; arguments are the maker and the operator.
        into_reader: whether a maker becomes part of its reader's kernel, whose operator then is the kernel's main one.
        shared: whether a value that other nodes read too may be kept in registers and be written as well.
    """
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    readers = _readers(graph)
    kernel_of: dict[str, _Kernel] = {}
    for node in graph.nodes:
        kernel = _kernel_for(node, kernel_of, position, readers, (into_maker, into_reader), shared)
        if kernel is None:
            kernel_of[node.name] = _Kernel(node, [node])
            continue
        if into_reader(kernel.main.op, node.op):
            kernel.main = node
        kernel.members.append(node)
        kernel_of[node.name] = kernel
    return _rebuilt(graph, kernel_of, readers)


def on_one_stream(graph: Graph) -> Graph:
    """The same nodes one after the other, as they are in the graph: a stream runs one kernel at a time."""
    nodes: list[Node] = []
    for node in graph.nodes:
        before = () if not nodes or nodes[-1].name in node.after else (nodes[-1].name,)
        nodes.append(replace(node, after=(*node.after, *before), fresh=node.fresh or (bool(before) and not node.reads)))
    return replace(graph, nodes=tuple(nodes))


def _readers(graph: Graph) -> dict[str, set[str]]:
    readers: dict[str, set[str]] = defaultdict(set)
    for node in graph.nodes:
        for name in node.reads:
            readers[name].add(node.name)
    return readers


def _kernel_for(
    node: Node,
    kernel_of: dict[str, _Kernel],
    position: dict[str, int],
    readers: dict[str, set[str]],
    may: tuple[May, May],
    shared: bool,
) -> _Kernel | None:
    """The kernel that a node becomes part of, if any: that of the last node before it, of a result of its size."""
    if not node.reads or node.place is not None:
        return None
    maker = max(node.reads, key=position.__getitem__)
    kernel = kernel_of[maker]
    inside = {member.name for member in kernel.members}
    begins = position[kernel.members[0].name]
    ready = all(name in inside or position[name] < begins for name in node.after)
    alone = shared or readers[maker] == {node.name}
    same_size = set(_sizes(kernel.members[-1].op)) & set(_sizes(node.op))
    allowed = any(each(kernel.main.op, node.op) for each in may)
    follows = kernel.members[-1].name == maker or shared
    return kernel if ready and alone and same_size and allowed and follows else None


def _sizes(op: Operator) -> tuple[float, ...]:
    return elements_written(op)


def _rebuilt(graph: Graph, kernel_of: dict[str, _Kernel], readers: dict[str, set[str]]) -> Graph:
    """The graph of kernels, each where its first node was."""
    name_of = {name: kernel.members[0].name for name, kernel in kernel_of.items()}
    nodes = [
        _as_node(kernel_of[node.name], name_of, readers)
        for node in graph.nodes
        if kernel_of[node.name].members[0] is node
    ]
    return replace(graph, nodes=tuple(nodes))


def _as_node(kernel: _Kernel, name_of: dict[str, str], readers: dict[str, set[str]]) -> Node:
    first, main = kernel.members[0], kernel.main
    inside = {member.name for member in kernel.members}
    after = [name_of[name] for member in kernel.members for name in member.after if name not in inside]
    others = tuple(op for member in kernel.members for op in _ops_of(member, main))
    written = [member for member in kernel.members if not readers[member.name] or readers[member.name] - inside]
    return replace(
        main,
        name=first.name,
        after=tuple(dict.fromkeys(after)),
        output_bytes=sum(member.output_bytes for member in written),
        group=first.group,
        merged=others,
        merged_bytes=max(_bytes(kernel, inside, written) - float(main.op.min_bytes), 0.0),
    )


def _ops_of(member: Node, main: Node) -> tuple[Operator, ...]:
    return member.merged if member is main else (member.op, *member.merged)


def _bytes(kernel: _Kernel, inside: set[str], written: list[Node]) -> float:
    """What the kernel moves [B]: all that its nodes do, but for values that stay inside."""
    made = {member.name: float(member.op.output_bytes) for member in kernel.members}
    read_inside = sum(made[name] for member in kernel.members for name in member.reads if name in inside)
    kept = {member.name for member in written}
    unwritten = sum(size for name, size in made.items() if name not in kept)
    return sum(member.min_bytes for member in kernel.members) - read_inside - unwritten
