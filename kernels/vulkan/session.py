"""A session on a Vulkan device: its kernels made ready, and what the sidecar says of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Problem
from simexplore.kernels.backend.session import Session
from simexplore.kernels.vulkan.kernel import VulkanKernel
from simexplore.kernels.vulkan.problems import PROBLEMS
from simexplore.kernels.vulkan.programs import program_of
from simexplore.kernels.vulkan.runtime.opened import OpenDevice

ENVIRONMENT = (
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "LP_NUM_THREADS",
    "LP_NATIVE_VECTOR_WIDTH",
    "MESA_SHADER_CACHE_DISABLE",
)
"""Variables that change what a driver does; told in the sidecar."""


class VulkanSession(Session):
    """Kernels on an open device, which it closes."""

    problems: Mapping[str, Problem] = PROBLEMS

    def __init__(self, opened: OpenDevice) -> None:
        self.opened, self.device = opened, opened.device
        self._kernels: list[VulkanKernel] = []

    def prepare(self, case: Case) -> VulkanKernel:
        """Compile the case's kernel and allocate its buffers. Raises SimexploreError where it can't run here."""
        self.need_features(case)
        program = program_of(case)
        largest = max(program.buffers, key=lambda buffer: buffer.bytes)
        if largest.bytes > self.device.limits["max_buffer_bytes"]:
            raise SimexploreError(
                f"{case.key}: {largest.name} has {largest.bytes} bytes, "
                f"the device takes {self.device.limits['max_buffer_bytes']:.0f} at most"
            )
        kernel = VulkanKernel(self.opened, program)
        self._kernels.append(kernel)
        return kernel

    def describe(self) -> dict[str, Any]:
        """Driver, limits and the environment that changes what the driver does."""
        return {
            "driver": self.device.driver,
            "kind": self.device.kind,
            "features": sorted(self.device.features),
            "limits": dict(self.device.limits),
            "matrix_shapes": [asdict(shape) for shape in self.device.matrix_shapes],
            "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            "clock": "timestamp queries" if "timestamps" in self.device.features else "host clock",
        }

    def close(self) -> None:
        """Free kernels and device. Safe to call twice."""
        for kernel in self._kernels:
            kernel.close()
        self._kernels = []
        self.opened.close()
