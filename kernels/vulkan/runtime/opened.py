"""An open Vulkan device: its queue, command buffers, memory, and the clock of its timestamps."""

from __future__ import annotations

from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.vulkan.runtime.abilities import BITS, COOPERATIVE, Chain
from simexplore.kernels.vulkan.runtime.instance import Instance
from simexplore.kernels.vulkan.runtime.memory import DeviceBuffer

TIMEOUT_NS = 120_000_000_000
"""A launch that takes longer is given up."""


class OpenDevice:
    """A device with one compute queue. What is made with its `vk` and `handle` has to be freed before it is closed."""

    def __init__(self, instance: Instance, physical: Any, device: Device) -> None:
        self.instance, self.vk, self.device = instance, instance.vk, device
        vk = self.vk
        family = self._compute_family(physical)
        priorities = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=family, queueCount=1, pQueuePriorities=[1.0])
        features = self._features()
        extensions = [COOPERATIVE] if "cooperative_matrix" in device.features else []
        info = vk.VkDeviceCreateInfo(
            pNext=features.head, pQueueCreateInfos=[priorities], ppEnabledExtensionNames=extensions
        )
        self.handle = vk.vkCreateDevice(physical, info, None)
        self.queue = vk.vkGetDeviceQueue(self.handle, family, 0)
        self.memory_types = vk.vkGetPhysicalDeviceMemoryProperties(physical)
        reset = vk.VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT
        self.commands = vk.vkCreateCommandPool(
            self.handle, vk.VkCommandPoolCreateInfo(flags=reset, queueFamilyIndex=family), None
        )
        stamps = vk.VkQueryPoolCreateInfo(queryType=vk.VK_QUERY_TYPE_TIMESTAMP, queryCount=2)
        self.stamps = vk.vkCreateQueryPool(self.handle, stamps, None)
        self.fence = vk.vkCreateFence(self.handle, vk.VkFenceCreateInfo(), None)

    def _compute_family(self, physical: Any) -> int:
        families = self.vk.vkGetPhysicalDeviceQueueFamilyProperties(physical)
        for index, family in enumerate(families):
            if family.queueFlags & self.vk.VK_QUEUE_COMPUTE_BIT:
                return index
        raise SimexploreError(f"vulkan: {self.device.name} has no queue for compute")

    def _features(self) -> Chain:
        """What the device has of the abilities that kernels use, and nothing else, turned on."""
        chain = Chain(self.vk, matrix="cooperative_matrix" in self.device.features)
        for ability in BITS:
            if ability in self.device.features:
                chain.turn_on(ability)
        return chain

    def buffer(self, size: int, *, on_host: bool) -> DeviceBuffer:
        """A storage buffer, or one that the host can map to stage transfers."""
        vk = self.vk
        transfers = vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        if on_host:
            flags = vk.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vk.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
            return DeviceBuffer(vk, self.handle, self.memory_types, size, transfers, flags)
        usage = transfers | vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        return DeviceBuffer(vk, self.handle, self.memory_types, size, usage, vk.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)

    def command_buffer(self) -> Any:
        """A new primary command buffer; free it with `free_commands`."""
        vk = self.vk
        info = vk.VkCommandBufferAllocateInfo(
            commandPool=self.commands, level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=1
        )
        return vk.vkAllocateCommandBuffers(self.handle, info)[0]

    def free_commands(self, commands: Any) -> None:
        self.vk.vkFreeCommandBuffers(self.handle, self.commands, 1, [commands])

    def submit(self, commands: Any) -> None:
        """Run a command buffer and wait for it."""
        vk = self.vk
        submit = vk.VkSubmitInfo(pCommandBuffers=[commands])
        vk.vkQueueSubmit(self.queue, 1, [submit], self.fence)
        try:
            vk.vkWaitForFences(self.handle, 1, [self.fence], vk.VK_TRUE, TIMEOUT_NS)
        except vk.VkTimeout:
            raise SimexploreError(f"vulkan: {self.device.name} did not finish in {TIMEOUT_NS * 1e-9:g} s") from None
        vk.vkResetFences(self.handle, 1, [self.fence])

    def stamped_s(self) -> float:
        """Seconds between the two timestamps of the last submission."""
        vk = self.vk
        ticks = vk.ffi.new("uint64_t[2]")
        flags = vk.VK_QUERY_RESULT_64_BIT | vk.VK_QUERY_RESULT_WAIT_BIT
        vk.vkGetQueryPoolResults(self.handle, self.stamps, 0, 2, 16, ticks, 8, flags)
        return float(ticks[1] - ticks[0]) * self.device.limits["timestamp_period_ns"] * 1e-9

    def close(self) -> None:
        """Free everything, the instance too. Safe to call twice."""
        if self.handle is None:
            return
        vk = self.vk
        vk.vkDestroyFence(self.handle, self.fence, None)
        vk.vkDestroyQueryPool(self.handle, self.stamps, None)
        vk.vkDestroyCommandPool(self.handle, self.commands, None)
        vk.vkDestroyDevice(self.handle, None)
        self.handle = None
        self.instance.close()
