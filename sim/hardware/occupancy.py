"""How many CTAs of a kernel one SM holds."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, KernelDemand


def ctas_per_sm(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Resident CTAs per SM: the least that warps, registers, shared memory and CTA slots allow; 0 where one is too big.

    As NVIDIA's occupancy calculator counts, without its allocation granularity of registers per warp.
    """
    sm, grid = gpu.sm, demand.grid
    registers = grid.registers_per_thread * grid.warps_per_cta * sm.warp_size
    shared = grid.shared_bytes_per_cta + sm.shared_memory_reserved_bytes
    limits = (
        sm.max_warps / grid.warps_per_cta,
        sm.registers / np.maximum(registers, 1.0),
        sm.shared_memory_bytes / np.maximum(shared, 1.0),
    )
    slots = np.floor(np.minimum(np.minimum(limits[0], limits[1]), np.minimum(limits[2], sm.max_ctas)))
    return np.where(grid.shared_bytes_per_cta > sm.shared_memory_per_cta_bytes, 0.0, slots)


def no_room(gpu: Gpu, kernels: str) -> str:
    """What to tell a user of `kernels` that no SM has room for a CTA of."""
    return (
        f"an SM of {gpu.name} has no room for a CTA of any {kernels} kernel that its libraries have; "
        "see sm.shared_memory_per_cta, sm.registers and sm.max_warps"
    )
