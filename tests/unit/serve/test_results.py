"""What users saw and what it took, by hand; the trace, the page and the search."""

from __future__ import annotations

import json
from typing import cast

import pytest
from toy_steps import ToySteps

from simexplore.errors import SimexploreError
from simexplore.sim.report.serving.page import serving_html
from simexplore.sim.serve.cluster import serve
from simexplore.sim.serve.deployment import Deployment
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.engine.tally import MOST_SAMPLES, Tally
from simexplore.sim.serve.load.arrivals import Arrivals, Lengths
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import Objectives, Result
from simexplore.sim.serve.study import Study
from simexplore.sim.serve.trace import trace_json


def result(objectives: Objectives | None = None) -> Result:
    """Answers at 3 and 7 of 4 s in all: steps from 0 to 3, and from 5 to 7; 4 J a step, 2 GPUs of which one is idle."""
    engine = Engine(ToySteps(), Settings(page_tokens=4, pages=10))
    engine.tally.most_logged = 100
    served = serve([engine], [Request(0.0, 8, 3), Request(5.0, 4, 2)])
    return Result(served, [engine], 2, 1, 10.0, objectives or Objectives())


def test_figures_are_of_all_gpus() -> None:
    """Of 2 x 7 s of GPUs 5 s are busy, at 1 W; the others are idle at 10 W."""
    told = result(Objectives(ttft_s=1.0, latency_s=2.5)).to_json()
    assert told["duration_s"] == 7.0
    assert told["requests_per_s"] == pytest.approx(2 / 7)
    assert told["output_tokens_per_s"] == pytest.approx(5 / 7)
    assert told["output_tokens_per_s_per_gpu"] == pytest.approx(5 / 14)
    assert told["total_tokens_per_s"] == pytest.approx(17 / 7)
    assert told["ttft_s"]["p50"] == told["ttft_s"]["max"] == 1.0
    assert told["tpot_s"]["mean"] == 1.0
    assert told["latency_s"]["mean"] == 2.5
    assert told["latency_s"]["p50"] == 2.5
    assert told["held_share"] == 0.5
    assert told["goodput_requests_per_s"] == pytest.approx(1 / 7)
    assert told["energy_j"] == pytest.approx(5.0 + 9.0 * 10.0)
    assert told["energy_per_output_token_j"] == pytest.approx(95.0 / 5)
    assert told["busy_share"] == pytest.approx(5 / 7)
    assert told["kv_peak_share"] == pytest.approx(3 / 10)
    assert told["offered_per_s"] == pytest.approx(2 / 5)
    assert told["answered_per_s"] == pytest.approx(2 / 5)
    assert told["mean_requests_in_system"] == pytest.approx(5 / 7)


def test_answers_of_one_token_have_no_time_per_token() -> None:
    engine = Engine(ToySteps(), Settings())
    told = Result(serve([engine], [Request(0.0, 8, 1)]), [engine], 1, 1, 0.0, Objectives(tpot_s=0.0)).to_json()
    assert told["tpot_s"] is None
    assert told["held_share"] == 1.0
    assert told["offered_per_s"] is None


def test_the_cache_is_sampled_and_samples_stay_few() -> None:
    tally = Tally(10)
    for step in range(50_000):
        tally.count(1, 0.01, 1.0, 0, 3, step % 7)
        if 0.01 * step >= tally.look_s:
            tally.look(0.01 * step, 0.01, 0, 3, step % 7)
    assert MOST_SAMPLES / 3 < len(tally.samples) <= MOST_SAMPLES
    assert [sample.time_s for sample in tally.samples] == sorted(sample.time_s for sample in tally.samples)
    assert tally.samples[-1].time_s > 0.98 * 500.0
    assert (tally.steps, tally.most_pages, tally.busy_s) == (50_000, 6, pytest.approx(500.0))
    assert (tally.generated, tally.energy_j) == (150_000, 50_000.0)


def test_the_trace_has_a_slice_a_step_and_spans_for_requests() -> None:
    events = json.loads(trace_json(result(), "a machine"))["traceEvents"]
    steps = [event for event in events if event["ph"] == "X"]
    assert [(event["name"], event["ts"], event["dur"]) for event in steps] == [
        ("prefill", 0.0, 1e6), ("decode", 1e6, 1e6), ("decode", 2e6, 1e6), ("prefill", 5e6, 1e6), ("decode", 6e6, 1e6),
    ]  # fmt: skip
    begun = [(event["name"], event["ts"]) for event in events if event["ph"] == "b" and event["id"] == 1]
    assert begun == [("first token", 5e6), ("answer", 6e6)]
    assert sum(event["ph"] == "b" for event in events) == sum(event["ph"] == "e" for event in events) == 4
    assert [event["args"]["kv pages"] for event in events if event.get("name") == "kv pages"] == [2, 3, 3, 1, 2]


def test_the_page_tells_every_point() -> None:
    pytest.importorskip("plotly")
    told = result()
    points = [{"deployment": "zq<b>", "rate_per_s": rate, **told.to_json()} for rate in (1.0, 2.0)]
    html = serving_html("a title", {"zq<b>": points}, told.samples(), [("rate", "1,2")], "today")
    assert "a title" in html
    assert "zq<b>" not in html
    for name in ("ttft", "tpot", "throughput", "energy", "cache"):
        assert f'id="{name}"' in html
    assert html.count("<tr>") == 3


class ToyDeployment:
    """Engines whose steps take a tenth of a second."""

    gpus = 1
    handover_s = None
    options = type("Options", (), {"tensor_parallel": 1})
    gpu = type("Gpu", (), {"power": type("Power", (), {"idle_w": 0.0})})

    def engines(self, table: object) -> tuple[list[Engine], list[Engine]]:
        return [], [Engine(ToySteps(fixed_s=0.1), Settings(max_sequences=4))]


def study(objectives: Objectives) -> Study:
    return Study(cast(Deployment, ToyDeployment()), None, objectives)  # type: ignore[arg-type]


LOAD = Arrivals(1.0, 300.0, Lengths(8, 8), Lengths(10, 10), seed=2)


def test_the_highest_rate_is_where_the_promise_just_holds() -> None:
    """Four sequences of a second each, so 4 a second at most: at the rate found it holds, just above it does not."""
    tried: list[tuple[float, bool]] = []
    searched = study(Objectives(ttft_s=0.5, share=0.9))
    rate = searched.highest_rate(LOAD, lambda rate, held: tried.append((rate, held)))
    assert 1.5 < rate < 4.0
    assert searched.run(LOAD.at(rate)).held_share >= 0.9
    assert searched.run(LOAD.at(rate * 1.01)).held_share < 0.9
    assert (rate, True) in tried


def test_a_search_needs_a_promise_that_some_rates_hold() -> None:
    with pytest.raises(SimexploreError, match="expected an objective"):
        study(Objectives()).highest_rate(LOAD)
    with pytest.raises(SimexploreError, match="objectives do not hold even at"):
        study(Objectives(ttft_s=0.05)).highest_rate(Arrivals(1.0, 3.0, Lengths(8, 8), Lengths(2, 2)))
