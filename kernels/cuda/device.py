"""The CUDA backend: GPUs, sessions, and kernels that are checked, replayed as graphs and timed by events."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device, Missing, Report, no_device
from simexplore.kernels.backend.problem import Array, Arrays, Problem
from simexplore.kernels.backend.session import Sample, Session
from simexplore.kernels.cuda import cublas
from simexplore.kernels.cuda.problems import PROBLEMS
from simexplore.kernels.cuda.programs import Program, program_of
from simexplore.kernels.cuda.runtime.compiler import nvrtc_version
from simexplore.kernels.cuda.runtime.driver import CudaMissingError, Driver, bindings
from simexplore.kernels.cuda.runtime.encode import decode, encode
from simexplore.kernels.cuda.runtime.launching import launcher_of
from simexplore.kernels.cuda.runtime.nvml import Monitor

FLUSH_SHARE = 2.0
"""Bytes written to flush L2, over its capacity, before each launch of a case whose option `cold` is 1."""


class CudaBackend:
    """NVIDIA GPUs through the driver API."""

    name = "cuda"

    def report(self) -> Report:
        """GPUs found, and what is missing: bindings, driver, compiler."""
        try:
            api = bindings()
            devices = tuple(_describe(api, index) for index in range(int(api.cuDeviceGetCount()[1])))
        except CudaMissingError as error:
            return Report(self.name, missing=(error.missing,))
        missing = () if cublas.is_here() else (cublas.MISSING,)
        try:
            nvrtc_version()
        except SimexploreError as error:
            missing = (Missing("NVRTC", str(error)), *missing)
        return Report(self.name, devices, missing)

    def open(self, index: int = 0) -> CudaSession:
        """A session on one GPU. Raises SimexploreError where something is missing or there is no such GPU."""
        report = self.report()
        if not 0 <= index < len(report.devices):
            raise no_device(report, index)
        return CudaSession(Driver(bindings(), index), report.devices[index])


def architecture_of(major: int, minor: int) -> str:
    """What to compile for: with the architecture's own instructions (`a`) where tensor cores need them."""
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"


def features_of(major: int, minor: int) -> frozenset[str]:
    """Features that cases ask for, of a compute capability."""
    capability = (major, minor)
    known = {"mma_sync": (8, 0), "fp8": (8, 9), "cluster": (9, 0)}
    features = {name for name, least in known.items() if capability >= least}
    if major == 9:
        features.add("wgmma")
    return frozenset({architecture_of(major, minor), *features})


