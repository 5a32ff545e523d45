"""What the L2 cache still holds: residency of operands that are read again."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema import Gpu
from simexplore.sim.demand import FloatArray

USABLE_SHARE = 0.9
"""Share of the L2 that a rotating working set can use before it evicts itself: hashed set-associative caches lose a
little. Measured on L40: reads that rotate over 90 MB of its 96 MiB still hit (RRZE-HPC/gpu-benches, gpu-l2-cache)."""

SHARPNESS = 30.0
"""Steepness of the fall from hit to miss; the same measurements fall from full speed to DRAM within 10 % of size."""


def hit_share(working_set_bytes: FloatArray, gpu: Gpu) -> FloatArray:
    """Share of re-reads that hit L2 when this many bytes [B] were touched since the last read of the same line.

    A cyclic sweep over more than an LRU cache holds misses every time, over less hits every time; the logistic in
    log size stands for hashing and replacement that is not quite LRU.
    """
    fill = np.maximum(working_set_bytes, 1.0) / (USABLE_SHARE * gpu.l2.capacity_bytes)
    return 1.0 / (1.0 + np.exp(np.clip(SHARPNESS * np.log(fill), -60.0, 60.0)))


def mean_latency_cycles(gpu: Gpu) -> float:
    """Latency of an L2 hit averaged over near and far partitions [clk]; lines are spread evenly over them."""
    near = 1.0 / gpu.l2.partitions
    return near * gpu.l2.near_latency_cycles + (1.0 - near) * gpu.l2.far_latency_cycles
