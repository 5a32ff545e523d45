"""The selection: equal to trying all subsets, proven where that cannot be done, bounds that hold; costs by hand."""

from __future__ import annotations

from functools import cache
from math import log

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.sim.edge import relaxation
from simexplore.sim.edge.baselines import every, exhaustive, fill, greedy, random_fill, single_best
from simexplore.sim.edge.gating import Gate
from simexplore.sim.edge.polyblock import select
from simexplore.sim.edge.problem import Costs, Problem
from simexplore.sim.edge.relaxation import Box, ByMonotony, ByPlanes
from simexplore.sim.edge.synthetic import random_problem

pytest.importorskip("scipy", reason="pip install 'simexplore[edge]'")
FLEETS = [random_problem(8 + seed % 5, seed) for seed in range(200)]


@cache
def best_values() -> list[float]:
    return [float(fleet.value(exhaustive(fleet)[None])[0]) for fleet in FLEETS]


def test_the_selection_is_the_best_of_all_subsets() -> None:
    for fleet, best in list(zip(FLEETS, best_values(), strict=True))[::3]:  # the study has all of them
        selected = select(fleet)
        assert selected.value == pytest.approx(best, abs=1e-12)
        assert selected.gap == pytest.approx(0.0, abs=1e-9)
        assert fleet.feasible(selected.chosen[None])[0]
        assert float(fleet.value(selected.chosen[None])[0]) == selected.value


def test_so_it_is_by_monotony_alone() -> None:
    for fleet, best in list(zip(FLEETS, best_values(), strict=True))[:60]:
        assert select(fleet, bounds=ByMonotony(fleet)).value == pytest.approx(best, abs=1e-12)


def test_greedy_selection_is_often_wrong_and_never_better() -> None:
    told = [float(fleet.value(greedy(fleet)[None])[0]) for fleet in FLEETS]
    assert all(mine <= best + 1e-12 for mine, best in zip(told, best_values(), strict=True))
    wrong = sum(mine < best - 1e-9 for mine, best in zip(told, best_values(), strict=True))
    assert wrong >= 100


@pytest.mark.parametrize("seed", [1000, 1007])
def test_64_experts_within_a_proven_percent(seed: int) -> None:
    fleet = random_problem(64, seed)
    selected = select(fleet, gap=0.01, most_boxes=400)
    assert 0.0 < selected.gap <= 0.01
    assert selected.cross_entropy == pytest.approx(log(4) - selected.value)
    assert selected.gap == pytest.approx((selected.bound - selected.value) / (log(4) - selected.bound))
    assert fleet.feasible(selected.chosen[None])[0]
    assert selected.value > float(fleet.value(greedy(fleet)[None])[0])


def test_a_search_that_is_cut_short_says_what_it_has_proven() -> None:
    fleet, best = FLEETS[3], best_values()[3]
    for boxes in (1, 2):
        cut = select(fleet, most_boxes=boxes)
        assert cut.value <= best + 1e-12 <= cut.bound + 2e-12


@pytest.mark.parametrize("bounds", [ByMonotony, ByPlanes])
def test_no_subset_of_a_box_tells_more_than_its_bound(bounds: type[ByMonotony | ByPlanes]) -> None:
    for seed in range(25):
        fleet, rng = random_problem(9, seed), np.random.default_rng(seed)
        low = np.zeros(9, dtype=bool)
        low[rng.integers(9)] = True
        high = low | (rng.random(9) < 0.8)
        subsets = (np.arange(2**9)[:, None] >> np.arange(9) & 1).astype(bool)
        inside = np.all(low <= subsets, axis=1) & np.all(subsets <= high, axis=1) & fleet.feasible(subsets)
        best = fleet.value(subsets[inside]).max(initial=-np.inf)
        assert bounds(fleet).of(Box(low, high)).told >= best - 1e-9


