"""Collectives of more GPUs than a node has: over NVLink within nodes, over each GPU's adapter between them.

NCCL lays as many rings, or trees, as a node has adapters, each of which crosses between nodes at another one: what
crosses is divided among all adapters, what goes from GPU to GPU is not. Steps cost within a node what the machine's
library says, and between nodes what NCCL's tuner reckons with (github.com/NVIDIA/nccl, src/graph/tuning.cc), no less
than the adapter's own latency. The tuner takes the least of what it may run; so does this. Nothing here was fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import Place, System
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.hardware.collective import link_between
from simexplore.sim.libraries import nccl
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import AllReduce, AllToAll, Collective

WHOLE = 1.0
"""Share of an adapter's rate that data has with the Simple protocol."""


@dataclass(frozen=True)
class ClusterDemand:
    """One GPU's share of a collective over nodes."""

    kernel: str
    waits_s: float
    """Steps that wait for one another [s]."""
    run_s: float
    """What its slower link takes [s]."""
    takes: Mapping[str, float] = field(default_factory=dict)
    """Of the GPU's own link within the node [s]."""
    wire_bytes: float = 0.0
    """What the GPU sends over either link [B]."""


@alone.register
def _over_nodes(demand: ClusterDemand, place: Place, conditions: Conditions) -> Alone:
    """A launch and the steps, then what the links allow."""
    gpu = place.gpu
    launch_s = gpu.launch.each_s(conditions.launch)
    spends = {"link": demand.wire_bytes * gpu.energy.link_j_per_byte}
    phase = Phase(launch_s + demand.waits_s, demand.run_s, demand.takes, spends, (0.0, demand.run_s, 1.0))
    return Alone((phase,), "link", {"link": "network"})


def with_nodes(graph: Graph, system: System) -> Graph:
    """A graph whose collectives of more GPUs than a node has are work of its nodes.

    Raises:
        SimexploreError: GPUs that are no whole nodes.
    """
    most = system.gpus_together
    if most is None or len(system.reaches) == 1:
        return graph
    nodes = tuple(_of_node(node, system, most) for node in graph.nodes)
    return replace(graph, nodes=nodes) if nodes != graph.nodes else graph


def _of_node(node: Node, system: System, most: int) -> Node:
    op = node.op
    if not isinstance(op, Collective) or (spans := int(op.num_gpus) * node.apart) <= most:
        return node
    link = system.link_of_gpus(0, spans - 1)
    try:
        demand = cluster_demand(op, system.place(node.place).gpu, max(most // node.apart, 1), link)
    except SimexploreError as error:
        raise SimexploreError(f"{node.name}: {error}") from None
    return replace(node, op=Ready(demand, op.describe()))


class _Way(NamedTuple):
    """One way in which a collective can be run."""

    waits_s: float
    within_bytes: float
    """What a GPU sends within its node, flags included [B]."""
    between_bytes: float
    """What its adapter sends [B]."""


def cluster_demand(op: Collective, gpu: Gpu, node_gpus: int, network: Link) -> ClusterDemand:
    """What a collective over nodes asks of one of its GPUs.

    Args:
        op: its fields are numbers.
        gpu: each of them.
        node_gpus: those of it that a node has, each of which has an adapter.
        network: an adapter.

    Raises:
        SimexploreError: GPUs that are no whole nodes.
    """
    gpus = int(op.num_gpus)
    if gpus % node_gpus:
        raise SimexploreError(f"{op.op}: expected whole nodes of {node_gpus} GPUs, found {gpus}")
    inner, name = _inner(gpu)
    share = gpu.collective_library.efficiency if gpu.collective_library is not None else WHOLE
    ways = tuple((_exchanges if isinstance(op, AllToAll) else _ways)(op, gpu, node_gpus, network))

    def run_s(way: _Way) -> tuple[float, float]:
        own_s = way.within_bytes / (share * inner.bandwidth_bytes_per_s)
        return own_s, max(own_s, way.between_bytes / network.bandwidth_bytes_per_s)

    best = min(ways, key=lambda way: way.waits_s + run_s(way)[1])
    own_s, slower_s = run_s(best)
    return ClusterDemand(op.op, best.waits_s, slower_s, {name: own_s}, best.within_bytes + best.between_bytes)


def _inner(gpu: Gpu) -> tuple[Link, str]:
    """The link within a node, and its name."""
    name = "pcie" if gpu.links.nvlink is None else "nvlink"
    return link_between(name, gpu), name


def _ways(op: Collective, gpu: Gpu, node_gpus: int, network: Link) -> Iterator[_Way]:
    """Rings of both protocols, and for sums trees."""
    name, gpus, size = "all_reduce" if isinstance(op, AllReduce) else op.op, float(op.num_gpus), float(op.size_bytes)
    nodes, joins = gpus / node_gpus, float(node_gpus > 1)  # a GPU alone in its node has nothing to send within it
    for protocol, data in ((nccl.LL, nccl.LL_SHARE), (nccl.SIMPLE, WHOLE)):
        start_s, step_s = _step(gpu, protocol)
        ring = nccl.ring_passes(name) * size * (gpus - 1.0) / gpus / data
        within, between = nccl.steps_between(name, gpus, nodes)
        waits_s = start_s + within * step_s + between * max(nccl.NET_RING_S[protocol], network.latency_s)
        yield _Way(waits_s, joins * ring, ring / node_gpus)
        if isinstance(op, AllReduce):
            within, between = nccl.tree_steps(gpus, nodes)
            waits_s = start_s + within * step_s + between * max(nccl.NET_TREE_S[protocol], network.latency_s)
            yield _Way(waits_s, joins * 2.0 * size / data, 2.0 * size / data / node_gpus)


def _exchanges(op: Collective, gpu: Gpu, node_gpus: int, network: Link) -> Iterator[_Way]:
    """Parts sent to every other GPU at once: those of the node's over NVLink, others over the GPU's own adapter."""
    gpus, size = float(op.num_gpus), float(op.size_bytes)
    start_s, step_s = _step(gpu, nccl.SIMPLE)
    waits_s = start_s + step_s + max(nccl.NET_RING_S[nccl.SIMPLE], network.latency_s)
    yield _Way(waits_s, size * (node_gpus - 1) / gpus, size * (gpus - node_gpus) / gpus)


def _step(gpu: Gpu, protocol: int) -> tuple[float, float]:
    """What an exchange costs at its start, and a step of it within a node [s]."""
    library = gpu.collective_library
    if library is None:
        return 0.0, _inner(gpu)[0].latency_s
    if protocol == nccl.LL:
        return library.start_s, library.step_s
    return library.start_s + library.simple_start_s, library.simple_step_s
