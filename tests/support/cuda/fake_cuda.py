# ruff: noqa: N802 - names are those of the driver
"""A CUDA driver without a GPU: memory in numpy, streams that record, and one kernel that copies. For tests."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 9,
    "COMPUTE_CAPABILITY_MINOR": 0,
    "MULTIPROCESSOR_COUNT": 4,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448,
    "L2_CACHE_SIZE": 4096,
    "CLOCK_RATE": 1_980_000,
    "INTEGRATED": 0,
    "PCI_DOMAIN_ID": 0,
    "PCI_BUS_ID": 7,
    "PCI_DEVICE_ID": 0,
}


class Attributes:
    def __getattr__(self, name: str) -> str:
        return name.removeprefix("CU_DEVICE_ATTRIBUTE_")


class FakeCuda:
    """The functions of `cuda.bindings.driver` that are used, each returning (code, results…)."""

    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED=2)
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    CUdevice_attribute = Attributes()

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.memory: dict[int, Any] = {}
        self.alive: dict[str, int] = {}
        """Objects that were made and not yet destroyed, by kind."""
        self.launches = 0
        self.fails: str | None = None
        self._capture: list[tuple[int, int]] | None = None
        self._graphs: dict[int, list[tuple[int, int]]] = {}

    def __getattr__(self, name: str) -> Any:
        """Whatever is not below makes, destroys or does something that has no result."""
        made = {"cuStreamCreate": "stream", "cuEventCreate": "event", "cuDevicePrimaryCtxRetain": "context",
                "cuModuleLoadData": "module"}  # fmt: skip
        gone = {"cuStreamDestroy": "stream", "cuEventDestroy": "event", "cuDevicePrimaryCtxRelease": "context",
                "cuModuleUnload": "module", "cuGraphExecDestroy": "graph"}  # fmt: skip
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*_: Any) -> tuple[Any, ...]:
            if name == self.fails:
                return (700,)
            if name in made:
                self.alive[made[name]] = self.alive.get(made[name], 0) + 1
                return 0, 1
            if name in gone:
                self.alive[gone[name]] -= 1
            return (0,)

        return call

    def cuGetErrorName(self, code: int) -> tuple[int, bytes]:
        return 0, b"CUDA_ERROR_ILLEGAL_ADDRESS"

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return 0, self.devices

    def cuDeviceGet(self, index: int) -> tuple[int, int]:
        return 0, index

    def cuDeviceGetName(self, size: int, device: int) -> tuple[int, bytes]:
        return 0, b"NVIDIA Fake".ljust(size, b"\0")

    def cuDeviceTotalMem(self, device: int) -> tuple[int, int]:
        return 0, 1 << 30

    def cuDriverGetVersion(self) -> tuple[int, int]:
        return 0, 13000

    def cuDeviceGetAttribute(self, name: str, device: int) -> tuple[int, int]:
        return 0, ATTRIBUTES[name]

    def cuMemAlloc(self, size: int) -> tuple[int, int]:
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def cuMemFree(self, pointer: int) -> tuple[int]:
        del self.memory[pointer]
        return (0,)

    def cuMemcpyHtoDAsync(self, pointer: int, source: int, size: int, stream: Any) -> tuple[int]:
        ctypes.memmove(pointer, source, size)
        return (0,)

    def cuMemcpyDtoHAsync(self, target: int, pointer: int, size: int, stream: Any) -> tuple[int]:
        ctypes.memmove(target, pointer, size)
        return (0,)

    def cuModuleGetFunction(self, module: Any, name: bytes) -> tuple[int, bytes]:
        return 0, name

    def cuLaunchKernel(self, kernel: bytes, *arguments: Any) -> tuple[int]:
        """Copies the second argument's memory over the first's, as far as both go."""
        places = arguments[-2]
        addresses = (ctypes.c_uint64 * 2).from_address(places)
        target, source = (ctypes.c_uint64.from_address(address).value for address in addresses)
        if self._capture is not None:
            self._capture.append((target, source))
        else:
            self._copy(target, source)
        return (0,)

    def cuStreamBeginCapture(self, stream: Any, mode: int) -> tuple[int]:
        self._capture = []
        return (0,)

    def cuStreamEndCapture(self, stream: Any) -> tuple[int, list[tuple[int, int]]]:
        recorded, self._capture = self._capture or [], None
        return 0, recorded

    def cuGraphInstantiate(self, graph: list[tuple[int, int]], flags: int) -> tuple[int, int]:
        self.alive["graph"] = self.alive.get("graph", 0) + 1
        self._graphs[len(self._graphs)] = graph
        return 0, len(self._graphs) - 1

    def cuGraphLaunch(self, graph: int, stream: Any) -> tuple[int]:
        for target, source in self._graphs[graph]:
            self._copy(target, source)
        return (0,)

    def cuEventElapsedTime(self, start: Any, end: Any) -> tuple[int, float]:
        return 0, 0.5

    def _copy(self, target: int, source: int) -> None:
        self.launches += 1
        ctypes.memmove(target, source, min(len(self.memory[target]), len(self.memory[source])))
