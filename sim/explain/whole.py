"""A workload or an operator on a machine, explained: what `estimate` says of it, taken apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System, system_of
from simexplore.sim.conditions import Conditions, Launch, PowerState
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.alone import alone
from simexplore.sim.estimate.graphs import Estimate, PricedGraph, estimate_graph
from simexplore.sim.estimate.intervals.rows import standings_of
from simexplore.sim.estimate.op_run import OpRun, time_interval
from simexplore.sim.estimate.placed import Ready, demands_at
from simexplore.sim.explain.kernel import PARTS, KernelPage, kernel_page
from simexplore.sim.explain.lost import Choices, choices_of
from simexplore.sim.explain.origin import Origin, origins
from simexplore.sim.explain.what_if import WhatIf
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.workloads.graph import Graph, Node

BESIDE = "side by side"
"""What a workload takes less than its operators one after another, where some run at the same time."""


@dataclass(frozen=True)
class OpPage:
    """One operator, or several that are alike."""

    op: str
    kind: str
    """Its family."""
    names: tuple[str, ...]
    """The nodes that are this operator in the same conditions."""
    time_s: float
    """Of one of them, alone [s]."""
    interval_ratio: float
    bound: str
    parts_s: Mapping[str, float]
    """By name in `kernel.PARTS` [s]; they add up to `time_s`."""
    kernels: tuple[KernelPage, ...]
    choices: Choices | None
    """What the library had to choose from; None off a GPU."""
    least_s: float | None
    """The roofline: products at the units' peak, and what must come from DRAM at its bandwidth [s]."""
    correction: float
    """The learned factor that is in the time."""
    stands_on: str
    """What the prediction stands on."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units."""
        return {
            "op": self.op,
            "kind": self.kind,
            "names": list(self.names),
            "time_s": self.time_s,
            "time_low_s": self.time_s / self.interval_ratio,
            "time_high_s": self.time_s * self.interval_ratio,
            "bound": self.bound,
            "parts_s": dict(self.parts_s),
            "kernels": [kernel.to_json() for kernel in self.kernels],
            "choices": None if self.choices is None else self.choices.to_json(),
            "roofline_s": self.least_s,
            "correction": self.correction,
            "stands_on": self.stands_on,
        }


