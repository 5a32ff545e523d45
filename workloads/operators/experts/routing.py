"""How many tokens each expert gets: balanced loads, and loads that follow a power law.

The loads are those of aiconfigurator's collectors (github.com/ai-dynamo/aiconfigurator, collector/helper.py,
`balanced_logits` and `_generate_power_law_distribution`), whose tables distinguish them. A power law is drawn; what is
told of it is the mean over `DRAWS` draws of one stream of random numbers, so that shapes differ by their sizes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DRAWS = 8
"""Routings that are drawn of a power law."""
STREAM = 0
"""Seed of their random numbers."""
HUNDRED = 100.0
"""`skew` is in hundredths."""
MOST_LOADED = 0.8
"""Share of the tokens that the law gives one expert at most, where there is more than one pair an expert."""
FEW = (0.01, 2.0)
"""Ends of the law where there is not."""
REMEMBERED = 1 << 16
"""Shapes whose loads are kept, a few numbers each."""
MOST_COUNTED = 1 << 24
"""Tokens that are counted one by one; loads of more are in proportion."""
MOST_SKEW = 1000
"""Exponent of ten: nearly all draws are then at the lower end, and powers stay in the range of numbers."""
MOST_EXPERTS = 4096
"""Experts of a layer, at most: four times those of any that there is."""


class Load(NamedTuple):
    """What one GPU's experts get; numbers, or arrays of shape (rows,)."""

    pairs: Any
    """Pairs of a token and one of its experts here."""
    active: Any
    """Experts that get a token at all."""
    tiles: Any
    """Tiles that cover each expert's tokens, in all, for each of the heights asked for; (rows, heights) of columns."""


def expert_loads(tokens: int, topk: int, experts: int, ranks: int, skew: int) -> Integers:
    """Tokens of each expert of the busiest GPU, shape (draws, experts / ranks).

    Args:
        tokens: of all GPUs that share the experts.
        topk: experts of a token.
        experts: of the layer.
        ranks: GPUs that share them, a row of neighbours each.
        skew: exponent of the power law in hundredths; 0: as even as can be.
    """
    if tokens > MOST_COUNTED:  # whole numbers no longer matter, and products leave the range of integers
        return expert_loads(MOST_COUNTED, topk, experts, ranks, skew) * -(-tokens // MOST_COUNTED)
    if skew == 0:
        return _busiest(_balanced(tokens, topk, experts).reshape(1, ranks, -1))
    return _busiest(_power_law(tokens, topk, experts, ranks, skew / HUNDRED))


def _balanced(tokens: int, topk: int, experts: int) -> Integers:
    """Token t takes the experts t + j experts / topk, or where tokens are few, those that are farthest apart.

    The stride is rounded up; where it would come round to the first expert again, each step is rounded down. After as
    many tokens as there are experts, each has got `topk`, and all begins anew.
    """
    stride = -(-experts // topk)
    rounds, rest = divmod(tokens, experts)
    token, choice = np.arange(rest)[:, None], np.arange(topk)[None, :]
    first = token if tokens >= stride else token * stride // tokens
    apart = choice * stride if (topk - 1) * stride < experts else choice * experts // topk
    of_rest = np.bincount(((first + apart) % experts).ravel(), minlength=experts)
    return of_rest.astype(np.int64) + rounds * topk


def _power_law(tokens: int, topk: int, experts: int, ranks: int, exponent: float) -> Integers:
    """Loads in proportion to draws of a power law, made whole, at most `tokens` each; shape (draws, ranks, experts)."""
    few = tokens * topk <= experts
    least, most = FEW if few else (1.0, max(MOST_LOADED * tokens, 1.0))
    even = np.random.default_rng(STREAM).random((DRAWS, experts))
    share = _inverse(even, exponent, least, most)
    wanted = np.rint(share / share.sum(axis=1, keepdims=True) * tokens * topk).astype(np.int64)
    loads: Integers = np.minimum(wanted, tokens).reshape(DRAWS, ranks, experts // ranks)
    for _ in range(ranks + 1):  # what one rank has no room for goes to the others
        lacking = tokens * topk - loads.sum(axis=(1, 2))
        if not np.any(lacking):
            break
        loads = _evened(loads, lacking, tokens)
    return loads


def _inverse(even: Floats, exponent: float, least: float, most: float) -> Floats:
    """Quantiles of the density x^-exponent between `least` and `most`."""
    power = 1.0 - exponent
    if power == 0.0:
        quantiles: Floats = least * (most / least) ** even
        return quantiles
    drawn: Floats = ((most**power - least**power) * even + least**power) ** (1.0 / power)
    return drawn


def _evened(loads: Integers, lacking: Integers, most: int) -> Integers:
    """Loads with the tokens that they lack given to the least loaded, or those too many taken from the most loaded.

    Ranks take turns, the first of them first.
    """
    ranks = loads.shape[1]
    amount = np.abs(lacking)[:, None]
    turns = amount // ranks + (np.arange(ranks)[None, :] < amount % ranks)
    raised = _raised(loads, turns, most)
    lowered = most - _raised(most - loads, turns, most)
    return np.where(lacking[:, None, None] > 0, raised, lowered)


def _raised(loads: Integers, amount: Integers, most: int) -> Integers:
    """Each rank's smallest loads raised to one level, so that they take `amount` more in all; none above `most`."""
    order = np.argsort(loads, axis=2, kind="stable")
    rising = np.take_along_axis(loads, order, axis=2)
    count = np.arange(1, loads.shape[2] + 1)
    until = np.cumsum(rising, axis=2)
    cost = rising * count - until  # of raising all smaller ones to this one
    raised = np.maximum((cost <= amount[:, :, None]).sum(axis=2), 1)
    held = np.take_along_axis(until, raised[:, :, None] - 1, axis=2)[:, :, 0]
    level, rest = np.divmod(held + amount, raised)
    place = np.arange(loads.shape[2])[None, None, :]
    levelled = level[:, :, None] + (place < rest[:, :, None])
    full = np.minimum(np.where(place < raised[:, :, None], levelled, rising), most)
    filled = np.empty_like(loads)
    np.put_along_axis(filled, order, full, axis=2)
    return filled


def _busiest(loads: Integers) -> Integers:
    """Of each draw the rank with the most tokens, shape (draws, experts of a rank)."""
    rank = np.argmax(loads.sum(axis=2), axis=1)
    busiest: Integers = loads[np.arange(len(loads)), rank]
    return busiest


@lru_cache(maxsize=REMEMBERED)
def load_of(tokens: int, topk: int, experts: int, ranks: int, skew: int, heights: tuple[float, ...] = ()) -> Load:
    """What the busiest GPU's experts get, the mean over draws; `heights` are tokens of a tile."""
    loads = expert_loads(tokens, topk, experts, ranks, skew)
    tiles = tuple(float(np.mean(np.sum(np.ceil(loads / height), axis=1))) for height in heights)
    return Load(float(np.mean(loads.sum(axis=1))), float(np.mean((loads > 0).sum(axis=1))), tiles)


def loads_of(counts: Sequence[Any], heights: tuple[float, ...] = ()) -> Load:
    """The same for columns: tokens, topk, experts, ranks and skew, numbers or arrays of one shape."""
    table = np.stack([np.atleast_1d(each) for each in np.broadcast_arrays(*counts)], axis=1)
    distinct, place = np.unique(table, axis=0, return_inverse=True)
    found = [load_of(*(int(each) for each in row), heights) for row in distinct]
    of_rows = [np.array([getattr(load, name) for load in found])[place.ravel()] for name in Load._fields]
    return Load(*of_rows)
