"""The torch backend: the CPU, and each CUDA GPU that PyTorch sees."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import import_module
from time import perf_counter, process_time
from types import MappingProxyType
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device, Missing, Report, no_device
from simexplore.kernels.backend.problem import Arrays, Problem
from simexplore.kernels.backend.session import Sample, Session
from simexplore.kernels.torch_.kernels import CALLS, DTYPES, Tensors
from simexplore.kernels.torch_.problems import PROBLEMS

INSTALL = "pip install torch"


def _torch() -> Any | None:
    """The module; None where it is not installed."""
    try:
        return import_module("torch")
    except (ImportError, OSError):
        return None


class TorchBackend:
    """PyTorch, imported when it is asked for."""

    name = "torch"

    def report(self) -> Report:
        """The CPU and the CUDA GPUs, or that PyTorch is missing."""
        torch = _torch()
        if torch is None:
            return Report(self.name, missing=(Missing("the package torch", INSTALL),))
        gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
        missing = () if gpus else (Missing("a CUDA GPU for PyTorch", "an NVIDIA driver, and a torch built for CUDA"),)
        return Report(self.name, (_cpu(torch), *(_gpu(torch, index) for index in gpus)), missing)

    def open(self, index: int = 0) -> TorchSession:
        """A session on the CPU (0) or a GPU (from 1). Raises SimexploreError where there is none of that number."""
        report = self.report()
        if not 0 <= index < len(report.devices):
            raise no_device(report, index)
        return TorchSession(_torch(), report.devices[index])


def _cpu(torch: Any) -> Device:
    name = f"{platform.processor() or platform.machine()} CPU"
    limits = {"cores": float(torch.get_num_threads())}
    return Device("torch", 0, name, "CPU", f"torch {torch.__version__}", limits=MappingProxyType(limits))


def _gpu(torch: Any, index: int) -> Device:
    given = torch.cuda.get_device_properties(index)
    capability = (given.major, given.minor)
    features = {"cuda"} | ({"fp8"} if capability >= (8, 9) else set()) | ({"tf32"} if capability >= (8, 0) else set())
    limits = {"cores": float(given.multi_processor_count), "memory_bytes": float(given.total_memory)}
    driver = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    return Device("torch", index + 1, given.name, "discrete GPU", driver, frozenset(features), MappingProxyType(limits))


class TorchKernel:
    """One call with its tensors on the device. On a GPU it is captured once and replayed, as a graph."""

    def __init__(self, torch: Any, case: Case, place: str) -> None:
        self._torch, self._case, self._place = torch, case, place
        self._inputs: Tensors = {}
        self._graph: Any = None

    def run(self, inputs: Arrays) -> Arrays:
        """Upload, call once, and read the results back as float32, or int32 where they are integers."""
        torch = self._torch
        dtype = getattr(torch, DTYPES[self._case.dtype])
        self._inputs = {name: torch.from_numpy(array).to(self._place, dtype) for name, array in inputs.items()}
        self._graph = None
        with torch.inference_mode():
            results = self._call()
        return {name: self._array(tensor) for name, tensor in results.items()}

    def sample(self, launches: int) -> Sample:
        """Time back to back calls: events around replays of a graph on a GPU, the host's clock on a CPU."""
        with self._torch.inference_mode():
            return self._sample_cpu(launches) if self._place == "cpu" else self._sample_gpu(launches)

    def close(self) -> None:
        """Free the tensors."""
        self._inputs, self._graph = {}, None

    def _call(self) -> dict[str, Any]:
        self._torch.backends.cuda.matmul.allow_tf32 = self._case.dtype == "tf32"
        self._torch.backends.cudnn.allow_tf32 = self._case.dtype == "tf32"
        return CALLS[self._case.op](self._torch, self._case, self._inputs)

    def _array(self, tensor: Any) -> Any:
        torch = self._torch
        if tensor.dtype == torch.float64:
            return tensor.cpu().numpy()
        return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int32).cpu().numpy()

    def _sample_cpu(self, launches: int) -> Sample:
        wall, cpu = perf_counter(), process_time()
        for _ in range(launches):
            self._call()
        return Sample((perf_counter() - wall) / launches, {"cpu_s": (process_time() - cpu) / launches})

    def _sample_gpu(self, launches: int) -> Sample:
        cuda = self._torch.cuda
        with cuda.device(self._place):
            if self._graph is None:
                self._graph = self._captured()
            start, end = (cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(launches):
                self._graph.replay()
            end.record()
            end.synchronize()
            return Sample(start.elapsed_time(end) * 1e-3 / launches)

    def _captured(self) -> Any:
        """The call as a CUDA graph; called a few times before, on a side stream, as capture wants it."""
        cuda = self._torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(3):
                self._call()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            self._call()
        return graph


class TorchSession(Session):
    """PyTorch on one device."""

    problems: Mapping[str, Problem] = PROBLEMS

    def __init__(self, torch: Any, device: Device) -> None:
        self._torch, self.device = torch, device
        self._place = "cpu" if device.kind == "CPU" else f"cuda:{device.index - 1}"

    def prepare(self, case: Case) -> TorchKernel:
        """A call made ready. Raises SimexploreError for operators that have no line in `CALLS`, or that can't run."""
        if case.op not in CALLS:
            raise SimexploreError(f"{case.key}: torch has no call for {case.op}; it has {', '.join(CALLS)}")
        self.need_features(case)
        return TorchKernel(self._torch, case, self._place)

    def describe(self) -> dict[str, Any]:
        """Versions and threads."""
        torch = self._torch
        versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
        if self._place != "cpu":
            versions |= {"cudnn": torch.backends.cudnn.version(), "clock": "events around replays of a CUDA graph"}
        return versions

    def close(self) -> None:
        """Free what PyTorch caches on the GPU."""
        if self._place != "cpu":
            self._torch.cuda.empty_cache()
