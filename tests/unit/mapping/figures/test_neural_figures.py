"""Demands of neural graphics, against figures worked out by hand on the round machine.

An L2 hit is 200 clk away, and x times what the L2 can use hits 1 / (1 + x).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping import demands_of
from simexplore.workloads import ops

TABLE = 262144
"""Bytes of a table of 65 536 entries of two 16-bit features."""


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    """An L1 that a quarter of that table fits into, an L2 of which it takes what can be used: half hits."""
    return round_gpu({"sm.shared_memory": "65536 B", "sm.shared_memory_per_cta": "60 kB", "l2.capacity": "524288 B"})


def only(op: ops.Operator, gpu: Gpu, cache: CacheState = WARM) -> KernelDemand:
    (demand,) = demands_of(op, gpu, Conditions(cache=cache))
    assert isinstance(demand, KernelDemand)
    return demand


def image(**changes: Any) -> ops.GridEncoding:
    """1000 points of an image, 1024 in a row, at two levels: 16 x 16 points dense, 1024 x 1024 hashed."""
    fields = {"dims": 2, "levels": 2, "features": 2, "log2_entries": 16, "base": 16, "finest": 1024}
    return ops.GridEncoding(**{"queries": 1000, "spacing": 1024, "stride_bytes": 8, **fields, **changes}, dtype="fp16")


def space(**changes: Any) -> ops.GridEncoding:
    """1000 random points of space at one hashed level."""
    return image(**{"dims": 3, "levels": 1, "base": 1024, "spacing": 0, **changes})


def test_an_encoding_of_an_image(gpu: Gpu) -> None:
    """Two CTAs for each level, 500 threads each; a thread reads four corners of 4 B of one level.

    Of 32 neighbours' points 1 + 31 s are in cells of their own: s is 16 / 1024 at the coarse level and 1 at the fine.
    """
    assert image().grid.resolution.tolist() == [[16, 1024]]
    assert image().grid.entries.tolist() == [[256, 65536]]
    sectors = (1 + 31 / 8) / 32  # of the fine level, eight entries each; the coarse level's table is in L1
    lines = (1 + 31 / 64 / 32) / 32 + (1 + 31 / 32) / 32  # of both, 32 entries each
    gathered = 4 / 2 * (1 + 1 / 8) * sectors * 32 * 0.75 / 2  # a pair of corners is in one sector, or at its edge
    instructions = 24 + 2 * 7 + 4 * (22 + 2 * (7 + 2 * 0.5) + 2 * 2)  # half of the levels are hashed
    points = 8 * (16 / TABLE * 1000 / (1 + 16 / TABLE * 1000))  # 1000 x (8 B of points and 8 B of features)
    again = 8 * (8000 / TABLE / (1 + 8000 / TABLE))
    assert_demand(
        only(image(), gpu),
        {
            "kernel": "encode",
            "grid.ctas": 4,
            "grid.warps_per_cta": 16,
            "grid.registers_per_thread": 40,
            "grid.shared_bytes_per_cta": 0,
            "work.fma_ops": 500 * 2 * instructions,
            "work.special_ops": 500 * (1 + 4 * 3),
            "work.shared_bytes": 500 * 128 * 4 * lines / 2,
            "work.l2_read_bytes": 500 * (gathered + 8),
            "work.l2_write_bytes": 500 * 4,
            "work.dram_read_bytes": 500 * (gathered / 2 + (points + again) / 2),
            "work.dram_write_bytes": 500 * 4 * (8000 / TABLE / (1 + 8000 / TABLE)),
            "latency.bytes_in_flight": 500 * 8,  # the points, of which there are more
            "latency.exposed_cycles": 200,
            "latency.setup_cycles": 200,
        },
    )
    assert gathered < 8


def test_random_points_share_nothing(gpu: Gpu) -> None:
    """Each lane has a sector of its own for a pair of corners, and a line of its own for a corner."""
    demand = only(space(), gpu)
    gathered = 8 / 2 * (1 + 1 / 8) * 32 * 0.75
    assert demand.grid.ctas.item() == 2
    assert demand.work.l2_read_bytes.item() == pytest.approx(500 * (gathered + 8))
    assert demand.latency.bytes_in_flight.item() == pytest.approx(500 * gathered)
    assert demand.work.shared_bytes.item() == pytest.approx(500 * 128 * 8)
    assert demand.work.fma_ops.item() == pytest.approx(500 * 2 * (24 + 3 * 7 + 8 * (22 + 3 * (7 + 2) + 2 * 2)))


def test_rays_go_along_x_for_a_third_of_their_way(gpu: Gpu) -> None:
    """A step of a quarter of a cell; along x eight entries share a sector, and 32 a line."""
    work = only(space(spacing=4096), gpu).work
    sectors, lines = ((1 + 31 / 4 * (1 / 3 / entries + 2 / 3)) / 32 for entries in (8, 32))
    assert work.l2_read_bytes.item() == pytest.approx(500 * (4 * 1.125 * sectors * 32 * 0.75 + 8))
    assert work.shared_bytes.item() == pytest.approx(500 * 128 * 8 * lines)


def test_steps_wider_than_a_cell_touch_no_more_than_a_sector_each(gpu: Gpu) -> None:
    random, wide = (only(space(spacing=spacing), gpu).work.l2_read_bytes.item() for spacing in (0, 64))
    assert wide == random


def test_an_entry_wider_than_a_load_takes_several(gpu: Gpu) -> None:
    """64 B: four loads of 16 B; two of them to a line, and a corner a sector at least."""
    work = only(space(features=32, spacing=4096), gpu).work
    in_l1 = 65536 / (65536 * 64)
    gathered = 8 / 2 * (1 + 1) * (1 + 31 / 4) / 32 * 32 * (1 - in_l1)
    assert work.l2_read_bytes.item() == pytest.approx(500 * (gathered + 8))
    lines = (1 + 31 / 4 * (1 / 3 / 2 + 2 / 3)) / 32
    assert work.shared_bytes.item() == pytest.approx(500 * 128 * 8 * 4 * lines)


def test_an_operator_with_fewer_levels_is_not_charged_for_those_of_another(gpu: Gpu) -> None:
    both = only(image(levels=np.array([1, 2]), base=np.array([1024, 16])), gpu)
    for row, alone in enumerate((image(levels=1, base=1024), image())):
        one = only(alone, gpu)
        for name in ("shared_bytes", "l2_read_bytes", "dram_read_bytes", "dram_write_bytes", "fma_ops"):
            assert getattr(both.work, name)[row].item() == pytest.approx(getattr(one.work, name).item()), name


def test_cold_points_come_from_dram_for_every_level(gpu: Gpu) -> None:
    """Levels after the first find them in L2 as far as it holds them."""
    cold = only(image(), gpu, CacheState()).work.dram_read_bytes.item()
    warm = only(image(), gpu).work.dram_read_bytes.item()
    held = 1 / (1 + 16000 / TABLE)
    assert cold - warm == pytest.approx(500 * 8 * held / 2)


MLP = ops.FusedMlp(queries=31250, inputs=32, width=64, hidden=2, outputs=3, dtype="fp16")
"""2 MB in and, padded to 16 outputs, 1 MB out: a quarter of 1 MB of L2 hits."""
FUSED = {
    "kernel": "mlp_fused",
    "grid.ctas": 245,  # 31250 / 128 = 244.1
    "grid.warps_per_cta": 4,
    "grid.registers_per_thread": 128,
    "grid.shared_bytes_per_cta": 128 * (64 + 8) * 2,
    "work.tensor_ops": 2 * 128 * 64 * (32 + 64 + 16),
    # Four warps each read 32 inputs and twice 64 neurons; each of three layers writes 64; and the weights.
    "work.shared_bytes": (128 * (4 * (32 + 64 + 64) + 3 * 64) + 64 * (32 + 64 + 16)) * 2,
    "work.l2_read_bytes": 128 * 64,
    "work.l2_write_bytes": 128 * 32,
    "work.dram_read_bytes": 2e6 * 0.75 / 245,
    "work.dram_write_bytes": 128 * 32 * 0.75,
    "work.epilogue_bytes": 128 * 32,
    "latency.bytes_in_flight": 128 * 64,
    # Of each layer two barriers, a load from L1 and one from shared memory; ten steps of 16 along k.
    "latency.chain_cycles": 3 * (2 * 30 + 30 + 20) + 10 * 16,
    "latency.exposed_cycles": 200,
    "latency.setup_cycles": 200,
}


def test_a_fused_network() -> None:
    assert_demand(only(MLP, round_gpu()), FUSED)


def test_a_fused_network_without_tensor_cores() -> None:
    gpu = round_gpu()
    without = gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor_ops_per_clk": {}})})
    moved = {**FUSED, "work.fma_ops": FUSED["work.tensor_ops"], "work.tensor_ops": 0}
    assert_demand(only(MLP, without), moved)


def test_a_narrow_network_has_a_warp() -> None:
    op = ops.FusedMlp(queries=128, inputs=8, width=8, hidden=1, outputs=3, dtype="fp16")
    assert only(op, round_gpu()).grid.warps_per_cta.item() == 1


def test_rays() -> None:
    """10 000 rays that read 60 B and write 40 B: 1 MB, of which half hits; 79 CTAs of 126.6."""
    op = ops.RayKernel(
        rays=10_000, read_bytes=60, write_bytes=40, instructions=100, dependent_loads=3, function="march", dtype="fp32"
    )
    assert_demand(
        only(op, round_gpu()),
        {
            "kernel": "march",
            "grid.ctas": 79,
            "grid.warps_per_cta": 4,
            "grid.registers_per_thread": 64,
            "grid.shared_bytes_per_cta": 0,
            "work.fma_ops": 1e4 / 79 * 100 * 2,
            "work.l2_read_bytes": 6e5 / 79,
            "work.l2_write_bytes": 4e5 / 79,
            "work.dram_read_bytes": 3e5 / 79,
            "work.dram_write_bytes": 2e5 / 79,
            "latency.bytes_in_flight": 6e5 / 79,
            "latency.chain_cycles": 3 * 30,
            "latency.exposed_cycles": 200,
            "latency.setup_cycles": 200,
        },
    )
