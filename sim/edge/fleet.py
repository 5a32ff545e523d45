"""What a request costs on each expert of a fleet, from the simulation of its model on its server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.demand import FloatArray
from simexplore.sim.edge.problem import Costs
from simexplore.sim.estimate.graphs import Estimate, estimate_graph
from simexplore.sim.hardware.idle import idle_w
from simexplore.workloads import catalog
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.hints import did_you_mean


@dataclass(frozen=True)
class Category:
    """Requests of one application."""

    name: str
    share: float
    """Of all requests."""
    prompt: int
    """Tokens."""
    answer: int
    """Tokens, the first of which comes with the prompt's prefill."""


@dataclass(frozen=True, eq=False)
class Server:
    """A machine at the edge, and its link to the user's access point."""

    name: str
    machine: Gpu
    link: Link


@dataclass(frozen=True, eq=False)
class Expert:
    """A language model that a server can keep ready."""

    server: Server
    model: str
    """Name as in the catalogue, without `llm/`."""
    dtype: str = "bf16"

    @property
    def shape(self) -> Decoder:
        """Its model.

        Raises:
            SimexploreError: an unknown model.
        """
        if self.model not in MODELS:
            raise SimexploreError(f"model: expected one of `workload list`, found {self.model!r}{self._hint}")
        return MODELS[self.model]

    @property
    def _hint(self) -> str:
        return did_you_mean(self.model, MODELS)


@dataclass(frozen=True)
class User:
    """How users send requests."""

    uplink: Link
    """From a user to the access point, and back."""
    requests_per_s: float
    bytes_per_token: float
    """Of text."""


class RequestCost(NamedTuple):
    """One request on one idle server."""

    time_s: float
    energy_j: float
    """Beside what the idle server draws [J]."""


def request_cost(expert: Expert, category: Category) -> RequestCost:
    """A prefill of the prompt, and a decode step for each further token of the answer.

    Steps at the first, the middle and the last context are estimated; the sum over all takes the parabola through them
    (Simpson's rule), which is exact as long as a step's time and energy are.

    Raises:
        SimexploreError: an unknown model, or one that does not fit the server's memory with the request's KV cache.
    """
    _check_room(expert, category)
    prefill = _estimate(expert, "prefill", prompt=category.prompt)
    steps = category.answer - 1
    time_s, energy_j = prefill.time_s, prefill.energy_j
    if steps:
        first, last = category.prompt + 1, category.prompt + steps
        contexts = (first, (first + last) // 2, last)
        told = {context: _estimate(expert, "decode", context=context) for context in dict.fromkeys(contexts)}
        time_s += steps * _mean([told[context].time_s for context in contexts])
        energy_j += steps * _mean([told[context].energy_j for context in contexts])
    return RequestCost(time_s, energy_j - time_s * idle_w(expert.server.machine))


def costs_of(experts: Sequence[Expert], categories: Sequence[Category], user: User) -> Costs:
    """What all experts cost: arrays of (categories, experts).

    A model on a kind of machine is simulated once, however many servers have it.
    """
    worked: dict[tuple[int, str, str], list[RequestCost]] = {}
    for expert in experts:
        key = (id(expert.server.machine), expert.model, expert.dtype)
        if key not in worked:
            worked[key] = [request_cost(expert, category) for category in categories]
    told = [worked[id(expert.server.machine), expert.model, expert.dtype] for expert in experts]
    tokens = np.array([category.prompt + category.answer for category in categories], dtype=float)
    sent = tokens * user.bytes_per_token
    wired = [[_over(expert.server.link, size) for expert in experts] for size in sent]
    return Costs(
        standing_j=np.array([idle_w(expert.server.machine) for expert in experts]) / user.requests_per_s,
        request_j=np.array([[cost.energy_j for cost in costs] for costs in told]).T,
        service_s=np.array([[cost.time_s for cost in costs] for costs in told]).T + np.array(wired),
        transfer_s=np.repeat([[_over(user.uplink, size)] for size in sent], len(experts), axis=1),
    )


def shares_of(categories: Sequence[Category]) -> FloatArray:
    """Shares of requests by category.

    Raises:
        SimexploreError: they do not add up to 1.
    """
    shares = np.array([category.share for category in categories])
    if not np.isclose(shares.sum(), 1.0):
        raise SimexploreError(f"shares of categories: expected 1 in all, found {shares.sum():g}")
    return shares


def _over(link: Link, size_bytes: float) -> float:
    """Time of a prompt one way and its answer the other [s]."""
    return 2.0 * link.latency_s + size_bytes / link.bandwidth_bytes_per_s


def _estimate(expert: Expert, phase: str, **params: int) -> Estimate:
    graph = catalog.build(f"llm/{expert.model}/{phase}", {"dtype": expert.dtype, **params})
    return estimate_graph(graph, expert.server.machine)


def _mean(figures: Sequence[float]) -> float:
    """Simpson's mean of three."""
    first, middle, last = figures
    return (first + 4.0 * middle + last) / 6.0


def _check_room(expert: Expert, category: Category) -> None:
    shape = expert.shape
    tokens = category.prompt + category.answer
    needs = (shape.parameters + shape.kv_elements(tokens)) * bytes_of(expert.dtype)
    room = expert.server.machine.dram.capacity_bytes
    if needs > room:
        raise SimexploreError(
            f"{expert.model} on {expert.server.name}: expected at most {room / 1e9:.1f} GB of weights and KV cache, "
            f"found {needs / 1e9:.1f} GB; choose a smaller model or a narrower type"
        )
