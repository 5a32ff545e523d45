"""The textbook's tiled multiplication: counts by hand, what tiles cost, and the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simexplore
from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping import demands_of
from simexplore.workloads.ops import NaiveTiledGemm

TILES = (1, 4, 8, 16, 32)


def demand(tile: int, size: int = 256) -> KernelDemand:
    (one,) = demands_of(NaiveTiledGemm(size, size, size, tile), load_arch("nvidia/rtx-4070"), Conditions())
    assert isinstance(one, KernelDemand)
    return one


def test_counts_by_hand() -> None:
    op = NaiveTiledGemm(m=2, n=3, k=5, tile=4)
    assert op.flops == 2 * 2 * 3 * 5
    assert op.min_bytes == 4 * (2 * 5 + 5 * 3 + 2 * 3)


def test_the_grid_has_a_thread_for_each_result() -> None:
    for tile in TILES:
        assert demand(tile).grid.ctas.item() == (256 / tile) ** 2
        assert demand(tile).grid.warps_per_cta.item() == max(tile * tile / 32, 1)


def test_a_step_loads_two_tiles_in_whole_sectors() -> None:
    assert demand(32).work.l2_read_bytes.item() == 2 * 256 * 32 * 4
    assert demand(1).work.l2_read_bytes.item() == 2 * 256 * 32  # a sector for each element


def test_small_tiles_are_slow_and_the_best_has_many_ctas() -> None:
    gpu = load_arch("nvidia/rtx-4070")
    column = NaiveTiledGemm(*(np.full(5, 8192),) * 3, tile=np.array(TILES))
    seconds = predict(column, gpu).time_s
    assert np.all(np.diff(seconds[:4]) < 0)
    assert seconds[0] > 30 * seconds[3]


def test_tiles_larger_than_a_cta_are_a_mistake() -> None:
    with pytest.raises(SimexploreError, match="tile: expected at most 32"):
        demand(33)
    with pytest.raises(SimexploreError, match="multiplies no int4"):
        simexplore.estimate("gemm_naive_tiled(m=8,n=8,k=8,tile=4,dtype=int4)", "nvidia/rtx-4070")


@settings(max_examples=60)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(TILES))
def test_never_below_the_roofline(m: int, n: int, k: int, tile: int) -> None:
    gpu, op = load_arch("nvidia/rtx-4070"), NaiveTiledGemm(m, n, k, tile)
    seconds = predict(op, gpu).time_s.item()
    assert seconds >= op.flops / gpu.fma_peak_ops_per_s("fp32")
    assert seconds >= (op.min_bytes - op.output_bytes) / gpu.dram.bandwidth_bytes_per_s * 0.999


def test_events_and_closed_form_agree() -> None:
    text = "gemm_naive_tiled(m=2048,n=2048,k=512,tile=16)"
    played = simexplore.simulate(text, "nvidia/rtx-4070").time_s
    assert played == pytest.approx(simexplore.estimate(text, "nvidia/rtx-4070").time_s, rel=0.01)
