"""A graph over keys that is projected from queries, as RetrievalAttention searches one.

Queries of attention are distributed otherwise than its keys, so a graph of keys that are near each other leads a query
astray. A projected graph joins keys that the same query asks for (Chen et al. 2024, RoarGraph, PVLDB 17(11): bipartite
graph, neighbourhood-aware projection, connectivity enhancement). FAISS finds the exact neighbours and searches the
graph; what is here makes its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.errors import SimexploreError

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
NOBODY = -1
"""Fills up a list of neighbours that is shorter than others."""
BLOCK = 256
"""Keys whose neighbours are pruned together."""
EDGES = 1 << 19
"""Edges whose products are taken together."""


@dataclass(frozen=True)
class Shape:
    """How a graph is built."""

    closest: int = 32
    """Keys that each training query joins."""
    degree: int = 32
    """Neighbours of a key at most."""
    beam: int = 64
    """Breadth of the search that finds more neighbours for each key."""
    candidates: int = 64
    """Edges of a key that are looked at when its neighbours are chosen."""


def faiss() -> Any:
    """The library.

    Raises:
        SimexploreError: it is not installed.
    """
    try:
        return import_module("faiss")
    except ImportError:
        raise SimexploreError("measuring search needs FAISS: pip install 'simexplore[search]'") from None


def exact(keys: Vectors, queries: Vectors, count: int) -> Ids:
    """The keys of the largest products with each query, the largest first, (queries, count)."""
    index = faiss().IndexFlatIP(keys.shape[1])
    index.add(keys)
    found: Ids = index.search(queries, count)[1]
    return found


def projected(keys: Vectors, queries: Vectors, shape: Shape) -> Any:
    """The index of FAISS over a graph of keys that is projected from training queries."""
    asked = exact(keys, queries, shape.closest)
    entry = int(np.bincount(asked.ravel(), minlength=len(keys)).argmax())
    pivots = np.repeat(asked[:, 0], shape.closest - 1)
    pairs = _both_ways(pivots, asked[:, 1:].ravel(), len(keys))
    first = as_index(keys, pruned(keys, nearest(keys, pairs, shape.candidates), shape.degree), entry)
    first.hnsw.efSearch = shape.beam
    reached = first.search(keys, shape.closest)[1]
    more = _both_ways(np.repeat(np.arange(len(keys)), shape.closest), reached.ravel(), len(keys))
    joined = np.unique(np.concatenate([pairs, more]))
    return as_index(keys, pruned(keys, nearest(keys, joined, shape.candidates), shape.degree), entry)


def _both_ways(sources: Ids, targets: Ids, keys: int) -> Ids:
    """Edges each way as numbers source x keys + target, sorted, each once."""
    kept = (sources != targets) & (targets != NOBODY)
    here, there = sources[kept], targets[kept]
    return np.unique(np.concatenate([here * keys + there, there * keys + here]))


def nearest(keys: Vectors, pairs: Ids, most: int) -> Ids:
    """Of each key's edges those with the largest products, in falling order, (keys, most)."""
    sources, targets = pairs // len(keys), pairs % len(keys)
    products = np.empty(len(pairs), dtype=np.float32)
    for begin in range(0, len(pairs), EDGES):
        part = slice(begin, begin + EDGES)
        products[part] = np.einsum("ed,ed->e", keys[sources[part]], keys[targets[part]])
    order = np.lexsort((-products, sources))
    sources, targets = sources[order], targets[order]
    rank = np.arange(len(sources)) - np.searchsorted(sources, sources)
    near = np.full((len(keys), most), NOBODY, dtype=np.int64)
    kept = rank < most
    near[sources[kept], rank[kept]] = targets[kept]
    return near


def pruned(keys: Vectors, near: Ids, degree: int) -> Ids:
    """Neighbours of each key that no nearer neighbour stands for, then others while there is room, (keys, degree).

    A candidate is left out while a chosen neighbour has a larger product with it than the key itself.
    """
    blocks = [_pruned_block(keys, begin, near[begin : begin + BLOCK], degree) for begin in range(0, len(near), BLOCK)]
    return np.concatenate(blocks)


def _pruned_block(keys: Vectors, begin: int, near: Ids, degree: int) -> Ids:
    there = near != NOBODY
    vectors = keys[np.where(there, near, 0)]
    own = np.einsum("kcd,kd->kc", vectors, keys[begin : begin + len(near)])
    between = vectors @ vectors.transpose(0, 2, 1)
    free, rank = there.copy(), np.where(there, 1, 2) * near.shape[1]
    for candidate in range(near.shape[1]):
        chosen = free[:, candidate]
        rank[chosen, candidate] = 0
        free &= ~(chosen[:, None] & (between[:, candidate] > own))
    order = np.argsort(rank + np.arange(near.shape[1]) / near.shape[1], axis=1)[:, :degree]
    kept: Ids = np.take_along_axis(near, order, axis=1)
    return kept


def as_index(keys: Vectors, neighbours: Ids, entry: int) -> Any:
    """A graph as an index of FAISS: one level of its HNSW, searched by product from `entry`."""
    library = faiss()
    count, degree = neighbours.shape
    index = library.IndexHNSWFlat(keys.shape[1], degree // 2, library.METRIC_INNER_PRODUCT)
    index.storage.add(keys)
    index.ntotal = count
    graph = index.hnsw
    library.copy_array_to_vector(np.ones(count, dtype=np.int32), graph.levels)
    library.copy_array_to_vector((np.arange(count + 1) * degree).astype(np.uint64), graph.offsets)
    library.copy_array_to_vector(neighbours.ravel().astype(np.int32), graph.neighbors)
    graph.entry_point, graph.max_level = entry, 0
    return index
