"""Shapes of matrix units as a driver tells them, by a driver's function that is written here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from vulkan_here import needs_vulkan

from simexplore.kernels.backend.devices import MatrixShape
from simexplore.kernels.vulkan.runtime.abilities import BITS, Chain, matrix_shapes
from simexplore.kernels.vulkan.runtime.loader import binding

FP16, FP32, INT8, INT32, UINT8, UINT32 = 0, 1, 3, 5, 7, 9
SUBGROUP, WORKGROUP = 3, 2
TOLD = [
    (16, 16, 16, FP16, FP16, FP32, FP32, 0, SUBGROUP),
    (16, 8, 16, FP16, FP16, FP16, FP16, 0, SUBGROUP),
    (16, 16, 32, INT8, INT8, INT32, INT32, 0, SUBGROUP),
    (16, 16, 32, INT8, INT8, INT32, INT32, 1, SUBGROUP),  # saturating
    (16, 16, 32, UINT8, UINT8, UINT32, UINT32, 0, SUBGROUP),  # a type that no shader has
    (16, 16, 16, FP16, FP16, FP16, FP32, 0, SUBGROUP),  # another type in than out
    (64, 64, 16, FP16, FP16, FP32, FP32, 0, WORKGROUP),
]
NAMES = ("MSize", "NSize", "KSize", "AType", "BType", "CType", "ResultType", "saturatingAccumulation", "scope")


def vk_of(told: list[tuple[int, ...]]) -> tuple[Any, list[int]]:
    """The binding, with a driver that tells these shapes; and the `sType` of each struct that it was given."""
    vk, types = binding(), list[int]()

    def tell(_device: Any, count: Any, structs: Any) -> int:
        if structs == vk.ffi.NULL:
            count[0] = len(told)
            return 0
        for place, values in enumerate(told):
            types.append(structs[place].sType)
            for name, value in zip(NAMES, values, strict=True):
                setattr(structs[place], name, value)
        return 0

    callback = vk.ffi.callback("PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR")(tell)
    lib = SimpleNamespace(
        vkGetInstanceProcAddr=lambda instance, name: vk.ffi.cast("void*", callback if told else 0), keep=callback
    )
    constants = {name: getattr(vk, name) for name in dir(vk) if name.startswith(("VK_S", "VkPhysical"))}
    return SimpleNamespace(lib=lib, ffi=vk.ffi, **constants), types


@pytest.fixture(autouse=True)
def here() -> None:
    needs_vulkan()


def test_shapes_of_a_subgroup_and_of_types_that_shaders_have_are_told() -> None:
    vk, types = vk_of(TOLD)
    assert matrix_shapes(vk, None, vk.ffi.NULL) == (
        MatrixShape(16, 8, 16, "fp16", "fp16"),
        MatrixShape(16, 16, 16, "fp16", "fp32"),
        MatrixShape(16, 16, 32, "int8", "int32"),
    )
    assert set(types) == {binding().VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR}


def test_a_driver_without_the_function_has_no_shapes() -> None:
    assert matrix_shapes(vk_of([])[0], None, binding().ffi.NULL) == ()


def test_an_ability_is_there_when_all_its_bits_are() -> None:
    chain = Chain(binding(), matrix=True)
    assert not any(chain.has(ability) for ability in BITS)
    chain.turn_on("cooperative_matrix")
    assert [ability for ability in BITS if chain.has(ability)] == ["cooperative_matrix"]
    assert not Chain(binding(), matrix=False).has("cooperative_matrix")
