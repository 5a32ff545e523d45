"""What holds for any load: nothing is lost, no page is used twice, and known results of queues come out."""

from __future__ import annotations

from math import nextafter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_steps import ToySteps
from watched import Watched, engines, requests

from simexplore.sim.serve.cluster import Outage, Ways, serve
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.load.arrivals import Arrivals, Lengths
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import Objectives, Result
from simexplore.sim.serve.study import knee

FEW = settings(max_examples=40, deadline=None)

outages = st.lists(st.builds(Outage, st.floats(0.0, 40.0), st.integers(0, 1), st.floats(0.0, 5.0)), max_size=3)


@FEW
@given(requests, engines, outages)
def test_nothing_is_lost_and_no_page_is_used_twice(load: list[Request], how: Settings, broken: list[Outage]) -> None:
    pair = [Watched(ToySteps(fixed_s=0.25, prompt_s=0.01), how, name) for name in (0, 1)]
    served = serve(pair, load, Ways(outages=broken))
    assert sorted(each.request for each in served) == sorted(load)
    for each in served:
        assert each.arrival_s <= each.first_s <= each.finish_s
    generated = sum(engine.tally.generated for engine in pair)
    answers = sum(request.output_tokens for request in load)
    assert generated >= answers if broken else generated == answers
    computed = sum(engine.tally.prefilled + engine.tally.reused for engine in pair)
    evicted = sum(engine.tally.evicted for engine in pair)
    prompts = sum(request.input_tokens for request in load)
    assert computed >= prompts
    assert computed == prompts or evicted or broken
    for engine in pair:
        assert not engine.busy
        assert engine.pages.free == engine.pages.total
        engine.check()


@FEW
@given(requests, engines)
def test_an_engine_with_work_is_never_idle(load: list[Request], how: Settings) -> None:
    """What it takes beside its steps is moving pages; else it waits for requests alone."""
    engine = Watched(ToySteps(fixed_s=0.25, prompt_s=0.01), how)
    served = serve([engine], load)
    spans = sorted((each.arrival_s, each.finish_s) for each in served)
    occupied_s, until_s = 0.0, 0.0
    for begin_s, end_s in spans:
        occupied_s += max(end_s - max(begin_s, until_s), 0.0)
        until_s = max(until_s, end_s)
    moved_s = occupied_s - engine.tally.busy_s
    assert moved_s == pytest.approx(0.0, abs=1e-9) or (
        how.eviction == "swap" and engine.tally.evicted and moved_s > 0.0
    )


@FEW
@given(requests, st.integers(20, 60), st.integers(1, 40), st.integers(1, 12))
def test_with_more_cache_nobody_is_answered_later(load: list[Request], pages: int, more: int, most: int) -> None:
    """Requests of any lengths at any whole seconds, steps of a second whatever is in them, and nobody evicted.

    Then whoever is before a request in the order is done no later with more pages, so it begins no later. Where steps
    grow with what is in them, or sequences are evicted, that need not be (the example of docs/guide/serving.md).
    """
    coming = [request._replace(arrival_s=float(int(request.arrival_s)), blocks=(), priority=0) for request in load]

    def ends(count: int) -> list[float]:
        how = Settings(max_tokens=4096, max_sequences=most, pages=count, page_tokens=4, reserve=1.0)
        return [each.finish_s for each in serve([Engine(ToySteps(), how)], coming)]

    assert all(after <= before for before, after in zip(ends(pages), ends(pages + more), strict=True))


@FEW
@given(requests, engines, st.integers(0, 3))
def test_the_same_load_gives_the_same_bytes(load: list[Request], how: Settings, seed: int) -> None:
    def told() -> str:
        pair = [Engine(ToySteps(fixed_s=0.25, prompt_s=0.01), how, name) for name in range(1 + seed % 2)]
        return repr([(each.first_s, each.finish_s, each.replica) for each in serve(pair, load)])

    assert told() == told()


def queue(rate_per_s: float, service_s: float, count: int) -> Result:
    """An engine that answers one request at a time, each in the same time."""
    engine = Engine(ToySteps(fixed_s=service_s), Settings(max_sequences=1, pages=100))
    load = Arrivals(rate_per_s, count / rate_per_s, Lengths(8, 8), Lengths(1, 1), seed=3)
    return Result(serve([engine], load.requests()), [engine], 1, 1, 0.0, Objectives())


@pytest.mark.parametrize(("load", "count"), [(0.4, 30_000), (0.8, 60_000)])
def test_the_wait_of_a_queue_with_equal_service_is_that_of_pollaczek_and_khinchine(load: float, count: int) -> None:
    """M/D/1: W = rho s / (2 (1 - rho)), to within 3 %."""
    result = queue(load, 1.0, count)
    waits = np.array([each.latency_s for each in result.served]) - 1.0
    assert float(waits.mean()) == pytest.approx(load / (2.0 * (1.0 - load)), rel=0.03)


@pytest.mark.parametrize("load", [0.5, 0.9, 2.0])
def test_littles_law_holds_for_requests_in_the_system(load: float) -> None:
    """Counting who is there at each arrival and departure gives the rate times the mean time."""
    result = queue(load, 1.0, 5000)
    moments = [(each.arrival_s, 1) for each in result.served] + [(each.finish_s, -1) for each in result.served]
    area, there, last_s = 0.0, 0, 0.0
    for moment_s, change in sorted(moments):
        area += there * (moment_s - last_s)
        there, last_s = there + change, moment_s
    duration = result.duration_s
    mean_s = float(np.mean([each.latency_s for each in result.served]))
    assert area / duration == pytest.approx(len(result.served) / duration * mean_s, rel=1e-9)
    assert result.mean_in_system == pytest.approx(area / duration, rel=1e-9)


def test_an_engine_saturates_at_the_rate_of_the_closed_form() -> None:
    """8 sequences of 9 decode steps of 1 s, whose prompts take no step of their own: 8 / 9 requests a second at most.

    Each answer has 10 tokens: the first comes with the prompt in a step that the others decode in, and so each
    sequence is there for 10 steps: 8 / 10 a second.
    """
    points = []
    for rate in (0.4, 0.6, 0.75, 0.9, 1.2):
        engine = Engine(ToySteps(), Settings(max_sequences=8, pages=1000))
        load = Arrivals(rate, 4000.0, Lengths(16, 16), Lengths(10, 10), seed=1)
        result = Result(serve([engine], load.requests()), [engine], 1, 1, 0.0, Objectives())
        points.append({"rate_per_s": rate, **result.to_json()})
    assert points[-1]["requests_per_s"] == pytest.approx(0.8, rel=0.01)
    assert knee(points) == 0.75
    assert knee(points[3:]) is None


@pytest.mark.parametrize(("shape", "variation"), [(1.0, 1.0), (0.25, 2.0), (4.0, 0.5)])
def test_gaps_are_as_irregular_as_their_shape_says(shape: float, variation: float) -> None:
    load = Arrivals(5.0, 4000.0, Lengths(1, 9), Lengths(3, 3), shape, seed=2)
    drawn = load.requests()
    gaps = np.diff([request.arrival_s for request in drawn])
    assert float(gaps.mean()) == pytest.approx(0.2, rel=0.05)
    assert float(gaps.std() / gaps.mean()) == pytest.approx(variation, rel=0.05)
    assert {request.input_tokens for request in drawn} == set(range(1, 10))
    assert max(request.arrival_s for request in drawn) < nextafter(4000.0, 5000.0)
    assert load.requests() == drawn
    assert load.at(2.0).requests() != drawn
