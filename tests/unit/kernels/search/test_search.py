"""Search among keys: the graph's edges by hand, recall, what a recall takes; walks of FAISS where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simexplore.archs.schema.system import system_of
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.kernels.search import graph
from simexplore.kernels.search.graph import NOBODY, Shape, nearest, pruned
from simexplore.kernels.search.measure import Step, at_recall, measure, recall_of
from simexplore.kernels.search.measured import measured, visited_keys

LINE = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]], dtype=np.float32)
"""Keys 1 and 2 lie behind each other as seen from 0; 3 is elsewhere."""


def test_nearest_keeps_the_largest_products_of_each_key() -> None:
    pairs = np.array([0 * 4 + 1, 0 * 4 + 2, 0 * 4 + 3, 3 * 4 + 0, 3 * 4 + 2])
    assert nearest(LINE, pairs, 2).tolist() == [[1, 2], [NOBODY] * 2, [NOBODY] * 2, [2, 0]]


def test_pruning_leaves_out_whom_a_nearer_neighbour_stands_for() -> None:
    keys = np.array([[1.0, 0.0], [2.0, 1.0], [1.5, 1.5], [0.5, -3.0]], dtype=np.float32)
    near = np.array([[1, 2, 3]] + [[NOBODY] * 3] * 3)
    # products with 0: 2, 1.5, 0.5; of 1 with 2: 4.5 > 1.5, so 2 is behind 1; of 1 with 3: -2
    assert pruned(keys, near, 2).tolist()[0] == [1, 3]
    assert pruned(keys, near, 3).tolist()[0] == [1, 3, 2]  # there is room for it after all
    assert pruned(keys, near, 3).tolist()[1] == [NOBODY] * 3


def test_recall_counts_what_was_found() -> None:
    assert recall_of(np.array([[1, 2], [3, 9]]), np.array([[2, 1], [3, 4]])) == 0.75


def test_what_a_recall_takes_lies_between_steps() -> None:
    steps = [Step(0.90, 100.0, 1e-7), Step(0.98, 300.0, 3e-7), Step(0.99, 900.0, 3e-7)]
    told = at_recall(steps)
    assert told is not None
    assert told == pytest.approx((0.95, 225.0, 2.25e-7))
    assert at_recall([Step(0.97, 50.0, 1e-7), *steps]) == (0.97, 50.0, 1e-7)
    assert at_recall(steps[:1]) is None


def test_without_faiss_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError

    monkeypatch.setattr(graph, "import_module", missing)
    with pytest.raises(SimexploreError, match=r"pip install 'simexplore\[search\]'"):
        graph.faiss()


def made_up(count: int, queries: int) -> tuple[Any, Any]:
    """Keys in eight dimensions, and queries that are distributed otherwise: they are long in other directions."""
    rng = np.random.default_rng(0)
    wide = np.linspace(0.8, 1.2, 8)
    keys = rng.normal(size=(count, 8)) * wide
    return keys.astype(np.float32), (rng.normal(size=(queries, 8)) * wide[::-1] + 0.5).astype(np.float32)


def test_a_projected_graph_finds_what_products_with_all_keys_find() -> None:
    pytest.importorskip("faiss")
    keys, queries = made_up(3000, 3050)
    rows = {row.index: row for row in measure("made up", keys, queries[:3000], queries[3000:], Shape())}
    assert rows.keys() >= {"projected", "ivf"}
    assert all(100 <= row.visited <= len(keys) + 4 * len(keys) ** 0.5 + 1 for row in rows.values())
    assert rows["projected"].visited < 0.5 * len(keys)
    assert rows["projected"].share == rows["projected"].visited / 3000
    assert all(1e-10 < row.visit_s < 1e-4 for row in rows.values())


def test_an_index_of_edges_walks_them_and_no_others() -> None:
    library = pytest.importorskip("faiss")
    library.omp_set_num_threads(1)
    keys = np.eye(4, dtype=np.float32) + 0.1
    chain = np.array([[1, NOBODY], [2, NOBODY], [NOBODY] * 2, [NOBODY] * 2])
    index = graph.as_index(keys, chain, 0)
    index.hnsw.efSearch = 8
    library.cvar.hnsw_stats.reset()
    found = index.search(keys[2:3], 4)[1][0].tolist()
    assert found[0] == 2
    assert set(found) == {0, 1, 2, NOBODY}  # nothing leads to 3


def test_the_package_has_what_was_measured() -> None:
    rows = measured()["rows"]
    sizes = sorted({row["keys"] for row in rows if row["index"] == "projected"})
    assert sizes[0] <= 4096
    assert sizes[-1] == 131072
    for size in sizes:
        mine = [row["visited"] for row in rows if row["index"] == "projected" and row["keys"] == size]
        assert visited_keys(size) == pytest.approx(np.mean(mine))
    shares = [visited_keys(size) / size for size in sizes]
    assert shares == sorted(shares, reverse=True)
    assert visited_keys(2 * sizes[-1]) == pytest.approx(2 * sizes[-1] * shares[-1])
    between = visited_keys(round((sizes[0] * sizes[1]) ** 0.5)) / (sizes[0] * sizes[1]) ** 0.5
    assert between == pytest.approx((shares[0] * shares[1]) ** 0.5, rel=1e-3)


def test_the_papers_cpu_has_what_a_visit_was_measured_to_take() -> None:
    cpu, visit = system_of(load_machine("systems/rtx-4090-i9")).place("cpu").arch, measured()["about"]["visit"]
    assert cpu.search.work_cycles == pytest.approx(visit["work_clk"], rel=1e-3)
    assert cpu.search.misses == pytest.approx(visit["misses"], rel=5e-3)


def test_a_visit_follows_from_the_rows_and_the_machine_they_were_measured_on() -> None:
    about, rows = measured()["about"], measured()["rows"]
    own = [row for row in rows if row["index"] == "projected"]
    cached, missed = (np.mean([row["visit_s"] for row in own if row["keys"] == size]) for size in (4096, 131072))
    assert about["visit"]["work_clk"] == pytest.approx(cached * about["machine"]["clock_hz"])
    assert about["visit"]["misses"] == pytest.approx((missed - cached) / about["machine"]["latency_s"])
