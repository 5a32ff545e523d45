"""A program on a device: its pipelines, descriptor sets, buffers and recorded command buffers."""

from __future__ import annotations

from time import perf_counter, process_time
from typing import Any

import numpy as np

from simexplore.kernels.backend.problem import Arrays
from simexplore.kernels.backend.session import Sample
from simexplore.kernels.vulkan.program import DTYPES, Dispatch, Program
from simexplore.kernels.vulkan.runtime.memory import DeviceBuffer
from simexplore.kernels.vulkan.runtime.opened import OpenDevice
from simexplore.kernels.vulkan.runtime.pipeline import Pipeline


class VulkanKernel:
    """One program, ready to run. Fulfils `kernels.backend.session.Prepared`."""

    def __init__(self, opened: OpenDevice, program: Program) -> None:
        self._opened, self._program = opened, program
        self._buffers: dict[str, DeviceBuffer] = {}
        self._pipelines: dict[tuple[str, tuple[int, ...]], Pipeline] = {}
        self._steps: list[tuple[Dispatch, Pipeline, Any]] = []
        self._recorded: tuple[int, Any] | None = None
        self._closed = False
        try:
            for buffer in program.buffers:
                self._buffers[buffer.name] = opened.buffer(buffer.bytes, on_host=False)
            self._make_pipelines()
        except BaseException:
            self.close()
            raise

    def _make_pipelines(self) -> None:
        dispatches = self._program.dispatches
        for dispatch in dispatches:
            key = dispatch.shader, dispatch.constants
            if key not in self._pipelines:
                sets = sum(1 for other in dispatches if (other.shader, other.constants) == key)
                self._pipelines[key] = Pipeline(self._opened, dispatch, sets)
            pipeline = self._pipelines[key]
            bound = pipeline.bind([self._buffers[name] for name in dispatch.buffers])
            self._steps.append((dispatch, pipeline, bound))

    def run(self, inputs: Arrays) -> Arrays:
        """Upload, launch once, read the results back."""
        opened = self._opened
        for buffer in self._program.buffers:
            if buffer.role == "in":
                array = np.ascontiguousarray(inputs[buffer.name], dtype=DTYPES[buffer.dtype]).reshape(buffer.shape)
                staging = opened.buffer(buffer.bytes, on_host=True)
                staging.write(array)
                self._copy(staging, self._buffers[buffer.name])
                staging.close()
        self.sample(1)
        results = {}
        for buffer in self._program.buffers:
            if buffer.role == "out":
                staging = opened.buffer(buffer.bytes, on_host=True)
                self._copy(self._buffers[buffer.name], staging)
                results[buffer.name] = staging.read(DTYPES[buffer.dtype], buffer.shape)
                staging.close()
        return results

    def sample(self, launches: int) -> Sample:
        """Mean time of `launches` runs of the program, each after a barrier; `cpu_us` is the process's CPU time.

        Recording is not timed: it is done before, and kept for the next sample of as many launches. On a CPU, where
        other processes take the cores away, the time is the lesser of the device's clock and the CPU time spread over
        the cores: a launch alone on the machine takes no longer than either.
        """
        opened = self._opened
        commands = self._commands(launches)
        began, cpu_began = perf_counter(), process_time()
        opened.submit(commands)
        cpu_s, wall_s = process_time() - cpu_began, perf_counter() - began
        seconds = opened.stamped_s() if "timestamps" in opened.device.features else wall_s
        if opened.device.kind == "CPU":
            seconds = min(seconds, cpu_s * self._busiest_share)
        return Sample(seconds / launches, {"cpu_us": cpu_s / launches * 1e6})

    @property
    def _busiest_share(self) -> float:
        """Share of the work-groups that falls to the busiest core, of the dispatch with most of them."""
        groups = max(int(np.prod(dispatch.groups)) for dispatch, _, _ in self._steps)
        return float(np.ceil(groups / self._opened.device.limits["cores"])) / groups

    def _commands(self, launches: int) -> Any:
        if self._recorded is not None and self._recorded[0] == launches:
            return self._recorded[1]
        self._forget()
        vk, opened = self._opened.vk, self._opened
        commands = opened.command_buffer()
        vk.vkBeginCommandBuffer(commands, vk.VkCommandBufferBeginInfo())
        vk.vkCmdResetQueryPool(commands, opened.stamps, 0, 2)
        vk.vkCmdWriteTimestamp(commands, vk.VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, opened.stamps, 0)
        barrier = vk.VkMemoryBarrier(
            srcAccessMask=vk.VK_ACCESS_SHADER_WRITE_BIT,
            dstAccessMask=vk.VK_ACCESS_SHADER_READ_BIT | vk.VK_ACCESS_SHADER_WRITE_BIT,
        )
        stage = vk.VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT
        pushes = [vk.ffi.new("uint32_t[]", dispatch.push) for dispatch, _, _ in self._steps]
        for _ in range(launches):
            for (dispatch, pipeline, bound), push in zip(self._steps, pushes, strict=True):
                vk.vkCmdBindPipeline(commands, vk.VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle)
                vk.vkCmdBindDescriptorSets(
                    commands, vk.VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, [bound], 0, None
                )
                if dispatch.push:
                    size = 4 * len(dispatch.push)
                    vk.vkCmdPushConstants(commands, pipeline.layout, vk.VK_SHADER_STAGE_COMPUTE_BIT, 0, size, push)
                vk.vkCmdDispatch(commands, *dispatch.groups)
                vk.vkCmdPipelineBarrier(commands, stage, stage, 0, 1, [barrier], 0, None, 0, None)
        vk.vkCmdWriteTimestamp(commands, vk.VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, opened.stamps, 1)
        vk.vkEndCommandBuffer(commands)
        self._recorded = (launches, commands)
        return commands

    def _copy(self, source: DeviceBuffer, target: DeviceBuffer) -> None:
        vk, opened = self._opened.vk, self._opened
        commands = opened.command_buffer()
        begin = vk.VkCommandBufferBeginInfo(flags=vk.VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT)
        vk.vkBeginCommandBuffer(commands, begin)
        everything = vk.VkMemoryBarrier(
            srcAccessMask=vk.VK_ACCESS_MEMORY_WRITE_BIT,
            dstAccessMask=vk.VK_ACCESS_MEMORY_READ_BIT | vk.VK_ACCESS_MEMORY_WRITE_BIT,
        )
        anywhere = vk.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
        vk.vkCmdPipelineBarrier(commands, anywhere, anywhere, 0, 1, [everything], 0, None, 0, None)
        region = vk.VkBufferCopy(srcOffset=0, dstOffset=0, size=source.size)
        vk.vkCmdCopyBuffer(commands, source.handle, target.handle, 1, [region])
        vk.vkCmdPipelineBarrier(commands, anywhere, anywhere, 0, 1, [everything], 0, None, 0, None)
        vk.vkEndCommandBuffer(commands)
        opened.submit(commands)
        opened.free_commands(commands)

    def _forget(self) -> None:
        if self._recorded is not None:
            self._opened.free_commands(self._recorded[1])
            self._recorded = None

    def close(self) -> None:
        """Free buffers, pipelines and commands. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._forget()
        for pipeline in self._pipelines.values():
            pipeline.close()
        for buffer in self._buffers.values():
            buffer.close()
