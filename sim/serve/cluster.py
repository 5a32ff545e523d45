"""Engines side by side, and the requests that they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Literal

from simexplore.errors import SimexploreError
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.load.arrivals import Users
from simexplore.sim.serve.load.request import Request, Served

Routing = Literal["round-robin", "least"]
"""To which of several engines a request goes: to each in turn, or to the one that will have fewest after its step."""
LEAST_S = 1e-9
"""Least time that an engine goes on for while others wait for it [s]."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An engine that dies, and comes back with an empty cache."""

    at_s: float
    engine: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Ways:
    """How requests find engines.

    Args:
        routing: which engine a request goes to.
        outages: of engines; who is being served there asks again at once.
        follow: the request of a user who has an answer; None: nobody asks again.
        advance: is told how many requests have been answered.
    """

    routing: Routing = "round-robin"
    outages: Sequence[Outage] = ()
    follow: Callable[[Served], Request | None] | None = None
    advance: Callable[[int], None] | None = None


PLAIN = Ways()


def serve(engines: Sequence[Engine], requests: Iterable[Request], ways: Ways = PLAIN) -> list[Served]:
    """Give requests to engines until all are answered, and tell what became of each, in the order of their arrival.

    Args:
        engines: with nothing to do.
        requests: in any order.
        ways: how requests find engines.

    Raises:
        SimexploreError: a request can never be served, or an outage is of no engine.
    """
    run = _Run(engines, ways)
    for request in sorted(requests, key=lambda request: request.arrival_s):
        run.arrive(request)
    run.finish()
    return run.served


def serve_users(engines: Sequence[Engine], users: Users, ways: Ways = PLAIN) -> list[Served]:
    """Users who each wait for an answer before they ask again.

    Raises:
        SimexploreError: as `serve`.
    """
    questions = iter(users.questions())

    def ask(at_s: float) -> Request | None:
        question = next(questions, None)
        return None if question is None else Request(at_s, *question)

    first = [request for _ in range(users.count) if (request := ask(0.0)) is not None]
    follow = Ways(ways.routing, ways.outages, lambda served: ask(served.finish_s + users.think_s), ways.advance)
    return serve(engines, first, follow)


def serve_apart(
    prefill: Sequence[Engine],
    decode: Sequence[Engine],
    requests: Iterable[Request],
    handover_s: Callable[[int], float],
    ways: Ways = PLAIN,
) -> list[Served]:
    """Prompts are prefilled by engines that do nothing else; the keys and values go to others, which decode.

    An engine sends one prompt's after the other's. What becomes of them later does not hold prefilling back.

    Raises:
        SimexploreError: as `serve`.
    """
    ordered = sorted(requests, key=lambda request: request.arrival_s)
    first = serve(prefill, [request._replace(output_tokens=1) for request in ordered], Ways(ways.routing))
    run = _Run(decode, ways)
    link_free_s = [0.0] * len(prefill)
    for each in first:
        run.served.append(Served(each.order, ordered[each.order], each.arrival_s, each.first_s))
        run.served[-1].cached_tokens = each.cached_tokens
    for each in sorted(first, key=lambda served: served.first_s):
        served = run.served[each.order]
        if served.request.output_tokens == 1:
            served.finish_s, served.replica = each.finish_s, each.replica
            continue
        sent_s = max(each.first_s, link_free_s[each.replica]) + handover_s(served.request.input_tokens)
        link_free_s[each.replica] = sent_s
        heappush(run.events, (sent_s, served.order, served))
    run.finish()
    return run.served


class _Run:
    """Requests on their way to engines."""

    def __init__(self, engines: Sequence[Engine], ways: Ways) -> None:
        self.engines, self.ways = engines, ways
        self.served: list[Served] = []
        self.events: list[tuple[float, int, Served | Outage]] = []
        self._turn = 0
        self._down_until = [0.0] * len(engines)
        for index, outage in enumerate(ways.outages):
            if not 0 <= outage.engine < len(engines):
                raise SimexploreError(f"outage: expected an engine from 0 to {len(engines) - 1}, found {outage.engine}")
            heappush(self.events, (outage.at_s, -1 - index, outage))

    def arrive(self, request: Request) -> None:
        """A request that is on its way; its engine sees it when its prompt has been turned into tokens."""
        served = Served(len(self.served), request, request.arrival_s)
        self.served.append(served)
        tokenizer_s = self.engines[0].settings.host.tokenizer_token_s * request.input_tokens
        heappush(self.events, (request.arrival_s + tokenizer_s, served.order, served))

    def finish(self) -> None:
        """Let everything happen."""
        answered, follow = 0, self.ways.follow
        while (busy := self._first_busy()) is not None or self.events:
            at_s = self.events[0][0] if self.events else inf
            if busy is None or at_s <= busy.now_s:
                self._handle()
                continue
            ended = busy.advance(self._until(busy, at_s), stop_at_end=follow is not None)
            answered += len(ended)
            for request in map(follow, ended) if follow is not None else ():
                if request is not None:
                    self.arrive(request)
            if self.ways.advance is not None and ended:
                self.ways.advance(answered)

    def _handle(self) -> None:
        """The next thing that happens to engines."""
        at_s, order, what = heappop(self.events)
        if isinstance(what, Outage):
            self._break(what)
            return
        up = [engine for engine, until_s in zip(self.engines, self._down_until, strict=True) if until_s <= at_s]
        if up:
            self._chosen(up).submit(what, at_s)
        else:
            heappush(self.events, (min(self._down_until), order, what))

    def _chosen(self, up: list[Engine]) -> Engine:
        if self.ways.routing == "least":
            return min(up, key=lambda engine: (engine.outstanding, engine.name))
        self._turn += 1
        return up[(self._turn - 1) % len(up)]

    def _break(self, outage: Outage) -> None:
        engine = self.engines[outage.engine]
        back_s = outage.at_s + outage.for_s
        self._down_until[outage.engine] = max(self._down_until[outage.engine], back_s)
        for served in engine.kill():
            heappush(self.events, (max(outage.at_s, engine.now_s), served.order, served))

    def _first_busy(self) -> Engine | None:
        """The engine with work whose next step begins first."""
        if len(self.engines) == 1:
            return self.engines[0] if self.engines[0].busy else None
        return min((engine for engine in self.engines if engine.busy), key=lambda engine: engine.now_s, default=None)

    def _until(self, engine: Engine, at_s: float) -> float:
        """How far an engine may go: to the next event, and where answers make events, no farther than the others."""
        if self.ways.follow is None:
            return at_s
        others = [other.now_s for other in self.engines if other.busy and other is not engine]
        return min([at_s, *(max(now_s, engine.now_s + LEAST_S) for now_s in others)])
