"""What kernels may need of a Vulkan device: which feature bits it takes, and which matrix shapes its units multiply.

A `Chain` is Vulkan's list of feature structs. The binding does not keep alive what `pNext` points to; the chain does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from simexplore.kernels.backend.devices import MatrixShape

COOPERATIVE = "VK_KHR_cooperative_matrix"
_SHAPES = "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"

BITS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "fp16": (("narrow", "shaderFloat16"), ("storage16", "storageBuffer16BitAccess")),
        "int8": (("narrow", "shaderInt8"), ("storage8", "storageBuffer8BitAccess")),
        "fp64": (("core", "shaderFloat64"),),
        "cooperative_matrix": (("matrix", "cooperativeMatrix"), ("memory", "vulkanMemoryModel")),
    }
)
"""Ability → (struct of the chain, field) that must all be set. Cooperative matrices take Vulkan's memory model."""

COMPONENTS: Mapping[int, str] = MappingProxyType({0: "fp16", 1: "fp32", 2: "fp64", 3: "int8", 5: "int32"})
"""Our names of VkComponentTypeKHR, of those that a shader here multiplies or sums in."""


class Chain:
    """Feature structs linked by `pNext`; `head` is what Vulkan is given."""

    def __init__(self, vk: Any, *, matrix: bool) -> None:
        memory = vk.VkPhysicalDeviceVulkanMemoryModelFeatures()
        storage8 = vk.VkPhysicalDevice8BitStorageFeatures(pNext=memory)
        storage16 = vk.VkPhysicalDevice16BitStorageFeatures(pNext=storage8)
        narrow = vk.VkPhysicalDeviceShaderFloat16Int8Features(pNext=storage16)
        self._structs = {"memory": memory, "storage8": storage8, "storage16": storage16, "narrow": narrow}
        last = narrow
        if matrix:
            last = self._structs["matrix"] = vk.VkPhysicalDeviceCooperativeMatrixFeaturesKHR(pNext=narrow)
        self.head = vk.VkPhysicalDeviceFeatures2(pNext=last)
        self._structs["core"] = self.head.features

    def has(self, ability: str) -> bool:
        """Whether all bits of an ability are set."""
        return all(part in self._structs and getattr(self._structs[part], field) for part, field in BITS[ability])

    def turn_on(self, ability: str) -> None:
        """Set all bits of an ability."""
        for part, field in BITS[ability]:
            setattr(self._structs[part], field, 1)


def present(vk: Any, physical: Any) -> Chain:
    """The features that a physical device has."""
    names = {extension.extensionName for extension in vk.vkEnumerateDeviceExtensionProperties(physical, None)}
    chain = Chain(vk, matrix=COOPERATIVE in names)
    vk.vkGetPhysicalDeviceFeatures2(physical, chain.head)
    return chain


def matrix_shapes(vk: Any, instance: Any, physical: Any) -> tuple[MatrixShape, ...]:
    """Shapes that a subgroup's matrix units multiply, of types that we know.

    The binding's own wrapper leaves `sType` unset, so the function is called without it.
    """
    address = vk.lib.vkGetInstanceProcAddr(instance, _SHAPES.encode())
    if address == vk.ffi.NULL:
        return ()
    query = vk.ffi.cast(f"PFN_{_SHAPES}", address)
    count = vk.ffi.new("uint32_t*")
    query(physical, count, vk.ffi.NULL)
    found = vk.ffi.new("VkCooperativeMatrixPropertiesKHR[]", count[0])
    for shape in found:
        shape.sType = vk.VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR
    query(physical, count, found)
    shapes = {
        MatrixShape(int(s.MSize), int(s.NSize), int(s.KSize), COMPONENTS[s.AType], COMPONENTS[s.ResultType])
        for s in found
        if s.scope == vk.VK_SCOPE_SUBGROUP_KHR
        and not s.saturatingAccumulation
        and s.AType == s.BType
        and s.CType == s.ResultType
        and {s.AType, s.CType} <= set(COMPONENTS)
    }
    return tuple(sorted(shapes, key=lambda shape: (shape.dtype, shape.sum_dtype, shape.m, shape.n, shape.k)))
