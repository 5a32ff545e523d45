"""What every sampler promises."""

from __future__ import annotations

import numpy as np
import pytest
from sweeps import GEMM, need, write

from simexplore.errors import SimexploreError
from simexplore.sim.explore import sampler as samplers
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.pareto import hypervolume, losses, reference_point
from simexplore.sim.explore.sampler import KINDS, SEARCHES, Results, Sampler, check_budget, make_sampler
from simexplore.sim.explore.spec.file import Options, read_spec
from simexplore.sim.explore.study import Sweep
from simexplore.sim.explore.table import FloatArray

LEVELS = [5, 4, 6]
BUDGET = 60


def goal(u: FloatArray) -> FloatArray:
    """Two objectives that pull apart along the first axis; the others have a best value each."""
    rest = np.sum((u[:, 1:] - 0.4) ** 2, axis=1)
    return np.stack([u[:, 0] + rest, 1.0 - u[:, 0] + rest], axis=1)


def make(kind: str, seed: int = 1, points: int = BUDGET, levels: list[int | None] | None = None) -> Sampler:
    need(kind)
    return make_sampler(kind, levels or list(LEVELS), points, seed, objectives=2)


def drain(sampler: Sampler) -> FloatArray:
    batches = []
    while (u := sampler.ask()) is not None:
        batches.append(u)
        sampler.tell(Results(goal(u), np.ones(len(u), dtype=np.bool_)))
    return np.concatenate(batches)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    need(request.param)
    return str(request.param)


def test_points_lie_in_the_unit_cube_and_are_as_many_as_asked_for(kind: str) -> None:
    u = drain(make(kind))
    assert u.shape[1] == 3
    assert np.all((u >= 0.0) & (u < 1.0))
    expected = 120 if kind == "grid" else BUDGET
    assert len(u) == expected or (kind in SEARCHES and BUDGET / 2 < len(u) <= BUDGET)


def test_the_same_seed_gives_the_same_points(kind: str) -> None:
    np.testing.assert_array_equal(drain(make(kind)), drain(make(kind)))


def test_another_seed_gives_others(kind: str) -> None:
    same = np.array_equal(drain(make(kind, seed=1)), drain(make(kind, seed=2)))
    assert same == (kind == "grid")


def test_a_search_that_was_stopped_is_taken_up(kind: str) -> None:
    whole, first = make(kind), make(kind)
    stopped = [u for _ in range(2) if (u := first.ask()) is not None and first.tell(_told(u)) is None]
    again = make(kind)
    for u in stopped:
        repeated = again.ask()
        assert repeated is not None
        np.testing.assert_array_equal(repeated, u)
        again.tell(_told(u))
    rest = [*stopped]
    while (u := again.ask()) is not None:
        rest.append(u)
        again.tell(_told(u))
    np.testing.assert_array_equal(np.concatenate(rest), drain(whole))


def _told(u: FloatArray) -> Results:
    return Results(goal(u), np.ones(len(u), dtype=np.bool_))


def test_points_that_fail_do_no_harm(kind: str) -> None:
    sampler = make(kind)
    while (u := sampler.ask()) is not None:
        values = np.where(u[:, :1] < 0.5, np.nan, goal(u))
        sampler.tell(Results(values, u[:, 1] < 0.7))
    assert sampler.ask() is None


def test_ranges_without_steps(kind: str) -> None:
    if kind == "grid":
        with pytest.raises(SimexploreError, match="a range without steps"):
            make(kind, levels=[5, None])
        return
    u = drain(make(kind, levels=[None, None, None]))
    assert len(np.unique(u[:, 0])) > BUDGET / 8


def test_a_grid_is_all_combinations_the_last_axis_fastest() -> None:
    u = drain(make("grid"))
    assert len(np.unique(u, axis=0)) == 120
    np.testing.assert_allclose(u[:7, 2], [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12, 1 / 12])


def test_a_large_grid_comes_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "BATCH", 32)
    sampler = make("grid")
    sizes = []
    while (u := sampler.ask()) is not None:
        sizes.append(len(u))
    assert sizes == [32, 32, 32, 24]


def test_sobol_fills_space_more_evenly_than_chance() -> None:
    def worst(kind: str) -> float:
        u = np.sort(drain(make(kind, points=256, levels=[None] * 3))[:, 0])
        return float(np.max(np.diff(u)))

    assert worst("sobol") < 1.5 / 128 < worst("random")


def test_saltelli_has_its_design() -> None:
    u = drain(make("saltelli", levels=[None] * 3)).reshape(-1, 5, 3)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        np.testing.assert_array_equal(u[:, axis + 1, axis], u[:, 4, axis])
        np.testing.assert_array_equal(u[:, axis + 1, others], u[:, 0, others])
    assert check_budget("saltelli", 63, 3) == 60
    with pytest.raises(SimexploreError, match="at least 10 points"):
        check_budget("saltelli", 9, 3)


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_gives_no_point_twice_and_finds_what_is_good(kind: str) -> None:
    levels: list[int | None] = [20, 20, 20]
    u = drain(make(kind, points=200, levels=levels))
    assert len(np.unique(u, axis=0)) == len(u)
    last, chance = goal(u[-50:]).sum(axis=1), goal(drain(make("random", points=200, levels=levels))).sum(axis=1)
    assert last.mean() < 1.0 + 0.6 * (chance.mean() - 1.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nsga2_finds_the_front_of_a_sweep_with_15_percent_of_its_points(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    need("nsga2")
    path = write(tmp_path_factory.mktemp("nsga2"), GEMM.format(steps=10))
    spec = read_spec(path)
    sampler = make_sampler("grid", [len(axis.levels or ()) for axis in spec.problem.free], 0, 0)
    u = sampler.ask()
    assert u is not None
    names = [column.name for column in spec.problem.columns]
    values = Evaluator(spec.problem).evaluate(0, u).values
    grid = values[[names.index("time_s"), names.index("energy_j")]].T
    corner = list(reference_point(grid))
    budget = int(0.15 * spec.points)
    found = Sweep(read_spec(path, Options(sampler="nsga2", budget=budget, seed=seed))).run()
    assert len(found) <= budget
    searched = losses(found, {"time_s": "min", "energy_j": "min"})
    assert hypervolume(searched, corner) >= 0.95 * hypervolume(grid, corner)
