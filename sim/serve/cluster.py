"""Engines side by side, and the requests that they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
    run = Run(engines, ways)
    for request in sorted(requests, key=lambda request: request.arrival_s):
        run.arrive(request)
    run.finish()
    return run.served


def questions_of(users: Users, ways: Ways) -> tuple[list[Request], Ways]:
    """The first requests of users who each wait for an answer, and the ways by which the others follow."""
    questions = iter(users.questions())

    def ask(at_s: float) -> Request | None:
        question = next(questions, None)
        return None if question is None else Request(at_s, *question)

    first = [request for _ in range(users.count) if (request := ask(0.0)) is not None]
    return first, replace(ways, follow=lambda served: ask(served.finish_s + users.think_s))


class Run:
    """Requests on their way to engines.

    Args:
        engines: with nothing to do.
        ways: how requests find those of them that answer.
        answering: those; by default all.
    """

    def __init__(self, engines: Sequence[Engine], ways: Ways, answering: Sequence[Engine] | None = None) -> None:
        self.engines, self.ways = engines, ways
        self.served: list[Served] = []
        self._answering = engines if answering is None else answering
        self._events: list[tuple[float, int, int, Callable[[float], None]]] = []
        self._turns: dict[bool, int] = {}
        self._count = 0
        self._down_until = [0.0] * len(self._answering)
        for index, outage in enumerate(ways.outages):
            if not 0 <= outage.engine < len(self._answering):
                most = len(self._answering) - 1
                raise SimexploreError(f"outage: expected an engine from 0 to {most}, found {outage.engine}")
            self.at(outage.at_s, -1 - index, partial(self._break, outage))

    def at(self, at_s: float, order: int, do: Callable[[float], None]) -> None:
        """Let something happen at a time [s]; of what happens at once, what has the lowest `order` comes first."""
        self._count += 1
        heappush(self._events, (at_s, order, self._count, do))

    def arrive(self, request: Request) -> None:
        """A request that is on its way; its engine sees it when its prompt has been turned into tokens."""
        served = Served(len(self.served), request, request.arrival_s)
        self.served.append(served)
        tokenizer_s = self.engines[0].settings.host.tokenizer_token_s * request.input_tokens
        self.at(request.arrival_s + tokenizer_s, served.order, partial(self.give, served))

    def finish(self) -> None:
        """Let everything happen."""
        answered, follow = 0, self.ways.follow
        while (busy := self._first_busy()) is not None or self._events:
            at_s = self._events[0][0] if self._events else inf
            if busy is None or at_s <= busy.now_s:
                at_s, _, _, do = heappop(self._events)
                do(at_s)
                continue
            ended = self.ended(busy, busy.advance(self._until(busy, at_s), stop_at_end=self.coupled))
            answered += len(ended)
            for request in map(follow, ended) if follow is not None else ():
                if request is not None:
                    self.arrive(request)
            if self.ways.advance is not None and ended:
                self.ways.advance(answered)

    @property
    def coupled(self) -> bool:
        """Whether what one engine does makes something happen to others."""
        return self.ways.follow is not None

    def ended(self, engine: Engine, requests: list[Served]) -> list[Served]:  # noqa: ARG002 - others hand them on
        """Of the requests that an engine is done with, those that are answered."""
        return requests

    def give(self, served: Served, at_s: float) -> None:
        """An engine gets a request, as soon as one of them is there."""
        self._to_one(served, at_s, None)

    def _to_one(self, served: Served, at_s: float, fetch: Callable[[float], float] | None) -> None:
        """One of the engines that answer gets a request."""
        up = [engine for engine, until_s in zip(self._answering, self._down_until, strict=True) if until_s <= at_s]
        if up:
            self.chosen(up).submit(served, at_s, fetch)
        else:
            self.at(min(self._down_until), served.order, lambda later_s: self._to_one(served, later_s, fetch))

    def chosen(self, up: Sequence[Engine]) -> Engine:
        """Which of some engines gets the next request."""
        if self.ways.routing == "least":
            return min(up, key=lambda engine: (engine.outstanding, engine.name))
        turn = self._turns.setdefault(up[0].sends, 0)
        self._turns[up[0].sends] += 1
        return up[turn % len(up)]

    def _break(self, outage: Outage, at_s: float) -> None:
        engine = self._answering[outage.engine]
        back_s = at_s + outage.for_s
        self._down_until[outage.engine] = max(self._down_until[outage.engine], back_s)
        for served in engine.kill():
            self.lost(served, at_s)
            self.at(max(at_s, engine.now_s), served.order, partial(self.give, served))

    def lost(self, served: Served, at_s: float) -> None:
        """The engine that had a request has died."""

    def _first_busy(self) -> Engine | None:
        """The engine with work whose next step begins first."""
        if len(self.engines) == 1:
            return self.engines[0] if self.engines[0].busy else None
        able = (engine for engine in self.engines if engine.busy and not engine.stuck)
        return min(able, key=lambda engine: engine.now_s, default=None)

    def _until(self, engine: Engine, at_s: float) -> float:
        """How far an engine may go: to the next event, and where it makes events, no farther than the others."""
        if not self.coupled:
            return at_s
        others = [other.now_s for other in self.engines if other.busy and not other.stuck and other is not engine]
        return min([at_s, *(max(now_s, engine.now_s + LEAST_S) for now_s in others)])
