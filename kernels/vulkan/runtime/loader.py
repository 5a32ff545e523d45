"""The PyPI package `vulkan`, imported when it is needed, and what to say where it or the loader is not there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.devices import Missing

PACKAGE = Missing("Python package vulkan", "pip install 'simexplore[vulkan]'")
LOADER = Missing(
    "Vulkan loader (libvulkan.so.1)", "apt-get install libvulkan1, or the loader of your system or GPU driver"
)
DRIVER = Missing(
    "a Vulkan driver",
    "install your GPU's, or Mesa's software driver: apt-get install mesa-vulkan-drivers (VK_DRIVER_FILES chooses one)",
)
VALIDATION = Missing("Vulkan validation layers (only for tests)", "apt-get install vulkan-validationlayers")


class VulkanMissingError(SimexploreError):
    """Vulkan can't be used here; `missing` says what is lacking and how to mend it."""

    def __init__(self, missing: Missing) -> None:
        self.missing = missing
        super().__init__(f"vulkan: {missing.what} is missing: {missing.mend}")


def binding() -> Any:
    """The module `vulkan`. Raises VulkanMissingError; importing it without the loader raises OSError."""
    try:
        return import_module("vulkan")
    except ImportError:
        raise VulkanMissingError(PACKAGE) from None
    except OSError:
        raise VulkanMissingError(LOADER) from None
