"""What a way of running kernels must offer: devices, what is missing, and kernels that are run, read back and timed.

A backend is one folder that implements `Backend`, and one line in `BACKENDS`. It is imported when it is asked for, and
imports its runtime (vulkan, cupy, torch) only inside its functions, so that asking what is missing always works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy.typing as npt

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import did_you_mean

if TYPE_CHECKING:
    from simexplore.kernels.problems import Problem
    from simexplore.kernels.suites import Case

Arrays = Mapping[str, npt.NDArray[Any]]
"""Operands or results of a kernel, by the names that its problem (`kernels.problems`) gives them."""

DeviceKind = Literal["discrete GPU", "integrated GPU", "virtual GPU", "CPU", "none"]


@dataclass(frozen=True)
class MatrixShape:
    """A product m x k by k x n that matrix units compute at once."""

    m: int
    n: int
    k: int
    dtype: str
    """Of the operands."""
    sum_dtype: str
    """Of what is summed."""


@dataclass(frozen=True)
class Device:
    """One device that a backend can run kernels on."""

    backend: str
    index: int
    """Position among the backend's devices: what `--device` takes."""
    name: str
    """As the driver reports it; the `device` column of measurements."""
    kind: DeviceKind
    driver: str
    features: frozenset[str] = frozenset()
    """What kernels may use, e.g. `fp16`, `int8`, `cooperative_matrix`, `sm_90a`. A case names what it needs."""
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Sizes in SI or counts: `cores`, `shared_memory_bytes`, `max_buffer_bytes`, …; by backend."""
    matrix_shapes: tuple[MatrixShape, ...] = ()
    """What its matrix units multiply, where the driver tells it (Vulkan's cooperative matrices)."""

    @property
    def noise_only_adds(self) -> bool:
        """On a CPU other processes take time and never give any: low quantiles are the best estimate there."""
        return self.kind == "CPU"


@dataclass(frozen=True)
class Missing:
    """Something that is not here, and the command or step that mends it."""

    what: str
    mend: str


@dataclass(frozen=True)
class Report:
    """What a backend finds on this machine."""

    backend: str
    devices: tuple[Device, ...] = ()
    missing: tuple[Missing, ...] = ()
    """Why there are no devices, or which abilities the present ones lack."""


@dataclass(frozen=True)
class Sample:
    """One timing: the mean over some launches back to back."""

    time_s: float
    """Of one launch [s], by the device's clock where it has one."""
    extra: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What else was read, e.g. `cpu_s` (CPU time a launch), `cycles`, `power_w`; medians become columns of the row."""


class Prepared(Protocol):
    """A kernel compiled, with its buffers on the device."""

    def run(self, inputs: Arrays) -> Arrays:
        """Upload the inputs, launch once, wait, and read the results back. Inputs stay on the device for `sample`."""
        ...

    def sample(self, launches: int) -> Sample:
        """Time this many launches back to back, inputs as `run` left them."""
        ...

    def close(self) -> None:
        """Free buffers and code. Safe to call twice."""
        ...


class Session(Protocol):
    """An open device. A context manager: leaving it frees everything."""

    device: Device
    problems: Mapping[str, Problem]
    """Inputs and references of the backend's own micro-benchmarks, by `op`; operators are in `kernels.problems`."""

    def prepare(self, case: Case) -> Prepared:
        """Compile a case's kernel and allocate its buffers.

        Raises SimexploreError where this backend has no such kernel, or the device lacks what it needs.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Plain data for the sidecar: driver, clocks, versions."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Backend(Protocol):
    """A runtime: Vulkan, CUDA, torch, or the null backend of tests."""

    name: str

    def report(self) -> Report:
        """Devices found and what is missing. Never raises for what is absent."""
        ...

    def open(self, index: int = 0) -> Session:
        """A session on a device. Raises SimexploreError that says how to mend it where there is no such device."""
        ...


BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "vulkan": "simexplore.kernels.vulkan.device:VulkanBackend",
        "cuda": "simexplore.kernels.cuda.device:CudaBackend",
        "torch": "simexplore.kernels.torch_.device:TorchBackend",
        "null": "simexplore.kernels.null.device:NullBackend",
    }
)
"""Name → `module:class`, one line a backend; a class without arguments that is a `Backend`."""


def backend_of(name: str) -> Backend:
    """A backend by name. Raises SimexploreError that names those that exist."""
    if name not in BACKENDS:
        raise SimexploreError(
            f"--backend: expected one of {', '.join(BACKENDS)}, found {name!r}{did_you_mean(name, BACKENDS)}"
        )
    module, _, factory = BACKENDS[name].partition(":")
    backend: Backend = getattr(import_module(module), factory)()
    return backend


def no_device(report: Report, index: int) -> SimexploreError:
    """The error for a device that is not there: what is missing, or which devices there are."""
    if not report.devices:
        lacks = "; ".join(f"{missing.what}: {missing.mend}" for missing in report.missing)
        return SimexploreError(f"{report.backend}: no device found: {lacks or 'simexplore devices says more'}")
    names = ", ".join(f"{device.index} ({device.name})" for device in report.devices)
    return SimexploreError(f"{report.backend}: expected a device among {names}, found {index}")
