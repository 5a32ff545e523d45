"""Compute pipelines with specialisation constants, and the descriptor sets that bind buffers to them.

Every struct that is an element of a list has a name of its own until the call returns: the binding keeps the pointers
of a struct made inline inside a list no longer than the list's own making.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simexplore.kernels.vulkan.program import Dispatch
from simexplore.kernels.vulkan.runtime.memory import DeviceBuffer
from simexplore.kernels.vulkan.runtime.opened import OpenDevice
from simexplore.kernels.vulkan.shaders import code_of


class Pipeline:
    """One shader with one set of constants, and room for some descriptor sets."""

    def __init__(self, opened: OpenDevice, dispatch: Dispatch, sets: int) -> None:
        self._vk, self._device = vk, device = opened.vk, opened.handle
        count = len(dispatch.buffers)
        storage, compute = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, vk.VK_SHADER_STAGE_COMPUTE_BIT
        bindings = [
            vk.VkDescriptorSetLayoutBinding(binding=i, descriptorType=storage, descriptorCount=1, stageFlags=compute)
            for i in range(count)
        ]
        layout_info = vk.VkDescriptorSetLayoutCreateInfo(pBindings=bindings)
        self._set_layout = vk.vkCreateDescriptorSetLayout(device, layout_info, None)
        ranges = [vk.VkPushConstantRange(stageFlags=compute, offset=0, size=4 * max(len(dispatch.push), 1))]
        pushed = ranges if dispatch.push else []
        set_layouts = [self._set_layout]
        pipeline_layout = vk.VkPipelineLayoutCreateInfo(pSetLayouts=set_layouts, pPushConstantRanges=pushed)
        self.layout = vk.vkCreatePipelineLayout(device, pipeline_layout, None)
        room = vk.VkDescriptorPoolSize(type=storage, descriptorCount=count * sets)
        rooms = [room]
        self._pool = vk.vkCreateDescriptorPool(
            device, vk.VkDescriptorPoolCreateInfo(maxSets=sets, pPoolSizes=rooms), None
        )
        self.handle = self._compile(dispatch)

    def _compile(self, dispatch: Dispatch) -> Any:
        vk, device = self._vk, self._device
        code = code_of(dispatch.shader)
        module_info = vk.VkShaderModuleCreateInfo(codeSize=len(code), pCode=code)
        module = vk.vkCreateShaderModule(device, module_info, None)
        words = vk.ffi.new("uint32_t[]", list(dispatch.constants) or [0])
        entries = [
            vk.VkSpecializationMapEntry(constantID=i, offset=4 * i, size=4) for i in range(len(dispatch.constants))
        ]
        special = vk.VkSpecializationInfo(pMapEntries=entries, dataSize=4 * len(dispatch.constants), pData=words)
        stage = vk.VkPipelineShaderStageCreateInfo(
            stage=vk.VK_SHADER_STAGE_COMPUTE_BIT, module=module, pName="main", pSpecializationInfo=special
        )
        info = vk.VkComputePipelineCreateInfo(stage=stage, layout=self.layout)
        infos = [info]
        handle = vk.vkCreateComputePipelines(device, None, 1, infos, None)[0]
        vk.vkDestroyShaderModule(device, module, None)
        return handle

    def bind(self, buffers: Sequence[DeviceBuffer]) -> Any:
        """A descriptor set with these buffers at bindings 0, 1, …; it lives as long as the pipeline."""
        vk, device = self._vk, self._device
        layouts = [self._set_layout]
        allocation = vk.VkDescriptorSetAllocateInfo(descriptorPool=self._pool, pSetLayouts=layouts)
        bound = vk.vkAllocateDescriptorSets(device, allocation)[0]
        infos = [[vk.VkDescriptorBufferInfo(buffer=buffer.handle, offset=0, range=buffer.size)] for buffer in buffers]
        writes = [
            vk.VkWriteDescriptorSet(
                dstSet=bound,
                dstBinding=i,
                dstArrayElement=0,
                descriptorCount=1,
                descriptorType=vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                pBufferInfo=info,
            )
            for i, info in enumerate(infos)
        ]
        vk.vkUpdateDescriptorSets(device, len(writes), writes, 0, None)
        return bound

    def close(self) -> None:
        """Free everything that the constructor made."""
        vk, device = self._vk, self._device
        vk.vkDestroyPipeline(device, self.handle, None)
        vk.vkDestroyDescriptorPool(device, self._pool, None)
        vk.vkDestroyPipelineLayout(device, self.layout, None)
        vk.vkDestroyDescriptorSetLayout(device, self._set_layout, None)
