"""Prefill and decode on separate pools of engines, and keys and values on their way from one to the other.

A prompt stays in the cache of the engine that prefilled it until the engine that will decode has room for it, fetches
it, and has all of it; only then may others have its pages. So a pool that decodes too slowly holds back the one that
prefills: prompts wait in its cache, and when that is full, no prompt begins. This is how vLLM's connector for NIXL does
it: blocks are allocated where they are decoded, then read, and freed where they were made when that is told
(docs.vllm.ai/en/stable/features/nixl_connector_usage; kv_connector/v1/nixl_connector.py: request_finished).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from simexplore.sim.serve.cluster import PLAIN, Run, Ways
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.load.request import Request, Served


def serve_apart(
    prefill: Sequence[Engine],
    decode: Sequence[Engine],
    requests: Iterable[Request],
    handover_s: Callable[[int], float],
    ways: Ways = PLAIN,
) -> list[Served]:
    """Give requests to engines that prefill and nothing else, whose prompts others fetch and decode.

    Args:
        prefill: engines that send, with nothing to do.
        decode: the others.
        requests: in any order.
        handover_s: time that the keys and values of a prompt of so many tokens take; an engine sends one's after the
            other's [s].
        ways: how requests find engines; outages are of those that decode.

    Raises:
        SimexploreError: as `serve`.
    """
    run = _Apart(prefill, decode, handover_s, ways)
    for request in sorted(requests, key=lambda request: request.arrival_s):
        run.arrive(request)
    run.finish()
    return run.served


class _Apart(Run):
    """Requests on their way to engines that prefill, and from there to others."""

    def __init__(
        self, prefill: Sequence[Engine], decode: Sequence[Engine], handover_s: Callable[[int], float], ways: Ways
    ) -> None:
        super().__init__([*prefill, *decode], ways, decode)
        self._prefill, self._handover_s = prefill, handover_s
        self._kept: dict[int, tuple[Engine, Served]] = {}
        self._link_free_s: dict[int, float] = {}

    @property
    def coupled(self) -> bool:
        return True

    def give(self, served: Served, at_s: float) -> None:
        """An engine that prefills gets the prompt."""
        first = Served(served.order, served.request._replace(output_tokens=1), served.arrival_s)
        self.chosen(self._prefill).submit(first, at_s)

    def ended(self, engine: Engine, requests: list[Served]) -> list[Served]:
        """Prompts are handed on, unless their first token is the whole answer."""
        return self._handed(engine, requests) if engine.sends else requests

    def _handed(self, engine: Engine, requests: list[Served]) -> list[Served]:
        answered = []
        for first in requests:
            served = self.served[first.order]
            served.first_s, served.cached_tokens = first.first_s, first.cached_tokens
            if served.request.output_tokens == 1:
                served.finish_s, served.replica = first.finish_s, first.replica
                engine.let_go(first.order, engine.now_s)
                answered.append(served)
            else:
                self._kept[first.order] = (engine, first)
                fetch = partial(self._fetch, first.order)
                self.at(engine.now_s, first.order, partial(self._hand, served, fetch))
        return answered

    def _hand(self, served: Served, fetch: Callable[[float], float], at_s: float) -> None:
        self._to_one(served, at_s, fetch)

    def _fetch(self, order: int, room_s: float) -> float:
        """When the keys and values of a prompt are where there has been room for them since some time [s]."""
        engine, first = self._kept[order]
        begin_s = max(room_s, self._link_free_s.get(engine.name, 0.0))
        there_s = begin_s + self._handover_s(first.request.input_tokens)
        self._link_free_s[engine.name] = there_s
        self.at(there_s, order, partial(self._fetched, first))
        return there_s

    def _fetched(self, first: Served, at_s: float) -> None:
        """A prompt has come, and the engine that prefilled it may give up what it kept, unless it has done so."""
        for other in self._answering:
            other.wake(at_s)
        engine, kept = self._kept.get(first.order, (None, None))
        if engine is not None and kept is first:
            del self._kept[first.order]
            engine.let_go(first.order, at_s)

    def lost(self, served: Served, at_s: float) -> None:
        """Nobody will fetch the prompt: it has to be computed again."""
        if served.order in self._kept:
            self._fetched(self._kept[served.order][1], at_s)
