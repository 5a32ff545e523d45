"""Whether Vulkan kernels can run here; tests that need them are skipped with the reason and how to mend it."""

from __future__ import annotations

from functools import cache

import pytest

from simexplore.kernels.backend.devices import Device, MatrixShape
from simexplore.kernels.vulkan.device import VulkanBackend
from simexplore.kernels.vulkan.runtime.instance import Instance
from simexplore.kernels.vulkan.runtime.loader import VALIDATION, VulkanMissingError


@cache
def why_not() -> str:
    """Empty where a device is there."""
    report = VulkanBackend().report()
    return "" if report.devices else "; ".join(f"{missing.what}: {missing.mend}" for missing in report.missing)


@cache
def validation() -> bool:
    """Whether the validation layers are installed."""
    try:
        Instance(validate=True).close()
    except VulkanMissingError:
        return False
    return True


def needs_vulkan() -> None:
    if why_not():
        pytest.skip(why_not())


def needs_validation() -> None:
    needs_vulkan()
    if not validation():
        pytest.skip(f"{VALIDATION.what}: {VALIDATION.mend}")


def a_cpu() -> Device:
    """A device as lavapipe describes itself, for suites where nothing runs."""
    limits = {"shared_memory_bytes": 32768.0, "cores": 2.0, "subgroup_size": 8.0}
    return Device("vulkan", 0, "llvmpipe", "CPU", "llvmpipe", frozenset({"fp16", "timestamps"}), limits)


def a_gpu() -> Device:
    limits = {"shared_memory_bytes": 49152.0}
    return Device("vulkan", 0, "some GPU", "discrete GPU", "a driver", frozenset({"timestamps"}), limits)


def a_gpu_with_matrix_units() -> Device:
    """One with shapes of the kinds that NVIDIA's driver tells, one of them of no use to the shaders."""
    limits = {"shared_memory_bytes": 49152.0, "subgroup_size": 32.0}
    features = frozenset({"timestamps", "fp16", "int8", "cooperative_matrix"})
    fp16 = (MatrixShape(16, *rest, "fp16", "fp32") for rest in ((16, 16), (8, 16), (8, 8)))
    shapes = (*fp16, MatrixShape(16, 16, 32, "int8", "int32"), MatrixShape(16, 16, 16, "fp16", "fp16"))
    return Device("vulkan", 0, "some GPU", "discrete GPU", "a driver", features, limits, shapes)
