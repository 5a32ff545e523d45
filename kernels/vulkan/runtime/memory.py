"""Storage buffers on a device, and copies between them and numpy through a staging buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simexplore.errors import SimexploreError


class DeviceBuffer:
    """A buffer with memory of its own. `close` frees both."""

    def __init__(self, vk: Any, device: Any, memory_types: Any, size: int, usage: int, flags: int) -> None:
        self._vk, self._device, self.size = vk, device, size
        info = vk.VkBufferCreateInfo(size=size, usage=usage, sharingMode=vk.VK_SHARING_MODE_EXCLUSIVE)
        self.handle = vk.vkCreateBuffer(device, info, None)
        self.memory: Any = None
        needs = vk.vkGetBufferMemoryRequirements(device, self.handle)
        allocation = vk.VkMemoryAllocateInfo(
            allocationSize=needs.size, memoryTypeIndex=_type_index(memory_types, needs.memoryTypeBits, flags)
        )
        try:
            self.memory = vk.vkAllocateMemory(device, allocation, None)
        except (vk.VkErrorOutOfDeviceMemory, vk.VkErrorOutOfHostMemory):
            self.close()
            raise SimexploreError(f"vulkan: a buffer of {size} bytes does not fit the device's memory") from None
        vk.vkBindBufferMemory(device, self.handle, self.memory, 0)

    def write(self, array: npt.NDArray[Any]) -> None:
        """Copy an array into host-visible memory."""
        mapped = self._vk.vkMapMemory(self._device, self.memory, 0, self.size, 0)
        np.frombuffer(mapped, dtype=np.uint8, count=array.nbytes)[:] = array.reshape(-1).view(np.uint8)
        self._vk.vkUnmapMemory(self._device, self.memory)

    def read(self, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """A copy of host-visible memory: the mapping ends before this returns."""
        mapped = self._vk.vkMapMemory(self._device, self.memory, 0, self.size, 0)
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(mapped, dtype=dtype, count=count).reshape(shape).copy()
        self._vk.vkUnmapMemory(self._device, self.memory)
        return array

    def close(self) -> None:
        """Free. Safe to call twice."""
        if self.handle is not None:
            self._vk.vkDestroyBuffer(self._device, self.handle, None)
            if self.memory is not None:
                self._vk.vkFreeMemory(self._device, self.memory, None)
            self.handle = self.memory = None


def _type_index(memory_types: Any, allowed: int, flags: int) -> int:
    for index in range(memory_types.memoryTypeCount):
        if allowed & (1 << index) and memory_types.memoryTypes[index].propertyFlags & flags == flags:
            return index
    raise SimexploreError("vulkan: the device has no memory of the kind that a buffer needs; update its driver")
