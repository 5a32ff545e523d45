"""Engines side by side, and the requests that they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from typing import Literal

from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.load.request import Request, Served

Routing = Literal["round-robin", "least"]
"""To which of several engines a request goes: to each in turn, or to the one that has least to do."""

Follow = Callable[[Served], Request | None]
"""What a user asks for when an answer is there; None: nothing more."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An engine that dies, and comes back with an empty cache."""

    at_s: float
    engine: int
    for_s: float


def serve(
    engines: Sequence[Engine],
    requests: Iterable[Request],
    routing: Routing = "round-robin",
    follow: Follow | None = None,
    outages: Sequence[Outage] = (),
    advance: Callable[[int], None] | None = None,
) -> list[Served]:
    """Give requests to engines until all are answered, and tell what became of each, in the order of their arrival.

    Args:
        engines: with nothing to do.
        requests: in any order.
        routing: which engine a request goes to.
        follow: what users ask for after an answer.
        outages: of engines; who is being served there asks again at once.
        advance: is told how many requests have been answered.

    Raises:
        SimexploreError: a request can never be served.
    """
    run = _Run(engines, routing)
    for request in sorted(requests, key=lambda request: request.arrival_s):
        run.arrive(request)
    for outage in outages:
        heappush(run.events, (outage.at_s, -1, outage))
    heapify(run.events)
    answered = 0
    while (busy := run.first_busy()) is not None or run.events:
        at_s = run.events[0][0] if run.events else inf
        if busy is None or at_s <= busy.now_s:
            run.handle()
            continue
        ended = busy.advance(run.until(busy, at_s, bool(follow)), stop_at_end=follow is not None)
        answered += len(ended)
        if follow is not None:
            for served in ended:
                request = follow(served)
                if request is not None:
                    run.arrive(request)
        if advance is not None and ended:
            advance(answered)
    return run.served


class _Run:
    """Requests on their way to engines."""

    def __init__(self, engines: Sequence[Engine], routing: Routing) -> None:
        self.engines = engines
        self.served: list[Served] = []
        self.events: list[tuple[float, int, Served | Outage]] = []
        self._routing = routing
        self._turn = 0
        self._down_until = [0.0] * len(engines)

    def arrive(self, request: Request) -> None:
        """A request that is on its way."""
        served = Served(len(self.served), request, request.arrival_s)
        self.served.append(served)
        heappush(self.events, (request.arrival_s, served.order, served))

    def handle(self) -> None:
        """The next thing that happens to engines."""
        at_s, order, what = heappop(self.events)
        if isinstance(what, Outage):
            self._break(what)
            return
        up = [engine for engine in self.engines if self._down_until[engine.name] <= at_s]
        if not up:
            heappush(self.events, (min(self._down_until), order, what))
            return
        self._chosen(up).submit(what, at_s + up[0].settings.host.request_s)

    def _chosen(self, up: list[Engine]) -> Engine:
        if self._routing == "least":
            return min(up, key=lambda engine: (engine.outstanding, engine.name))
        self._turn += 1
        return up[(self._turn - 1) % len(up)]

    def _break(self, outage: Outage) -> None:
        engine = self.engines[outage.engine]
        self._down_until[engine.name] = max(self._down_until[engine.name], outage.at_s + outage.for_s)
        for served in engine.kill():
            heappush(self.events, (max(outage.at_s, engine.now_s), served.order, served))

    def first_busy(self) -> Engine | None:
        """The engine with work whose next step begins first."""
        busy = [engine for engine in self.engines if engine.busy]
        return min(busy, key=lambda engine: engine.now_s, default=None)

    def until(self, engine: Engine, at_s: float, follows: bool) -> float:
        """How far an engine may go: to the next event, and where answers make events, no farther than the others."""
        if not follows:
            return at_s
        others = [other.now_s for other in self.engines if other.busy and other is not engine]
        return min([at_s, *(max(now_s, engine.now_s + 1e-9) for now_s in others)])
