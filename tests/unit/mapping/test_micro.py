"""Micro-benchmarks: what latency, issue interval and concurrency make of one another."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.hardware.timing import kernel_timing, settled_seconds
from simexplore.sim.mapping import micro
from simexplore.sim.studies.hopper import bulk_copy, chase_knee, loop_seconds, wgmma_rate

K16 = (16, 8, 16)


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch("nvidia/h800-pcie@facts")


def iteration_clocks(gpu: Gpu, warps: int, ilp: int) -> float:
    return loop_seconds(micro.mma_sync_loop(gpu, K16, "fp16", warps, ilp), gpu) * gpu.clock.boost_hz


def test_rate_rises_with_chains_until_the_pipe_is_full(gpu: Gpu) -> None:
    one, two, four, eight = (iteration_clocks(gpu, 4, ilp) for ilp in (1, 2, 4, 8))
    assert one == pytest.approx(micro.mma_latency_cycles(gpu, K16, "fp16"), rel=0.01)
    assert two == pytest.approx(one, rel=0.01), "two chains take no longer than one"
    assert four == pytest.approx(one, rel=0.03), "four fill the pipe of four stages"
    assert eight == pytest.approx(2.0 * four, rel=0.05), "more only queue"


def test_warps_are_chains_too(gpu: Gpu) -> None:
    assert iteration_clocks(gpu, 16, 1) == pytest.approx(iteration_clocks(gpu, 4, 4), rel=1e-9)


def test_a_loop_as_events_is_the_closed_form(gpu: Gpu) -> None:
    demand = micro.wgmma_loop(gpu, 64, "fp16", "SS")
    closed = float(settled_seconds(kernel_timing(demand, gpu), gpu).item()) / micro.ITERATIONS
    assert loop_seconds(demand, gpu) == pytest.approx(closed, rel=0.01)


def test_operands_from_registers_are_never_slower(gpu: Gpu) -> None:
    for n in (8, 16, 32, 64, 128, 256):
        assert wgmma_rate(gpu, n, "fp16", "RS") >= wgmma_rate(gpu, n, "fp16", "SS")


def test_random_data_is_held_by_the_power_limit_and_zeros_are_not(gpu: Gpu) -> None:
    assert wgmma_rate(gpu, 256, "fp16", "SS", "random") < wgmma_rate(gpu, 256, "fp16", "SS", "zeros")


def test_a_chase_gets_slower_with_its_footprint(gpu: Gpu) -> None:
    latency = micro.chase_latency_cycles(gpu, np.geomspace(1e3, 1e9, 200))
    assert np.all(np.diff(latency) >= 0.0)
    assert latency[0] == pytest.approx(gpu.l2.near_latency_cycles)
    assert latency[-1] == pytest.approx(gpu.dram_latency_cycles)


def test_knees_follow_the_capacity() -> None:
    gpu = load_arch("nvidia/h800-pcie")
    larger = load_arch("nvidia/h800-pcie", {"l2.capacity": "100 MiB"})
    for level in ("near", "l2"):
        assert chase_knee(larger, level) == pytest.approx(2.0 * chase_knee(gpu, level), rel=0.02)


def test_bulk_copies_follow_littles_law_until_dram_is_full(gpu: Gpu) -> None:
    assert bulk_copy(gpu, 1, 4) == pytest.approx(4.0 * bulk_copy(gpu, 1, 1), rel=0.01)
    full = gpu.dram.bandwidth_bytes_per_s * gpu.dram.efficiency / 2.0**30
    assert bulk_copy(gpu, 16, 8) == pytest.approx(full, rel=0.01)
    assert bulk_copy(gpu, 2, 1, rank=2) < bulk_copy(gpu, 2, 1)


def test_machines_without_the_instructions_say_so() -> None:
    ampere, plain = load_arch("nvidia/a100-pcie-40gb"), load_arch("nvidia/t4")
    with pytest.raises(SimexploreError, match="no instructions section"):
        micro.dpx_loop(plain, "vimax3_s32")
    with pytest.raises(SimexploreError, match="no bulk copies"):
        micro.bulk_copy_loop(ampere, 1024, 1)
    with pytest.raises(SimexploreError, match="clusters of 4"):
        micro.cluster_copy_loop(ampere, 4)
    with pytest.raises(SimexploreError, match="no count for vimax9"):
        micro.dpx_loop(ampere, "vimax9")
