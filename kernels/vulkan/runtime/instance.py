"""A Vulkan instance, its physical devices, and the messages of the validation layers where they are on."""

from __future__ import annotations

import os
from typing import Any

from simexplore.kernels.backend.devices import Device, DeviceKind
from simexplore.kernels.vulkan.runtime.abilities import BITS, matrix_shapes, present
from simexplore.kernels.vulkan.runtime.loader import DRIVER, LOADER, VALIDATION, VulkanMissingError, binding

VALIDATION_LAYER = "VK_LAYER_KHRONOS_validation"
_DEBUG_UTILS = "VK_EXT_debug_utils"
_KINDS: dict[int, DeviceKind] = {1: "integrated GPU", 2: "discrete GPU", 3: "virtual GPU", 4: "CPU"}
"""By VkPhysicalDeviceType."""


class Instance:
    """An instance that is closed when its session is. With `validate`, layers report into `messages`."""

    def __init__(self, validate: bool = False) -> None:
        self.vk = vk = binding()
        self.messages: list[str] = []
        self._messenger: Any = None
        layers, extensions = ([VALIDATION_LAYER], [_DEBUG_UTILS]) if validate else ([], [])
        application = vk.VkApplicationInfo(pApplicationName="simexplore", apiVersion=vk.VK_MAKE_VERSION(1, 2, 0))
        info = vk.VkInstanceCreateInfo(
            pApplicationInfo=application, ppEnabledLayerNames=layers, ppEnabledExtensionNames=extensions
        )
        try:
            self.handle = vk.vkCreateInstance(info, None)
        except vk.VkErrorLayerNotPresent:
            raise VulkanMissingError(VALIDATION) from None
        except vk.VkErrorIncompatibleDriver:
            raise VulkanMissingError(DRIVER) from None
        except vk.VkErrorExtensionNotPresent:
            raise VulkanMissingError(LOADER) from None
        if validate:
            self._listen()

    def _listen(self) -> None:
        """Collect the layers' warnings and errors."""
        vk = self.vk

        def hear(_severity: int, _kind: int, data: Any, _user: Any) -> int:
            self.messages.append(vk.ffi.string(data.pMessage).decode("utf-8", "replace"))
            return 0

        self._callback = vk.ffi.callback("PFN_vkDebugUtilsMessengerCallbackEXT")(hear)
        info = vk.VkDebugUtilsMessengerCreateInfoEXT(
            messageSeverity=vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT
            | vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
            messageType=vk.VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
            pfnUserCallback=self._callback,
        )
        create = vk.vkGetInstanceProcAddr(self.handle, "vkCreateDebugUtilsMessengerEXT")
        self._messenger = create(self.handle, info, None)

    def physical_devices(self) -> list[Any]:
        """Handles in the driver's order. Raises VulkanMissingError where no driver has a device."""
        try:
            found = list(self.vk.vkEnumeratePhysicalDevices(self.handle))
        except self.vk.VkErrorInitializationFailed:
            found = []
        if not found:
            raise VulkanMissingError(DRIVER)
        return found

    def close(self) -> None:
        """Destroy the instance. Safe to call twice."""
        if self.handle is None:
            return
        if self._messenger is not None:
            destroy = self.vk.vkGetInstanceProcAddr(self.handle, "vkDestroyDebugUtilsMessengerEXT")
            destroy(self.handle, self._messenger, None)
        self.vk.vkDestroyInstance(self.handle, None)
        self.handle = None


def describe_device(instance: Instance, handle: Any, index: int) -> Device:
    """A physical device as plain data: limits in bytes and counts, features that kernels can ask for."""
    vk = instance.vk
    properties = vk.vkGetPhysicalDeviceProperties(handle)
    subgroup = vk.VkPhysicalDeviceSubgroupProperties()
    driver = vk.VkPhysicalDeviceDriverProperties(pNext=subgroup)
    asked = vk.VkPhysicalDeviceProperties2(pNext=driver)
    vk.vkGetPhysicalDeviceProperties2(handle, asked)
    limits = properties.limits
    kind = _KINDS.get(properties.deviceType, "none")
    chain = present(vk, handle)
    abilities = {ability for ability in BITS if chain.has(ability)}
    shapes = matrix_shapes(vk, instance.handle, handle) if "cooperative_matrix" in abilities else ()
    if not shapes:
        abilities.discard("cooperative_matrix")
    if limits.timestampComputeAndGraphics:
        abilities.add("timestamps")
    return Device(
        backend="vulkan",
        index=index,
        name=properties.deviceName,
        kind=kind,
        driver=f"{_text(vk, driver.driverName)} {_text(vk, driver.driverInfo)}".strip(),
        features=frozenset(abilities),
        limits={
            "shared_memory_bytes": float(limits.maxComputeSharedMemorySize),
            "max_buffer_bytes": float(limits.maxStorageBufferRange),
            "max_threads_per_group": float(limits.maxComputeWorkGroupInvocations),
            "subgroup_size": float(subgroup.subgroupSize),
            "timestamp_period_ns": float(limits.timestampPeriod),
            **({"cores": float(_cores())} if kind == "CPU" else {}),
        },
        matrix_shapes=shapes,
    )


def _cores() -> int:
    """Cores that a CPU driver uses: LP_NUM_THREADS of Mesa's, else those that this process may run on."""
    threads = os.environ.get("LP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > 0:
        return int(threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(vk: Any, chars: Any) -> str:
    return chars if isinstance(chars, str) else vk.ffi.string(chars).decode("utf-8", "replace")
