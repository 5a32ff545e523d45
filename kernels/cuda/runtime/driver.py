"""The few calls of the CUDA driver API that measuring takes, its errors in words. Needs the package cuda-bindings."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.devices import Missing

Array: TypeAlias = npt.NDArray[Any]
Grid: TypeAlias = tuple[int, int, int]

INSTALL = "pip install 'simexplore[cuda]'"


class CudaMissingError(SimexploreError):
    """CUDA is not here; `missing` says what and how to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"cuda: {what} is missing: {mend}")
        self.missing = Missing(what, mend)


def bindings() -> ModuleType:
    """The driver API, initialised. Raises CudaMissingError where the package or the driver is missing."""
    try:
        api = import_module("cuda.bindings.driver")
    except ImportError:
        raise CudaMissingError("the package cuda-bindings", INSTALL) from None
    try:
        (code,) = api.cuInit(0)
    except (RuntimeError, OSError):  # its ways of saying that there is no libcuda
        raise CudaMissingError("the NVIDIA driver", "install it from your system's packages") from None
    if int(code) != 0:
        raise CudaMissingError("a GPU that the NVIDIA driver can use", f"cuInit said {_name(api, code)}")
    return api


def _name(api: Any, code: Any) -> str:
    text = api.cuGetErrorName(code)[1]
    return text.decode() if isinstance(text, bytes) else str(code)


class Driver:
    """The primary context of one GPU and a stream in it. Everything is freed by `close`."""

    def __init__(self, api: Any, index: int) -> None:
        self._api = api
        self.device = self._call("cuDeviceGet", index)
        self.context = self._call("cuDevicePrimaryCtxRetain", self.device)
        self._call("cuCtxSetCurrent", self.context)
        self.stream = self._call("cuStreamCreate", api.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self._events = [self._call("cuEventCreate", 0) for _ in range(2)]

    def _call(self, name: str, *arguments: Any) -> Any:
        """A call's result; a code that is no success is an error."""
        code, *results = getattr(self._api, name)(*arguments)
        if int(code) != 0:
            raise SimexploreError(f"cuda: {name} failed: {_name(self._api, code)}")
        return results[0] if len(results) == 1 else tuple(results)

    def attribute(self, name: str) -> int:
        """A device attribute by the end of its name, e.g. `MULTIPROCESSOR_COUNT`."""
        kinds = self._api.CUdevice_attribute
        return int(self._call("cuDeviceGetAttribute", getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}"), self.device))

    @property
    def name(self) -> str:
        """The device's name."""
        raw = self._call("cuDeviceGetName", 128, self.device)
        return bytes(raw).split(b"\0")[0].decode()

    def version(self) -> str:
        """The newest CUDA that the driver supports."""
        number = int(self._call("cuDriverGetVersion"))
        return f"CUDA {number // 1000}.{number % 1000 // 10}"

    def memory_bytes(self) -> int:
        """Device memory [B]."""
        return int(self._call("cuDeviceTotalMem", self.device))

    def allocate(self, size: int) -> Any:
        """Device memory of at least one byte, set to zero."""
        pointer = self._call("cuMemAlloc", max(size, 16))
        self._call("cuMemsetD8Async", pointer, 0, max(size, 16), self.stream)
        return pointer

    def free(self, pointer: Any) -> None:
        self._call("cuMemFree", pointer)

    def upload(self, pointer: Any, array: Array) -> None:
        """Copy an array to the device and wait."""
        flat = np.ascontiguousarray(array)
        self._call("cuMemcpyHtoDAsync", pointer, flat.ctypes.data, flat.nbytes, self.stream)
        self.wait()

    def download(self, pointer: Any, array: Array) -> Array:
        """Fill a contiguous array from the device and wait."""
        self._call("cuMemcpyDtoHAsync", array.ctypes.data, pointer, array.nbytes, self.stream)
        self.wait()
        return array

    def clear(self, pointer: Any, size: int) -> None:
        """Write zeros on the stream."""
        self._call("cuMemsetD8Async", pointer, 0, size, self.stream)

    def load(self, code: bytes, entry: str, shared_bytes: int) -> tuple[Any, Any]:
        """A module of machine code, and one of its kernels, allowed that much dynamic shared memory."""
        module = self._call("cuModuleLoadData", code)
        kernel = self._call("cuModuleGetFunction", module, entry.encode())
        if shared_bytes > 48 << 10:
            kinds = self._api.CUfunction_attribute
            limit = kinds.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call("cuFuncSetAttribute", kernel, limit, shared_bytes)
        return module, kernel

    def function(self, name: bytes, since: int) -> int:
        """Address of a function of the driver as the given version of CUDA has it."""
        address, found = self._call("cuGetProcAddress", name, since, 0)
        if int(found) != 0 or not int(address):
            raise SimexploreError(f"cuda: the driver has no {name.decode()}: it needs one for CUDA {since // 1000}")
        return int(address)

    def unload(self, module: Any) -> None:
        self._call("cuModuleUnload", module)

    def launch(self, kernel: Any, grid: Grid, block: Grid, shared_bytes: int, arguments: list[Array]) -> None:
        """Launch on the stream; `arguments` are arrays of one element each, kept by the caller until it has run."""
        places = np.array([argument.ctypes.data for argument in arguments], dtype=np.uint64)
        self._call("cuLaunchKernel", kernel, *grid, *block, shared_bytes, self.stream, places.ctypes.data, 0)

    def wait(self) -> None:
        """Until the stream is empty."""
        self._call("cuStreamSynchronize", self.stream)

    def begin_time(self) -> None:
        self._call("cuEventRecord", self._events[0], self.stream)

    def end_time(self) -> float:
        """Seconds since `begin_time`, by the device's clock; waits."""
        self._call("cuEventRecord", self._events[1], self.stream)
        self._call("cuEventSynchronize", self._events[1])
        return float(self._call("cuEventElapsedTime", *self._events)) * 1e-3

    def begin_capture(self) -> None:
        """Record what is launched from now on instead of running it."""
        self._call("cuStreamBeginCapture", self.stream, self._api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)

    def end_capture(self) -> Any:
        """What was recorded, as a graph that can be replayed."""
        graph = self._call("cuStreamEndCapture", self.stream)
        replay = self._call("cuGraphInstantiate", graph, 0)
        self._call("cuGraphDestroy", graph)
        return replay

    def replay(self, graph: Any) -> None:
        self._call("cuGraphLaunch", graph, self.stream)

    def free_graph(self, graph: Any) -> None:
        self._call("cuGraphExecDestroy", graph)

    def close(self) -> None:
        """Give the context back."""
        for event in self._events:
            self._call("cuEventDestroy", event)
        self._call("cuStreamDestroy", self.stream)
        self._call("cuDevicePrimaryCtxRelease", self.device)
        self._events = []