@dataclass(frozen=True)
class Explanation:
    """Why work takes as long as it does on one machine."""

    work: str
    machine: str
    estimate: Estimate
    ops: tuple[OpPage, ...]
    """Operators that differ, those that take longest together first."""
    layers: Mapping[str, float]
    """Time of the nodes of each group of the graph [s], in order; nothing where it has no groups."""
    origins: tuple[Origin, ...]
    what_ifs: tuple[WhatIf, ...] = field(default=())

    @property
    def time_s(self) -> float:
        """Of the whole [s]."""
        return self.estimate.time_s

    @property
    def interval_s(self) -> tuple[float, float]:
        """80 % interval of the time of the whole [s]."""
        return time_interval(self.time_s, self.estimate.ops)

    @property
    def parts_s(self) -> dict[str, float]:
        """Where the time of the whole goes; the parts add up to it [s]."""
        parts = {name: sum(len(op.names) * op.parts_s[name] for op in self.ops) for name in PARTS}
        beside_s = self.time_s - sum(parts.values())
        return parts if abs(beside_s) <= 1e-9 * self.time_s else {**parts, BESIDE: beside_s}

    @property
    def kinds(self) -> dict[str, float]:
        """Time by family of operators, the longest first [s]."""
        sums: dict[str, float] = defaultdict(float)
        for op in self.ops:
            sums[op.kind] += len(op.names) * op.time_s
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def with_what_ifs(self, found: Sequence[WhatIf]) -> Explanation:
        """The same with what would help."""
        return replace(self, what_ifs=tuple(found))

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys, SI units."""
        low_s, high_s = self.interval_s
        return {
            "time_s": self.time_s,
            "time_low_s": low_s,
            "time_high_s": high_s,
            "energy_j": self.estimate.energy_j,
            "parts_s": self.parts_s,
            "by_kind_s": self.kinds,
            "by_layer_s": dict(self.layers),
            "ops": [op.to_json() for op in self.ops],
            "what_if": [each.to_json() for each in self.what_ifs],
            "origins": [origin.to_json() for origin in self.origins],
        }


def explain(
    graph: Graph,
    machine: Gpu | System,
    conditions: Conditions | None = None,
    launch: Launch = "graph",
    power: PowerState | None = "serving",
) -> Explanation:
    """What the closed form says of a graph on a machine, taken apart; arguments as in `estimate_graph`.

    Where numbers come from is told of the first GPU.

    Raises:
        SimexploreError: as `estimate_graph`.
    """
    told = estimate_graph(graph, machine, conditions, launch, power)
    work = PricedGraph.on(graph, machine, conditions, launch)
    allowed = work.allowed_w(power)
    runs = {op.name: op for op in told.ops}
    stands = standings_of(graph, machine, conditions, launch)
    alike: dict[tuple[object, ...], list[Node]] = defaultdict(list)
    for node in work.graph.nodes:
        alike[node.op, node.place, work.given(node)].append(node)
    pages = []
    for nodes in alike.values():
        standing = stands.get(nodes[0].name)
        words = "" if standing is None else standing.words
        pages.append(_page(work, nodes, runs[nodes[0].name], allowed, words))
    pages.sort(key=lambda page: -len(page.names) * page.time_s)
    layers: dict[str, float] = defaultdict(float)
    for node in work.graph.nodes:
        layers[node.group] += runs[node.name].time_s
    kernels = [kernel for page in pages for kernel in page.kernels]
    grouped = dict(layers) if any(layers) else {}
    gpu = system_of(machine).place().gpu
    return Explanation(graph.name, machine.name, told, tuple(pages), grouped, origins(gpu, kernels))


def _page(work: PricedGraph, nodes: Sequence[Node], run: OpRun, allowed: Mapping[str, float], stands_on: str) -> OpPage:
    """Nodes that are alike."""
    node = nodes[0]
    place, given, priced = work.place(node), work.given(node), work.priced(node)
    on_gpu = isinstance(place.arch, Gpu) and not isinstance(node.op, Ready)
    kernels: list[KernelPage] = []
    parts = dict.fromkeys(PARTS, 0.0)
    for demand in demands_at(node.op, place, given):
        if isinstance(demand, KernelDemand) and on_gpu:
            home = work.boards[place.home]
            page = kernel_page(demand, place.gpu, given, home, allowed[place.home], priced.correction)
            kernels.append(page)
            _add(parts, page.parts_s)
        else:
            phases = alone(demand, place, given).as_numbers(priced.correction).phases
            _add(parts, {"set-up": sum(float(phase.latency_s) for phase in phases)})
            _add(parts, {"main loop": sum(float(phase.run_s) for phase in phases)})
    whole_s = sum(parts.values())
    if not kernels and whole_s > 0.0:  # batches that are exchanged, whose board's clock drives both sides as one
        parts = {name: seconds * run.time_s / whole_s for name, seconds in parts.items()}
    return OpPage(
        op=priced.text,
        kind=node.op.op,
        names=tuple(each.name for each in nodes),
        time_s=run.time_s,
        interval_ratio=run.interval_ratio,
        bound=priced.bound,
        parts_s=parts,
        kernels=tuple(kernels),
        choices=choices_of(node.op, place.gpu, given) if on_gpu else None,
        least_s=float(np.ravel(least_seconds(node.op, place.gpu, given.cache))[0]) if on_gpu else None,
        correction=priced.correction,
        stands_on=stands_on,
    )


def _add(parts: dict[str, float], more: Mapping[str, float]) -> None:
    for name, seconds in more.items():
        parts[name] += seconds
