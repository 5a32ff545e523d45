"""Loads over experts: each pair is counted once, loads are as even or skewed as asked, columns are their rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.workloads.operators.experts.routing import MOST_COUNTED, expert_loads, load_of, loads_of

SHAPES = st.tuples(st.integers(1, 5000), st.integers(1, 8), st.sampled_from([8, 16, 64]), st.sampled_from([1, 2, 8]))
SKEWS = st.sampled_from([0, 50, 100, 101, 120, 300])


@given(SHAPES, SKEWS)
def test_every_pair_is_on_one_of_the_ranks_and_no_expert_has_a_token_twice(
    shape: tuple[int, int, int, int], skew: int
) -> None:
    tokens, topk, experts, ranks = shape
    alone = expert_loads(tokens, topk, experts, 1, skew)
    assert np.all(alone.sum(axis=1) == tokens * topk)
    busiest = expert_loads(tokens, topk, experts, ranks, skew)
    assert busiest.shape[1] == experts // ranks
    assert np.all(busiest >= 0)
    assert np.all(busiest <= tokens)
    assert np.all(busiest.sum(axis=1) * ranks >= tokens * topk)


def test_balanced_loads_by_hand() -> None:
    """Three tokens of two experts among eight: strides of four, a token every 4 / 3."""
    assert expert_loads(3, 2, 8, 1, 0).tolist() == [[1, 1, 1, 0, 1, 1, 1, 0]]
    assert expert_loads(6, 2, 8, 1, 0).tolist() == [[2, 2, 1, 1, 2, 2, 1, 1]]
    assert expert_loads(8, 2, 8, 1, 0).tolist() == [[2] * 8]
    assert expert_loads(8, 2, 8, 4, 0).tolist() == [[2, 2]]
    assert expert_loads(1, 5, 8, 1, 0).tolist() == [[1, 1, 0, 1, 1, 0, 1, 0]]  # strides of two would come round
    assert expert_loads(1, 3, 8, 1, 0).tolist() == [[1, 0, 0, 1, 0, 0, 1, 0]]
    assert expert_loads(22, 2, 8, 1, 0).tolist() == [[6, 6, 5, 5, 6, 6, 5, 5]]
    assert expert_loads(2, 5, 8, 1, 0).tolist() == [[1, 2, 1, 1, 2, 1, 1, 1]]
    assert expert_loads(2, 5, 8, 8, 0).tolist() == [[2]]  # the first GPU is not the busiest


def test_few_tokens_of_a_power_law_have_experts_of_their_own() -> None:
    """One token wants less than half of a token of any expert, so the first experts of each rank get one each."""
    assert expert_loads(1, 8, 256, 1, 120).tolist() == [[1] * 8 + [0] * 248] * 8
    assert np.all(expert_loads(1, 8, 256, 8, 120).sum(axis=1) == 1)


def test_a_steeper_law_is_more_skewed() -> None:
    """Up to exponents of about one and a half; beyond, nearly all experts are at the law's lower end."""
    most = [float(expert_loads(4096, 8, 128, 1, skew).max(axis=1).mean()) for skew in (0, 60, 120)]
    assert most == sorted(most)
    assert most[0] == 256.0
    pairs = [load_of(4096, 8, 128, 16, skew).pairs for skew in (0, 60, 120)]
    assert pairs == sorted(pairs)
    assert pairs[0] == 2048.0


def test_an_exponent_of_one_is_the_law_between_its_neighbours() -> None:
    near = [load_of(4096, 8, 128, 16, skew).pairs for skew in (99, 100, 101)]
    assert near[0] < near[1] < near[2]


def test_tiles_cover_each_expert_by_itself() -> None:
    load = load_of(6, 2, 8, 1, 0, (1.0, 2.0, 16.0))
    assert (load.pairs, load.active, load.tiles) == (12.0, 8.0, (12.0, 8.0, 8.0))
    assert load_of(2, 1, 8, 1, 0, (4.0,)) == (2.0, 2.0, (2.0,))


def test_columns_are_their_rows() -> None:
    tokens, ranks = np.array([1, 300, 300, 7]), np.array([1, 2, 1, 8])
    found = loads_of((tokens, 2, 16, ranks, 120), (16.0, 64.0))
    assert found.tiles.shape == (4, 2)
    for row in range(4):
        alone = load_of(int(tokens[row]), 2, 16, int(ranks[row]), 120, (16.0, 64.0))
        assert (found.pairs[row], found.active[row], tuple(found.tiles[row])) == alone


@pytest.mark.parametrize("skew", [0, 120])
def test_more_tokens_than_are_counted_are_in_proportion(skew: int) -> None:
    many = load_of(8 * MOST_COUNTED, 2, 8, 2, skew)
    assert many.pairs == 8.0 * load_of(MOST_COUNTED, 2, 8, 2, skew).pairs
