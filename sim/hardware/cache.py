"""What the L2 cache still holds: residency of operands that are read again."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray

STEEPEST = 60.0
"""Exponent beyond which a logistic is 0 or 1 to the last bit of a double, and exp does not overflow."""


def hit_share(
    working_set_bytes: FloatArray, gpu: Gpu, share: float = 1.0, sharpness: float | None = None
) -> FloatArray:
    """Share of re-reads that hit L2 when this many bytes [B] were touched since the last read of the same line.

    A cyclic sweep over more than an LRU cache holds misses every time, over less hits every time; the logistic in
    log size stands for hashing and replacement that is not quite LRU. `share` is the part of the usable cache that
    these lines can fill; `sharpness` is the machine's, but where sizes are themselves spread.
    """
    # The logistic of the log of the fill is 1 / (1 + fill^slope); the clip keeps exp within a double.
    fill = np.maximum(working_set_bytes, 1.0) / (share * gpu.l2.usable_share * gpu.l2.capacity_bytes)
    slope = gpu.l2.eviction_sharpness if sharpness is None else sharpness
    return 1.0 / (1.0 + np.exp(np.clip(slope * np.log(fill), -STEEPEST, STEEPEST)))
