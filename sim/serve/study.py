"""Loads on deployments: one, at several rates, or the highest that holds what users were promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.sim.hardware.idle import idle_w
from simexplore.sim.serve.apart import serve_apart
from simexplore.sim.serve.cluster import PLAIN, Ways, questions_of, serve
from simexplore.sim.serve.deployment import Deployment
from simexplore.sim.serve.load.arrivals import Arrivals, Users
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import Objectives, Result
from simexplore.sim.serve.steps.table import StepTable

FOLLOWS = 0.95
"""Share of the offered rate that a deployment answers while it is not saturated."""
CLOSE = 0.01
"""Relative width of the range that the highest rate is found in."""
DOUBLINGS = 24
"""Most times that a rate is doubled or halved in search of one that fails, or holds."""

Trace = Sequence[Request]
Load = Arrivals | Users | Trace


@dataclass(frozen=True)
class Study:
    """A deployment with the table of its steps, which all its loads share.

    Args:
        deployment: the engines.
        table: of their steps.
        objectives: what users are promised.
        ways: how requests find engines.
        logged: steps of each engine that are kept one by one.
    """

    deployment: Deployment
    table: StepTable
    objectives: Objectives
    ways: Ways = PLAIN
    logged: int = 0

    def run(self, load: Load) -> Result:
        """Serve a load.

        Raises:
            SimexploreError: a request of it can never be served.
        """
        deployment = self.deployment
        prefill, decode = deployment.engines(self.table)
        for engine in (*prefill, *decode):
            engine.tally.most_logged = self.logged
        if isinstance(load, Users):
            requests, ways = questions_of(load, self.ways)
        else:
            requests, ways = load.requests() if isinstance(load, Arrivals) else list(load), self.ways
        if prefill:
            served = serve_apart(prefill, decode, requests, deployment.handover_s, ways)
        else:
            served = serve(decode, requests, ways)
        return Result(
            served=served,
            engines=[*prefill, *decode],
            gpus=deployment.gpus,
            engine_gpus=deployment.options.tensor_parallel,
            idle_w=idle_w(deployment.gpu),
            objectives=self.objectives,
        )

    def highest_rate(self, load: Arrivals, told: Callable[[float, bool], None] | None = None) -> float:
        """The highest rate at which `objectives.share` of requests see what was promised, to within 1 % [1/s].

        Args:
            load: all but its rate.
            told: is told each rate that was tried, and whether it held.

        Raises:
            SimexploreError: nothing is promised, or no rate holds it, or every rate does.
        """
        if not self.objectives.any:
            raise SimexploreError("the highest rate: expected an objective, such as --ttft 500ms or --tpot 50ms")

        def holds(rate_per_s: float) -> bool:
            held = self.run(load.at(rate_per_s)).held_share >= self.objectives.share
            if told is not None:
                told(rate_per_s, held)
            return held

        low, high = _enclosed(holds, load.rate_per_s)
        while high / low > 1.0 + CLOSE:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low


def _enclosed(holds: Callable[[float], bool], rate_per_s: float) -> tuple[float, float]:
    """A rate that holds and one that does not, twice as high at most."""
    held = holds(rate_per_s)
    for _ in range(DOUBLINGS):
        other = rate_per_s * (2.0 if held else 0.5)
        if holds(other) != held:
            return (rate_per_s, other) if held else (other, rate_per_s)
        rate_per_s = other
    told = f"hold at all rates up to {rate_per_s:.3g}/s" if held else f"do not hold even at {rate_per_s:.3g}/s"
    raise SimexploreError(
        f"the highest rate: expected one, but objectives {told}: change them, or the time in which requests arrive"
    )


def longest_of(load: Load) -> int:
    """The longest context that a load can have [tokens]."""
    if isinstance(load, Arrivals | Users):
        return load.prompt.most + load.answer.most
    return max(request.input_tokens + request.output_tokens for request in load)


def knee(points: Sequence[Mapping[str, Any]]) -> float | None:
    """The highest rate of a curve that is answered as fast as it comes [1/s]; None: not even the lowest is.

    A deployment that is not saturated answers as many requests as arrive; beyond, the queue grows for as long as the
    load lasts. Points are results at rising rates, each with its `rate_per_s`.
    """
    last: float | None = None
    for point in points:
        if point["offered_per_s"] is not None and point["answered_per_s"] < FOLLOWS * point["offered_per_s"]:
            break
        last = point["rate_per_s"]
    return last
