"""Loops of one instruction, against figures worked out by hand: the round machine with instructions of round costs.

A loop goes round 2^24 times, so amounts here are of one iteration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.mapping import micro

TIMES = 2**24
K16 = (16, 8, 16)


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    """1024 operations a clock and SM are 256 of a sub-core: an mma of 16 x 8 x 16 takes 16 clocks, and 2."""
    return round_gpu(
        {
            "instructions": "{mma_sync: {overhead: 2 clk, stages: 3}, min_max: 64 op/clk, dpx: {vimax3: 5, add: 20}, "
            "cluster: {latency: {'2': 180 clk}, in_flight: 8 kB}, bulk_copy: {latency: 170 clk}}"
        }
    )


def loop(kernel: str, cycles: float, warps: float, ctas: float = 10, **work: Any) -> dict[str, Any]:
    """A loop's demand: its work for one iteration, and how long one takes."""
    amounts = {f"work.{name}": x if isinstance(x, str) else TIMES * x for name, x in work.items()}
    return {
        "kernel": kernel,
        "grid.ctas": ctas,
        "grid.warps_per_cta": warps,
        "grid.registers_per_thread": 32,
        "grid.shared_bytes_per_cta": 0,
        "latency.chain_cycles": TIMES * cycles,
        "overlap.within_sm": 24,
        **amounts,
    }


def test_an_mma_takes_its_arithmetic_and_an_overhead(gpu: Gpu) -> None:
    assert micro.mma_interval_cycles(gpu, K16, "fp16") == 16 + 2
    assert micro.mma_interval_cycles(gpu, K16, "fp16", sparse=True) == 8 + 2
    assert micro.mma_interval_cycles(gpu, (16, 8, 32), "tf32") == 64 + 2
    assert micro.mma_latency_cycles(gpu, K16, "fp16") == 3 * 18


@pytest.mark.parametrize(
    ("warps", "ilp", "clocks"),
    [
        (4, 1, 54),  # a chain on each sub-core waits for its three stages
        (4, 3, 54),  # three fill them
        (4, 4, 72),  # four intervals
        (8, 2, 72),  # two warps of two
        (5, 2, 72),  # the fifth warp is its sub-core's second
    ],
)
def test_chains_of_mma(gpu: Gpu, warps: int, ilp: int, clocks: float) -> None:
    demand = micro.mma_sync_loop(gpu, K16, "fp16", warps, ilp)
    assert_demand(demand, loop("mma_sync", clocks, warps, tensor_ops=warps * ilp * 2 * 16 * 8 * 16))


def test_a_sparse_mma_does_half_of_what_is_counted(gpu: Gpu) -> None:
    demand = micro.mma_sync_loop(gpu, K16, "tf32", 4, 1, sparse=True)
    assert_demand(demand, loop("mma_sync", 3 * 18, 4, tensor_dtype="tf32", tensor_ops=4 * 16 * 8 * 16))


@pytest.mark.parametrize(
    ("operands", "sparse", "rows"), [("SS", False, 40 + 64), ("RS", False, 40), ("SS", True, 80 + 64), ("RS", True, 80)]
)
def test_rows_that_a_wgmma_reads(gpu: Gpu, operands: micro.Operands, sparse: bool, rows: int) -> None:
    """64 x 40 results of 32 B of k: 16 elements at 16 bits, 32 at 8."""
    work = {"tensor_ops": 2 * 64 * 40 * 16, "shared_bytes": rows * 32}
    if not sparse:
        assert_demand(micro.wgmma_loop(gpu, 40, "fp16", operands), loop("wgmma", 0, 4, **work))
    assert_demand(micro.wgmma_loop(gpu, 40, "fp16", operands, sparse), loop("wgmma", 0, 4, **work))
    narrow = {**work, "tensor_dtype": "fp8", "tensor_ops": 2 * 64 * 40 * 32}
    assert_demand(micro.wgmma_loop(gpu, 40, "fp8", operands, sparse), loop("wgmma", 0, 4, **narrow))


def test_dpx_by_issue_and_by_its_chain(gpu: Gpu) -> None:
    """1024 threads' five instructions at 64 a clock take 80 clocks; alone a warp waits 5 x 5 for its own."""
    assert_demand(micro.dpx_loop(gpu, "vimax3"), loop("dpx", 80, 32, ctas=1))
    assert_demand(micro.dpx_loop(gpu, "vimax3", warps=8), loop("dpx", 25, 8, ctas=1))
    assert_demand(micro.dpx_loop(gpu, "add", warps=12), loop("dpx", 120, 12, ctas=1))


def test_an_unknown_function_is_told_with_those_known(gpu: Gpu) -> None:
    with pytest.raises(SimexploreError, match=r"^Round has no count for vimax9; it has add, vimax3$"):
        micro.dpx_loop(gpu, "vimax9")


@pytest.mark.parametrize(
    ("home", "hit"), [("any", 0.25 * 110 + 0.75 * 230), ("near", 110), ("far", 230)], ids=["any", "near", "far"]
)
def test_latency_of_a_chase(gpu: Gpu, home: str, hit: float) -> None:
    """Over 0.25 MB: four copies of it take 1 MB, so half is found near; another 0.3 at home, a fifth in DRAM.

    DRAM's 500 clk are the mean over partitions, whose hits take 200.
    """
    clocks = micro.chase_latency_cycles(gpu, np.array([0.25e6]), home).item()
    assert clocks == pytest.approx(0.5 * 110 + 0.3 * hit + 0.2 * (500 + hit - 200))


def test_a_chase_waits_for_each_load(gpu: Gpu) -> None:
    clocks = 0.5 * 110 + 0.3 * 200 + 0.2 * 500
    assert_demand(micro.pointer_chase(gpu, 0.25e6), loop("pointer_chase", clocks, 1, ctas=1))
    far = 0.5 * 110 + 0.3 * 230 + 0.2 * 530
    assert_demand(
        micro.pointer_chase(gpu, 0.25e6, home="far", added_cycles=17.0), loop("pointer_chase", far + 17, 1, ctas=1)
    )


@pytest.mark.parametrize(("rank", "tensor_map"), [((), 0), ((1,), 0), ((2,), 110), ((3,), 110)])
def test_bulk_copies(gpu: Gpu, rank: tuple[int, ...], tensor_map: float) -> None:
    """DRAM's latency, the engine's, 4000 B at 40 B/clk, and the barrier."""
    clocks = 500 + 170 + 100 + 30 + tensor_map
    demand = micro.bulk_copy_loop(gpu, 4000, 3, *rank)
    assert_demand(demand, loop("bulk_copy", clocks, 1, ctas=30, l2_read_bytes=4000, dram_read_bytes=4000))


def test_copies_in_a_cluster(gpu: Gpu) -> None:
    """A page is half of the 8 kB in flight, so it takes half the latency."""
    demand = micro.cluster_copy_loop(gpu, 2)
    assert_demand(demand, loop("cluster_copy", 180 * 4096 / 8000, 32, shared_bytes=4096))
    demand = micro.cluster_copy_loop(gpu, 2, 2000)
    assert_demand(demand, loop("cluster_copy", 180 / 4, 32, shared_bytes=2000))
    with pytest.raises(SimexploreError, match="clusters of 4"):
        micro.cluster_copy_loop(gpu, 4)
