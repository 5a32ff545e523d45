"""Passes that a machine asks for: what its devices do with a graph that was written for a GPU alone.

A cluster for neural graphics (NGPC) takes the encodings and networks of a frame. The frame's graph becomes two nodes
that exchange batches: `rest`, a kernel that stays on the GPU, and `encode and mlp` on the cluster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from math import ceil
from typing import Any

import numpy as np

from simexplore.archs.schema.ngpc import Ngpc
from simexplore.archs.schema.system import Place, System
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, KernelDemand
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.estimate.nodes.collectives import with_nodes
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.hardware.ngpc.cluster import FieldQueries, batch_energies, batch_timing, doorbell_seconds
from simexplore.sim.mapping.frames import Frame, frame_of, fused_kernel
from simexplore.workloads.graph import Exchange, Graph, Node
from simexplore.workloads.ops import Collective, GridEncoding

RESIDENT, OFFLOADED = "rest", "encode and mlp"
"""Names of a frame's two nodes."""


@dataclass(frozen=True)
class ResidentKernel:
    """A kernel that stays on all SMs and works as long as there are batches; its queries and answers are its grid's."""

    grid: KernelDemand

    @property
    def kernel(self) -> str:
        """The name of the kernel whose grid stays on the SMs."""
        return self.grid.kernel


@alone.register
def _resident(demand: ResidentKernel, place: Place, conditions: Conditions) -> Alone:
    """As its grid, but no faster than the resource that it fills most: batches follow one another without a gap."""
    (phase,) = alone(demand.grid, place, conditions).as_numbers().phases
    busy_s = {name: float(phase.takes[name]) for name in RESOURCES}
    run_s = max(float(phase.run_s), *busy_s.values())
    bound = max(busy_s, key=busy_s.__getitem__)
    return Alone((Phase(phase.latency_s, run_s, phase.takes, phase.spends),), bound, sms=math.inf)


@dataclass(frozen=True)
class FieldBatches:
    """Points at which a cluster evaluates a field, batch by batch."""

    asked: FieldQueries
    kernel: str = "ngpc"


@alone.register
def _batches(demand: FieldBatches, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001 - no caches, no launch
    """All batches on the cluster, the last one in proportion to its size."""
    ngpc, gpu = _cluster(place), place.gpu
    batch = batch_timing(demand.asked, gpu, ngpc)
    batches = demand.asked.queries / ngpc.batch.queries
    takes = {name: taken * batches for name, taken in batch.takes.items()}
    return Alone((Phase(0.0, batch.time_s * batches, takes, batch_energies(demand.asked, gpu, ngpc)),), batch.bound)


def _cluster(place: Place) -> Ngpc:
    if not isinstance(place.arch, Ngpc):
        raise TypeError(f"batches of queries are for an NGPC, and {place.name} is none")
    return place.arch


def prepared(graph: Graph, system: System) -> Graph:
    """A graph as the system's devices want it: each device's pass, in their order.

    Raises:
        SimexploreError: its operators are shared by more GPUs than reach each other.
    """
    most, asked = system.gpus_together, gpus_of(graph)
    reached = system.reaches[-1][0] if system.reaches else most
    if reached is not None and asked > reached:
        where = "a node of " if reached == most else ""
        raise SimexploreError(
            f"expected at most {reached} GPUs to work together, those of {where}{system.name} "
            f"({'links.node_gpus' if not system.reaches else 'domains'}), found {asked}"
        )
    graph = with_nodes(graph, system)
    for name, device in system.devices.items():
        graph = asked_for(device.arch, graph, system, system.place(name))
    return graph


def gpus_of(graph: Graph) -> int:
    """GPUs that share the work of which a graph is one GPU's part: those that its collectives join, and between."""
    joined = (int(np.max(node.op.num_gpus)) * node.apart for node in graph.nodes if isinstance(node.op, Collective))
    return max(joined, default=1)


@singledispatch
def asked_for(arch: Any, graph: Graph, system: System, place: Place) -> Graph:  # noqa: ARG001 - most kinds ask for none
    """The graph after the pass that a kind of device asks for; a kind registers its own."""
    return graph


@asked_for.register
def _offload(arch: Ngpc, graph: Graph, system: System, place: Place) -> Graph:
    """A frame's encodings and networks go to the cluster; other work, and a graph with nodes elsewhere, stay as is."""
    home = system.place(place.home)
    here = all(system.place(node.place).name == home.name for node in graph.nodes)
    frame = frame_of(graph, arch) if here else None
    return graph if frame is None else _two_nodes(frame, graph, arch, home, place)


def _two_nodes(frame: Frame, graph: Graph, ngpc: Ngpc, home: Place, place: Place) -> Graph:
    gpu = home.gpu
    batches = max(ceil(frame.asked.queries / ngpc.batch.queries), 1)
    exchange = Exchange(
        asks=RESIDENT,
        answers=OFFLOADED,
        batches=batches,
        last_share=frame.asked.queries / ngpc.batch.queries - (batches - 1),
        in_flight=ngpc.batch.in_flight,
        doorbell_s=doorbell_seconds(gpu, ngpc),
    )
    resident = Ready(ResidentKernel(fused_kernel(frame, gpu, ngpc)), frame.name)
    offloaded = Ready(FieldBatches(frame.asked), frame.name)
    nodes = (Node(RESIDENT, resident, place=home.name), Node(OFFLOADED, offloaded, place=place.name))
    return Graph(graph.name, nodes, _resident_bytes(frame, graph, ngpc), (exchange,))


def _resident_bytes(frame: Frame, graph: Graph, ngpc: Ngpc) -> dict[str, float]:
    """What a frame holds in the GPU's memory [B]: what its graph names, and batches on their way.

    Where the graph names no tables, they are those of its encodings, each of which is there once.
    """
    asked = frame.asked
    tables = {node.op.table_bytes for node in graph.nodes if isinstance(node.op, GridEncoding)}
    in_flight = min(ngpc.batch.in_flight * ngpc.batch.queries, asked.queries)
    batches = in_flight * (asked.input_bytes + asked.result_bytes)
    return {"tables": float(sum(tables)), **graph.resident_bytes, "batches": batches, "picture": frame.frame_bytes}