def _describe(api: Any, index: int) -> Device:
    driver = Driver(api, index)
    try:
        major, minor = (driver.attribute(f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR"))
        limits = {
            "cores": driver.attribute("MULTIPROCESSOR_COUNT"),
            "shared_memory_bytes": driver.attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
            "l2_bytes": driver.attribute("L2_CACHE_SIZE"),
            "memory_bytes": driver.memory_bytes(),
            "clock_hz": driver.attribute("CLOCK_RATE") * 1e3,
        }
        return Device(
            backend="cuda",
            index=index,
            name=driver.name,
            kind="integrated GPU" if driver.attribute("INTEGRATED") else "discrete GPU",
            driver=driver.version(),
            features=features_of(major, minor) | ({"cublas"} if cublas.is_here() else set()),
            limits=MappingProxyType({name: float(value) for name, value in limits.items()}),
        )
    finally:
        driver.close()


class CudaKernel:
    """One program with its buffers on the GPU."""

    def __init__(self, driver: Driver, monitor: Monitor, case: Case, program: Program, architecture: str) -> None:
        self._driver, self._monitor, self._case, self._program = driver, monitor, case, program
        self._launcher = launcher_of(driver, case, program, architecture)
        self._buffers: dict[str, Any] = {}
        self._graphs: dict[int, Any] = {}
        self._flush: tuple[Any, int] | None = None

    def run(self, inputs: Arrays) -> Arrays:
        """Upload, launch once, and read all outputs back."""
        driver, program = self._driver, self._program
        self._free_buffers()
        for name, (shape, kind) in program.outputs.items():
            self._buffers[name] = driver.allocate(int(np.prod(shape)) * np.dtype(kind).itemsize)
        for name in program.inputs:
            array = inputs[name].T if name in program.transposed else inputs[name]
            stored = encode(array, self._case.dtype)
            self._buffers[name] = driver.allocate(stored.nbytes)
            driver.upload(self._buffers[name], stored)
        self._launcher.bind(self._buffers)
        self._launcher.launch()
        driver.wait()
        return {name: decode(self._read(name), program.result_dtype) for name in program.outputs}

    def sample(self, launches: int) -> Sample:
        """Time launches back to back: one replay of a graph of them; cold ones one by one with L2 flushed between."""
        driver = self._driver
        if self._case.options.get("cold"):
            time_s = self._cold(launches)
        elif self._case.options.get("stream"):
            driver.begin_time()
            for _ in range(launches):
                self._launcher.launch()
            time_s = driver.end_time() / launches
        else:
            graph = self._graph(launches)
            driver.begin_time()
            driver.replay(graph)
            time_s = driver.end_time() / launches
        return Sample(time_s, {**self._cycles(), **self._launcher.extra(), **self._monitor.read()})

    def close(self) -> None:
        """Free graphs, buffers and code. Safe to call twice."""
        self._free_buffers()
        self._launcher.close()

    def _read(self, name: str) -> Array:
        shape, kind = self._program.outputs[name]
        return self._driver.download(self._buffers[name], np.empty(shape, dtype=kind))

    def _graph(self, launches: int) -> Any:
        if launches not in self._graphs:
            self._driver.begin_capture()
            for _ in range(launches):
                self._launcher.launch()
            self._graphs[launches] = self._driver.end_capture()
        return self._graphs[launches]

    def _cold(self, launches: int) -> float:
        """Mean time of launches that find nothing of their operands in L2 [s]."""
        driver, total = self._driver, 0.0
        if self._flush is None:
            size = int(FLUSH_SHARE * driver.attribute("L2_CACHE_SIZE"))
            self._flush = (driver.allocate(size), size)
        for _ in range(launches):
            driver.clear(*self._flush)
            driver.begin_time()
            self._launcher.launch()
            total += driver.end_time()
        return total / launches

    def _cycles(self) -> dict[str, float]:
        """Clocks that the CTAs of the last launch counted, where the kernel counts."""
        if "cycles" not in self._program.outputs:
            return {}
        cycles = self._read("cycles").astype(np.float64)
        return {
            "cycles": float(np.median(cycles)),
            "cycles_low": float(cycles.min()),
            "cycles_high": float(cycles.max()),
        }

    def _free_buffers(self) -> None:
        for graph in self._graphs.values():
            self._driver.free_graph(graph)
        flush = [self._flush[0]] if self._flush is not None else []
        for pointer in (*self._buffers.values(), *flush):
            self._driver.free(pointer)
        self._graphs, self._buffers, self._flush = {}, {}, None


class CudaSession(Session):
    """An open GPU. Leaving it as a context manager frees everything."""

    problems: Mapping[str, Problem] = PROBLEMS

    def __init__(self, driver: Driver, device: Device) -> None:
        self._driver, self.device = driver, device
        bus = (driver.attribute(f"PCI_{part}_ID") for part in ("DOMAIN", "BUS", "DEVICE"))
        self._monitor = Monitor("{:08x}:{:02x}:{:02x}.0".format(*bus))
        self._architecture = next(name for name in device.features if name.startswith("sm_"))
        self._kernels: list[CudaKernel] = []

    def prepare(self, case: Case) -> CudaKernel:
        """Compile the case's kernel. Raises SimexploreError where it can't run here."""
        self.need_features(case)
        kernel = CudaKernel(self._driver, self._monitor, case, program_of(case), self._architecture)
        self._kernels.append(kernel)
        return kernel

    def describe(self) -> dict[str, Any]:
        """Driver, compiler, limits, and clocks and power at rest."""
        major, minor = nvrtc_version()
        return {
            "driver": self.device.driver,
            "nvrtc": f"{major}.{minor}",
            "features": sorted(self.device.features),
            "limits": dict(self.device.limits),
            "at_rest": self._monitor.read(),
            "clock": "events around one replay of a CUDA graph of all launches of a sample",
        }

    def close(self) -> None:
        """Free kernels and give the GPU back."""
        for kernel in self._kernels:
            kernel.close()
        self._kernels = []
        self._monitor.close()
        self._driver.close()
