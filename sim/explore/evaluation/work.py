"""The workloads of a sweep and their variants: which operators a set of parameters asks for, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, Conditions, Launch, conditions_of
from simexplore.sim.explore.evaluation.rows import Work
from simexplore.sim.play.memory.ledger import Memory
from simexplore.workloads import catalog
from simexplore.workloads.graph import Graph, single
from simexplore.workloads.graph_data import from_data
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import Parameter, parameters_of
from simexplore.workloads.ops import Embedding, GridEncoding, make_operator, parse_operator


@dataclass(frozen=True)
class Workload:
    """One workload of a sweep."""

    name: str
    """Its name in the sweep; columns of its own begin with it."""
    source: str
    """A name of the catalogue, an operator's text, or a file."""
    kind: Literal["catalog", "operator", "file"]
    weight: float
    parameters: Mapping[str, Any]
    data: Any = None
    """What a file holds, so that other machines need not read it."""

    def takes(self) -> Mapping[str, Parameter]:
        """Its parameters by name, each with its meaning; none of a file."""
        if self.kind == "catalog":
            return {
                name: parameter for name, (_, parameter) in parameters_of(catalog.find(self.source).options).items()
            }
        if self.kind == "operator":
            return {name: parameter for name, (_, parameter) in parameters_of(parse_operator(self.source)).items()}
        return {}

    def graph(self, changes: Mapping[str, Any]) -> Graph:
        """The graph with some parameters changed.

        Raises:
            SimexploreError: parameters that the workload does not take.
        """
        if self.kind == "catalog":
            return catalog.build(self.source, {**self.parameters, **changes})
        if self.kind == "operator":
            return single(self.operator(changes))
        return from_data(self.data, name=self.name)

    def operator(self, changes: Mapping[str, Any]) -> Operator:
        """The operator with some fields changed; only of a workload that is one operator."""
        op = parse_operator(self.source)
        written = {name: getattr(op, name) for name in parameters_of(op)}
        return make_operator(op.op, {**written, **self.parameters, **changes})


@dataclass(frozen=True)
class Variant:
    """A workload with its parameters set."""

    works: tuple[Work, ...]
    """Its distinct operators with the conditions that they run in."""
    counts: tuple[int, ...]
    """How often each occurs."""
    graph: Graph | None
    """The graph where operators run side by side; None for a chain, whose times add up."""
    order: tuple[int, ...]
    """Of a graph: the index in `works` of each node."""
    peak_bytes: float
    """The most memory that it holds, its nodes run in order [B]."""
    tokens: float
    """Tokens that go through it."""
    whole: Graph
    """The graph, chain or not: what a system of devices plays."""
    frame: Graph | None = None
    """The graph of a neural-graphics frame, which a machine with a cluster for it plays as a whole."""


def variant_of(workload: Workload, changes: Mapping[str, Any], launch: Launch) -> Variant:
    """What a workload with these parameters asks for.

    Raises:
        SimexploreError: parameters that the workload does not take.
    """
    if workload.kind == "operator":
        op = workload.operator(changes)
        conditions = Conditions(cache=COLD, launch=launch)
        return Variant(((op, conditions),), (1,), None, (), _peak_bytes(single(op)), _tokens(op), single(op))
    graph = workload.graph(changes)
    index: dict[Work, int] = {}
    order = [index.setdefault((node.op, conditions_of(node, launch)), len(index)) for node in graph.nodes]
    chain = len(set(graph.streams().values())) <= 1
    return Variant(
        works=tuple(index),
        counts=tuple(order.count(position) for position in range(len(index))),
        graph=None if chain else graph,
        order=() if chain else tuple(order),
        peak_bytes=_peak_bytes(graph),
        tokens=sum(_tokens(node.op) for node in graph.nodes),
        whole=graph,
        frame=graph if any(isinstance(node.op, GridEncoding) for node in graph.nodes) else None,
    )


def _tokens(op: Operator) -> float:
    return float(op.tokens) if isinstance(op, Embedding) else 0.0


def _peak_bytes(graph: Graph) -> float:
    memory = Memory(graph, "", float("inf"))
    peak = memory.held_bytes
    for node in graph.nodes:
        memory.begin(node)
        peak = max(peak, memory.held_bytes)
        memory.end(node)
    return peak


def workload_of(name: str, source: str, weight: float, parameters: Mapping[str, Any], data: Any = None) -> Workload:
    """A workload from its name in the catalogue, an operator's text or a file's data; checked.

    Raises:
        SimexploreError: there is no such workload, or it does not take these parameters.
    """
    if data is not None:
        if parameters:
            raise SimexploreError(f"expected no parameters for a file, found {', '.join(parameters)}")
        return Workload(name, source, "file", weight, {}, data)
    kind: Literal["catalog", "operator"] = "operator" if "(" in source else "catalog"
    workload = Workload(name, source, kind, weight, dict(parameters))
    known = workload.takes()
    for parameter in parameters:
        if parameter not in known:
            raise SimexploreError(f"expected one of the parameters {', '.join(known)}, found {parameter!r}")
    workload.graph({})
    return workload