def test_planes_bound_closer_than_monotony() -> None:
    box = Box(np.zeros(12, dtype=bool), np.ones(12, dtype=bool))
    fleets = [fleet for fleet in FLEETS if fleet.experts == 12]
    told = [[bounds(fleet).of(box).told for bounds in (ByPlanes, ByMonotony)] for fleet in fleets]
    assert all(plane <= monotone + 1e-12 for plane, monotone in told)
    assert sum(plane < monotone - 0.01 for plane, monotone in told) > len(told) / 2


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError

    monkeypatch.setattr(relaxation, "import_module", missing)
    with pytest.raises(SimexploreError, match=r"pip install 'simexplore\[edge\]'"):
        select(FLEETS[0])


def by_hand(energy_j: float = 100.0, delay_s: float = 100.0) -> Problem:
    """Three experts, two categories of which the first has a quarter of the requests, two experts asked."""
    gate = Gate(np.array([[0.9, 0.6, 0.5], [0.4, 0.6, 0.8]]), 4, 2)
    costs = Costs(
        standing_j=np.array([1.0, 2.0, 4.0]),
        request_j=np.array([[10.0, 20.0, 40.0], [8.0, 4.0, 12.0]]),
        service_s=np.array([[1.0, 5.0, 3.0], [2.0, 2.0, 6.0]]),
        transfer_s=np.array([[0.1, 0.2, 0.4], [0.3, 0.1, 0.2]]),
    )
    return Problem(gate, np.array([0.25, 0.75]), costs, energy_j, np.full(2, delay_s))


def test_costs_by_hand() -> None:
    fleet = by_hand()
    subsets = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=bool)
    # of three, the two dearest: 20 + 40 of the first category and 8 + 12 of the second
    assert fleet.energies_j(subsets) == pytest.approx([0.0, 1 + 2.5 + 6, 3 + 7.5 + 9, 7 + 15 + 15])
    assert fleet.delays_s(subsets) == pytest.approx(np.array([[0, 0], [1.1, 2.3], [5.3, 2.4], [5.6, 6.5]]))
    assert fleet.alone_j == pytest.approx([9.5, 2 + 5 + 3, 4 + 10 + 9])
    # asked are 0 and 1 of the first category, 2 and 1 of the second
    energy_j, delay_s = fleet.expected(subsets[3])
    assert energy_j == pytest.approx(7 + 0.25 * 30 + 0.75 * 16)
    assert delay_s == pytest.approx([5.3, 6.3])


def test_budgets_hold_to_the_last() -> None:
    pair = np.array([[1, 1, 0]], dtype=bool)
    assert by_hand(19.5, 5.3).feasible(pair)[0]
    assert not by_hand(19.49, 5.3).feasible(pair)[0]
    assert not by_hand(19.5, 5.29).feasible(pair)[0]


def test_simple_ways_by_hand() -> None:
    assert greedy(by_hand()).tolist() == [True, True, True]
    assert every(by_hand(1.0)).all()
    assert single_best(by_hand()).tolist() == [False, False, True]  # right 80 % of the time where most requests are
    assert single_best(by_hand(12.0)).tolist() == [True, False, False]  # 0.278 nat; the second tells 0.274
    assert single_best(by_hand(9.4)).tolist() == [False, False, False]
    assert not single_best(by_hand(5.0)).any()
    assert not greedy(by_hand(5.0)).any()
    assert not select(by_hand(5.0)).chosen.any()
    orders = {tuple(random_fill(by_hand(29.0), seed).tolist()) for seed in range(20)}
    assert orders == {(True, True, False), (False, False, True)}  # the third leaves no room for others
    none = np.zeros(3, dtype=bool)
    assert fill(by_hand(23.0), none, ~none, np.array([0.0, 0.0, 1.0])).tolist() == [False, False, True]


def test_all_subsets_of_many_experts_are_not_tried() -> None:
    with pytest.raises(SimexploreError, match="at most 20 experts, found 21"):
        exhaustive(random_problem(21, 0))
