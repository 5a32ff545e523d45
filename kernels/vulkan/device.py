"""The Vulkan backend: what is here, and sessions on it."""

from __future__ import annotations

from simexplore.kernels.backend.devices import Device, Missing, Report, no_device
from simexplore.kernels.vulkan.runtime.instance import Instance, describe_device
from simexplore.kernels.vulkan.runtime.loader import VulkanMissingError
from simexplore.kernels.vulkan.runtime.opened import OpenDevice
from simexplore.kernels.vulkan.session import VulkanSession

MENDS = {
    "fp16": "this device has no 16-bit floats; fp16 kernels are left out",
    "cooperative_matrix": "this device has no VK_KHR_cooperative_matrix; matrix-unit kernels are left out",
}
"""Abilities that some kernels use, and what their absence means."""


class VulkanBackend:
    """Any device with a Vulkan 1.2 driver. `validate` turns the validation layers on."""

    name = "vulkan"

    def __init__(self, validate: bool = False) -> None:
        self._validate = validate

    def report(self) -> Report:
        """Devices found, and what is missing: package, loader, driver, or abilities of the devices."""
        try:
            instance = Instance()
        except VulkanMissingError as error:
            return Report(self.name, missing=(error.missing,))
        try:
            handles = instance.physical_devices()
            devices = tuple(describe_device(instance, handle, index) for index, handle in enumerate(handles))
        except VulkanMissingError as error:
            return Report(self.name, missing=(error.missing,))
        finally:
            instance.close()
        return Report(self.name, devices, tuple(_lacks(devices)))

    def open(self, index: int = 0) -> VulkanSession:
        """A session on one device.

        Raises:
            SimexploreError: package, loader or driver is missing, or there is no device of that number.
        """
        instance = Instance(self._validate)
        try:
            handles = instance.physical_devices()
            if not 0 <= index < len(handles):
                raise no_device(self.report(), index)
            device = describe_device(instance, handles[index], index)
            return VulkanSession(OpenDevice(instance, handles[index], device))
        except BaseException:
            instance.close()
            raise


def _lacks(devices: tuple[Device, ...]) -> list[Missing]:
    return [
        Missing(f"{ability} on {device.name}", mend)
        for device in devices
        for ability, mend in MENDS.items()
        if ability not in device.features
    ]
