"""How many keys a search visits for a recall, and how long a visit takes, on the machine at hand.

Times are those of one thread's CPU, so that other work on the machine counts little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.kernels.search.graph import Ids, Shape, Vectors, exact, faiss, projected

TOP = 100
"""Keys that attention takes of a search, as RetrievalAttention does."""
RECALL = 0.95
"""Share of them that a search must find."""
BEAMS = (100, 120, 150, 200, 280, 400, 560, 800, 1120, 1600, 2240, 3200)
"""Breadths of search that are tried, until one finds enough."""
PROBES = (0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Shares of inverted lists that are tried."""


INDICES = ("projected", "hnsw", "ivf")
"""Ways to index keys."""


class Step(NamedTuple):
    """One breadth of search."""

    recall: float
    visited: float
    """Keys whose product is taken, of a query on average."""
    visit_s: float
    """CPU time of a visit [s]."""


@dataclass(frozen=True)
class Measured:
    """A search that finds the share `RECALL` of the best keys."""

    head: str
    index: str
    """How keys are indexed: `projected`, `hnsw` or `ivf`."""
    keys: int
    visited: float
    """Keys whose product is taken, of a query on average."""
    visit_s: float
    """CPU time of a visit [s]."""

    @property
    def share(self) -> float:
        """Share of all keys that are visited."""
        return self.visited / self.keys


def measure(
    head: str, keys: Vectors, training: Vectors, queries: Vectors, shape: Shape, indices: Sequence[str] = INDICES
) -> list[Measured]:
    """Indices over one head's keys; one that never finds enough is left out.

    Args:
        head: its name.
        keys: (keys, head_dim).
        training: queries that the graph is projected from.
        queries: others, which are searched for.
        shape: of the graph.
        indices: which of `INDICES`.
    """
    faiss().omp_set_num_threads(1)
    truth = exact(keys, queries, TOP)
    makers: dict[str, Callable[[], list[Step]]] = {
        "projected": lambda: _graph_steps(projected(keys, training, shape), queries, truth),
        "hnsw": lambda: _graph_steps(_plain(keys, shape), queries, truth),
        "ivf": lambda: _list_steps(keys, queries, truth),
    }
    enough = {index: at_recall(makers[index]()) for index in indices}
    return [
        Measured(head, index, len(keys), step.visited, step.visit_s)
        for index, step in enough.items()
        if step is not None
    ]


def _plain(keys: Vectors, shape: Shape) -> Any:
    """A graph of keys that are near each other, as FAISS builds it."""
    library = faiss()
    index = library.IndexHNSWFlat(keys.shape[1], shape.degree // 2, library.METRIC_INNER_PRODUCT)
    index.add(keys)
    return index


def at_recall(steps: Iterable[Step]) -> Step | None:
    """What a recall of `RECALL` takes, straight between the steps on either side; None: no step finds enough."""
    tried = list(steps)
    if not tried:
        raise SimexploreError("search: expected a step at least, found none")
    if tried[0].recall >= RECALL:
        return tried[0]
    for fewer, more in pairwise(tried):
        if more.recall >= RECALL:
            part = (RECALL - fewer.recall) / (more.recall - fewer.recall)
            return Step(*(low + part * (high - low) for low, high in zip(fewer, more, strict=True)))
    return None


def _graph_steps(index: Any, queries: Vectors, truth: Ids) -> list[Step]:
    def widen(beam: float) -> None:
        index.hnsw.efSearch = int(beam)

    statistics = faiss().cvar.hnsw_stats
    return _steps(index, queries, truth, BEAMS, widen, statistics, lambda: float(statistics.ndis))


def _list_steps(keys: Vectors, queries: Vectors, truth: Ids) -> list[Step]:
    """Inverted lists, four times the root of the keys' number, by products; centres count as visited."""
    library = faiss()
    lists = int(4 * np.sqrt(len(keys)))
    index = library.IndexIVFFlat(library.IndexFlatIP(keys.shape[1]), keys.shape[1], lists, library.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(keys)
    index.add(keys)

    def widen(share: float) -> None:
        index.nprobe = max(1, round(share * lists))

    statistics = library.cvar.indexIVF_stats
    return _steps(
        index, queries, truth, PROBES, widen, statistics, lambda: float(statistics.ndis) + lists * len(queries)
    )


def _steps(
    index: Any, queries: Vectors, truth: Ids, breadths: Iterable[float], widen: Callable[[float], None],
    statistics: Any, visits: Callable[[], float],
) -> list[Step]:  # fmt: skip
    """Searches of rising breadth, until one finds enough."""
    steps: list[Step] = []
    for breadth in breadths:
        widen(breadth)
        statistics.reset()
        begun_s = time.process_time()
        found = index.search(queries, TOP)[1]
        taken_s = time.process_time() - begun_s
        visited = visits()
        steps.append(Step(recall_of(found, truth), visited / len(queries), taken_s / visited))
        if steps[-1].recall >= RECALL:
            break
    return steps


def recall_of(found: Ids, truth: Ids) -> float:
    """Share of the true keys that were found, the mean over queries."""
    hits = [len({*mine.tolist()} & {*best.tolist()}) for mine, best in zip(found, truth, strict=True)]
    return sum(hits) / truth.size
