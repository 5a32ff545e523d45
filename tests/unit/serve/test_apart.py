"""Separate pools: keys and values wait for room where they are decoded, and keep theirs until they are there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_steps import ToySteps
from watched import Watched, engines, requests

from simexplore.errors import SimexploreError
from simexplore.sim.serve.apart import serve_apart
from simexplore.sim.serve.cluster import Outage, Ways, questions_of, serve
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.load.arrivals import Lengths, Users
from simexplore.sim.serve.load.request import Request, Served

FEW = settings(max_examples=25, deadline=None)
broken = st.lists(st.builds(Outage, st.floats(0.0, 20.0), st.integers(0, 1), st.floats(0.0, 5.0)), max_size=2)


def engine(sends: bool = False, **how: object) -> Engine:
    return Engine(ToySteps(), Settings(**{"page_tokens": 4, "pages": 1000, **how}), sends=sends)  # type: ignore[arg-type]


def times(served: list[Served]) -> list[tuple[float, float]]:
    return [(each.first_s, each.finish_s) for each in served]


@pytest.mark.parametrize(("room", "last_first_s"), [(4, 5.0), (6, 4.0)])
def test_a_pool_that_has_no_room_holds_back_the_one_that_prefills(room: int, last_first_s: float) -> None:
    """Four prompts of two pages, a step each; one sequence at a time decodes, two steps, half a second from the other.

    The first is sent from 1 to 1.5, and decodes until 3.5. The second is done at 2 and the third at 3; both stay where
    they are, in four pages. So the fourth begins when the second is gone, which has room at 3.5 and is there at 4.
    With six pages it begins at 3.
    """
    prefill, decode = engine(sends=True, pages=room, max_tokens=8), engine(pages=3)
    served = serve_apart([prefill], [decode], [Request(0.0, 8, 3)] * 4, lambda tokens: tokens / 16.0)
    assert times(served) == [(1.0, 3.5), (2.0, 6.0), (3.0, 8.5), (last_first_s, 11.0)]
    assert prefill.pages.free == room
    assert decode.pages.free == 3
    assert prefill.tally.most_pages == room


def test_the_engine_goes_on_while_keys_and_values_come() -> None:
    """The second is fetched from 2.5, the end of a step, to 4.25 while the first decodes; it joins at 4.5."""
    prefill, decode = engine(sends=True, max_tokens=8), engine()
    load = [Request(0.0, 4, 6), Request(1.0, 8, 3)]
    served = serve_apart([prefill], [decode], load, lambda tokens: 0.5 if tokens == 4 else 1.75)
    assert times(served) == [(1.0, 6.5), (2.0, 6.5)]


def test_a_request_of_one_token_is_answered_where_it_is_prefilled() -> None:
    prefill = engine(sends=True)
    (served,) = serve_apart([prefill], [engine()], [Request(0.0, 4, 1)], lambda _: 9.0)
    assert (served.first_s, served.finish_s) == (1.0, 1.0)
    assert prefill.pages.free == 1000


def test_users_ask_again_when_the_pool_that_decodes_has_answered() -> None:
    """A question takes a step of prefill, half a second on the way and a step of decoding; the user thinks for one."""
    load = Users(1, 1.0, 3, Lengths(4, 4), Lengths(2, 2))
    served = serve_apart([engine(sends=True)], [engine()], *ways(load, lambda _: 0.5))
    assert [each.arrival_s for each in served] == [0.0, 3.5, 7.0]
    assert [each.finish_s for each in served] == [2.5, 6.0, 9.5]


def ways(load: Users, handover_s: object) -> tuple:  # type: ignore[type-arg]
    asked, follow = questions_of(load, Ways())
    return asked, handover_s, follow


@FEW
@given(requests, engines, st.floats(0.0, 2.0), broken)
def test_nothing_is_lost_on_its_way(load: list[Request], how: Settings, token_s: float, outages: list[Outage]) -> None:
    steps = ToySteps(fixed_s=0.25, prompt_s=0.01)
    prefill = [Watched(steps, how, name, sends=True) for name in (0, 1)]
    decode = [Watched(steps, how, name) for name in (0, 1)]
    served = serve_apart(prefill, decode, load, lambda tokens: token_s * tokens / 40.0, Ways(outages=outages))
    assert sorted(each.request for each in served) == sorted(load)
    for each in served:
        assert each.arrival_s < each.first_s <= each.finish_s
    made = sum(each.tally.generated for each in (*prefill, *decode))
    answers = sum(request.output_tokens for request in load)
    assert made >= answers if outages else made == answers
    for each in (*prefill, *decode):
        assert not each.busy
        assert each.pages.free == each.pages.total
        each.check()


@FEW
@given(requests, engines, st.floats(0.0, 0.5))
def test_with_room_for_all_prefill_does_not_wait(load: list[Request], how: Settings, handover_s: float) -> None:
    plenty = replace(how, pages=2000, block_tokens=0)
    steps = ToySteps(fixed_s=0.25, prompt_s=0.01)
    apart = serve_apart([Engine(steps, plenty, sends=True)], [Engine(steps, plenty)], load, lambda _: handover_s)
    alone = serve([Engine(steps, plenty)], [request._replace(output_tokens=1) for request in load])
    assert [each.first_s for each in apart] == pytest.approx([each.first_s for each in alone], rel=1e-12)
    for each in apart:
        if each.request.output_tokens > 1:
            assert each.finish_s >= each.first_s + handover_s + 0.25 * (each.request.output_tokens - 1) - 1e-9


def test_outages_are_of_engines_that_decode() -> None:
    with pytest.raises(SimexploreError, match="expected an engine from 0 to 0, found 1"):
        serve_apart([engine(True)], [engine()], [], lambda _: 0.0, Ways(outages=[Outage(0.0, 1, 1.0)]))
