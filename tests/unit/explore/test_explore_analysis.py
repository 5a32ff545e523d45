"""Sensitivity and bottlenecks, on functions whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sweeps import need

from simexplore.errors import SimexploreError
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.analysis import bottleneck_changes, bottlenecks, sensitivity
from simexplore.sim.explore.sampler import make_sampler
from simexplore.sim.explore.storage.header import Header
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.table import Column, FloatArray

AXES = ("a", "b", "c")


def ishigami(x: FloatArray) -> FloatArray:
    """T. Ishigami and T. Homma 1990; x in [-pi, pi], with the usual a = 7, b = 0.1."""
    value: FloatArray = np.sin(x[:, 0]) + 7.0 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    return value


FIRST = (0.3139, 0.4424, 0.0)
TOTAL = (0.5576, 0.4424, 0.2437)


def keep(
    folder: Path, sampler: str, x: FloatArray, values: FloatArray, bound: FloatArray | None = None, planned: int = 0
) -> Store:
    columns = (
        *(Column(name, "axis") for name in AXES[: x.shape[1]]),
        Column("time_s", "objective", "s", direction="min"),
        Column("bound", "bound", "text", "text", BOUNDS),
        Column("feasible", "feasible", "1", "bool"),
    )
    header = Header({}, "", columns, planned or len(x), {"sampler": sampler})
    store = Store.create(folder, header)
    codes = np.zeros(len(x)) if bound is None else bound
    store.add(Chunk(0, np.vstack([x.T, values, codes, np.ones(len(x))]), {}))
    return store


def points(kind: str, count: int, levels: list[int | None] | None = None) -> FloatArray:
    need(kind)
    u = make_sampler(kind, levels or [None] * 3, count, seed=1).ask()
    assert u is not None
    return np.pi * (2.0 * u - 1.0)


def test_saltelli_gives_the_sobol_indices(tmp_path: Path) -> None:
    x = points("saltelli", 5 * 2048)
    with keep(tmp_path, "saltelli", x, ishigami(x)) as store:
        found = sensitivity(store)
    assert set(found["method"]) == {"sobol"}
    np.testing.assert_allclose(found["first"], FIRST, atol=0.02)
    np.testing.assert_allclose(found["total"], TOTAL, atol=0.02)


def test_a_grid_has_its_exact_decomposition(tmp_path: Path) -> None:
    x = points("grid", 0, [24, 24, 24])
    with keep(tmp_path, "grid", x, ishigami(x)) as store:
        found = sensitivity(store)
    assert set(found["method"]) == {"anova"}
    np.testing.assert_allclose(found["first"], FIRST, atol=0.02)
    np.testing.assert_allclose(found["total"], TOTAL, atol=0.02)


@pytest.mark.parametrize("kind", ["sobol", "random"])
def test_any_even_sample_gives_first_order_indices(tmp_path: Path, kind: str) -> None:
    x = points(kind, 8192)
    with keep(tmp_path, kind, x, ishigami(x)) as store:
        found = sensitivity(store)
    assert set(found["method"]) == {"binned"}
    np.testing.assert_allclose(found["first"], FIRST, atol=0.05)
    assert found["total"].isna().all()


def test_a_search_is_looked_at_from_its_best_point(tmp_path: Path) -> None:
    x = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    with keep(tmp_path, "nsga2", x, np.array([1.0, 3.0, 2.0, 11.0])) as store:
        found = sensitivity(store)
    assert set(found["method"]) == {"one-at-a-time"}
    np.testing.assert_allclose(found["first"], [0.2, 0.1, 0.0])


@pytest.mark.parametrize("kind", ["grid", "saltelli", "random"])
def test_a_constant_depends_on_nothing(tmp_path: Path, kind: str) -> None:
    x = points(kind, 1000, [10, 10, 10] if kind == "grid" else None)
    with keep(tmp_path, kind, x, np.ones(len(x))) as store:
        assert (sensitivity(store)["first"] == 0.0).all()


def test_an_unfinished_grid_is_binned(tmp_path: Path) -> None:
    x = points("grid", 0, [10, 10, 10])[:500]
    with keep(tmp_path, "grid", x, ishigami(x), planned=1000) as store:
        assert set(sensitivity(store)["method"]) == {"binned"}


def _bound(rule: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
    return np.where(rule(x), BOUNDS.index("dram"), BOUNDS.index("tensor")).astype(np.float64)


def test_where_the_bottleneck_changes_hands(tmp_path: Path) -> None:
    x = np.stack(np.meshgrid(np.arange(6.0), np.arange(4.0), indexing="ij"), axis=-1).reshape(-1, 2)
    with keep(tmp_path, "grid", x, x[:, 0], _bound(lambda x: x[:, 0] < 3.0, x)) as store:
        shares = bottlenecks(store)
        changes = bottleneck_changes(store)
    first = shares[shares["axis"] == "a"]
    assert list(first["bound"].astype(str)) == ["dram"] * 3 + ["tensor"] * 3
    assert (first["share"] == 1.0).all()
    assert (shares[shares["axis"] == "b"]["share"] == 0.5).all()
    (only,) = changes.to_dict(orient="records")
    assert only == {
        "axis": "a", "before": "dram", "after": "tensor", "changes": 4, "low": 2.5, "median": 2.5, "high": 2.5
    }  # fmt: skip


def test_ranges_are_cut_into_bins(tmp_path: Path) -> None:
    x = points("sobol", 1024)
    with keep(tmp_path, "sobol", x, x[:, 0], _bound(lambda x: x[:, 0] < 0.0, x)) as store:
        shares = bottlenecks(store)
        with pytest.raises(SimexploreError, match="expected a grid"):
            bottleneck_changes(store)
    first = shares[shares["axis"] == "a"]
    assert first["value"].nunique() == 16
    assert first["points"].sum() == 1024
    assert set(first[first["value"] > 0.5]["bound"].astype(str)) == {"tensor"}


def test_nothing_yet(tmp_path: Path) -> None:
    with keep(tmp_path, "grid", np.zeros((0, 3)), np.zeros(0), planned=5) as store:
        assert sensitivity(store).empty
        assert bottlenecks(store).empty
