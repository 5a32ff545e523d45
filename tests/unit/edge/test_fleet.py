"""Costs of requests: sums of simulated steps, links, idle power; and trade-offs over budgets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.board import Link
from simexplore.errors import SimexploreError
from simexplore.sim.edge.fleet import Category, Expert, Server, User, costs_of, request_cost, shares_of
from simexplore.sim.edge.synthetic import Skills, accuracies, random_problem
from simexplore.sim.edge.tradeoff import WAYS, trade_off
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.workloads import catalog

ORIN = load_arch("nvidia/jetson-agx-orin-64gb")
WIRE = Link(bandwidth="125 MB/s", latency="1 ms")
SMALL = Expert(Server("orin", ORIN, WIRE), "pythia-70m")
CHAT = Category("chat", 1.0, 100, 20)


def test_a_request_is_its_prefill_and_a_step_for_each_further_token() -> None:
    prefill = estimate_graph(catalog.build("llm/pythia-70m/prefill", {"prompt": 100}), ORIN)
    steps = [
        estimate_graph(catalog.build("llm/pythia-70m/decode", {"context": 100 + token}), ORIN) for token in range(1, 20)
    ]
    time_s = prefill.time_s + sum(step.time_s for step in steps)
    energy_j = prefill.energy_j + sum(step.energy_j for step in steps)
    told = request_cost(SMALL, CHAT)
    assert told.time_s == pytest.approx(time_s, rel=0.01)
    assert told.energy_j == pytest.approx(energy_j - time_s * ORIN.power.idle_w, rel=0.01)


def test_an_answer_of_one_token_is_the_prefill() -> None:
    prefill = estimate_graph(catalog.build("llm/pythia-70m/prefill", {"prompt": 100}), ORIN)
    assert request_cost(SMALL, replace(CHAT, answer=1)).time_s == pytest.approx(prefill.time_s, rel=1e-12)


def test_links_and_idle_power_by_hand() -> None:
    user = User(Link(bandwidth="1.2 kB/s", latency="10 ms"), requests_per_s=0.1, bytes_per_token=5.0)
    experts = [SMALL, Expert(Server("other", ORIN, Link(bandwidth="600 B/s", latency="0 s")), "pythia-70m")]
    costs = costs_of(experts, [CHAT], user)
    alone = request_cost(SMALL, CHAT)
    assert costs.standing_j == pytest.approx([ORIN.power.idle_w / 0.1] * 2)
    assert costs.request_j == pytest.approx(np.full((1, 2), alone.energy_j))
    assert costs.service_s == pytest.approx(np.array([[alone.time_s + 0.002 + 600 / 125e6, alone.time_s + 1.0]]))
    assert costs.transfer_s == pytest.approx(np.full((1, 2), 0.02 + 0.5))


def test_mistakes_of_a_user() -> None:
    with pytest.raises(SimexploreError, match=r"did you mean 'pythia-70m'"):
        request_cost(replace(SMALL, model="pythia-70"), CHAT)
    with pytest.raises(SimexploreError, match=r"llama-3-70b on orin: expected at most 68.7 GB .* found 141.1 GB"):
        request_cost(replace(SMALL, model="llama-3-70b"), CHAT)
    with pytest.raises(SimexploreError, match=r"expected 1 in all, found 0.5"):
        shares_of([replace(CHAT, share=0.5)])


def test_larger_models_are_right_more_often_all_else_equal() -> None:
    alike = Skills(talent=0.0, difficulty=0.0)
    known = accuracies(np.array([7e9, 7e9 * np.e]), 2, alike, 0)
    assert known == pytest.approx(np.array([[0.625, 0.25 + 0.75 / (1 + np.exp(-0.5))]] * 2))
    drawn = accuracies(np.full(400, 7e9), 1, Skills(difficulty=0.0), 0)
    assert np.std(np.log((drawn - 0.25) / (1.0 - drawn))) == pytest.approx(0.7, rel=0.1)


def test_a_trade_off_tries_every_way_within_every_budget() -> None:
    pytest.importorskip("scipy", reason="pip install 'simexplore[edge]'")
    fleet = random_problem(9, 4)
    most_j = float(fleet.energies_j(np.ones((1, 9), dtype=bool))[0])
    reached = trade_off(fleet, [0.3 * most_j, most_j], [0.8, 1.0])
    assert len(reached) == 4 * len(WAYS)
    ours = {(one.energy_budget_j, one.delay_budget): one for one in reached if one.way == "polyblock"}
    assert all(one.within for one in reached if one.way != "all")
    assert all(one.cross_entropy >= ours[one.energy_budget_j, one.delay_budget].cross_entropy - 1e-9
               for one in reached if one.within)  # fmt: skip
    whole = ours[most_j, 1.0]
    assert whole.experts == 9
    assert whole.energy_j <= most_j
    assert {one.within for one in reached if one.way == "all"} == {True, False}
