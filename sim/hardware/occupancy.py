"""How many CTAs of a kernel one SM holds."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, KernelDemand

LIMITS = ("warps", "registers", "shared memory", "CTA slots")
"""What an SM runs out of; the order of `cta_limits`."""


def cta_limits(demand: KernelDemand, gpu: Gpu) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """CTAs per SM that each of `LIMITS` has room for, whether or not that is a whole number.

    As NVIDIA's occupancy calculator counts, without its allocation granularity of registers per warp.
    """
    sm, grid = gpu.sm, demand.grid
    registers = grid.registers_per_thread * grid.warps_per_cta * sm.warp_size
    shared = grid.shared_bytes_per_cta + sm.shared_memory_reserved_bytes
    return (
        sm.max_warps / grid.warps_per_cta,
        sm.registers / np.maximum(registers, 1.0),
        sm.shared_memory_bytes / np.maximum(shared, 1.0),
        np.asarray(sm.max_ctas, dtype=np.float64),
    )


def ctas_per_sm(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Resident CTAs per SM: the least that `cta_limits` allow; 0 where one CTA is too big."""
    warps, registers, shared, slots = cta_limits(demand, gpu)
    held = np.floor(np.minimum(np.minimum(warps, registers), np.minimum(shared, slots)))
    return np.where(demand.grid.shared_bytes_per_cta > gpu.sm.shared_memory_per_cta_bytes, 0.0, held)


def no_room(gpu: Gpu, kernels: str) -> str:
    """What to tell a user of `kernels` that no SM has room for a CTA of."""
    return (
        f"an SM of {gpu.name} has no room for a CTA of any {kernels} kernel that its libraries have; "
        "see sm.shared_memory_per_cta, sm.registers and sm.max_warps"
    )
