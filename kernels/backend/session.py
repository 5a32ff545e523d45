"""What a backend offers: sessions on its devices, and kernels that are run, read back and timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device, Report
from simexplore.kernels.backend.problem import Arrays, Problem


class Closing(ABC):
    """A context manager whose leaving is `close`."""

    @abstractmethod
    def close(self) -> None:
        """Free everything. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


class Session(Closing):
    """An open device. Leaving it as a context manager frees everything."""

    device: Device
    problems: Mapping[str, Problem] = MappingProxyType({})
    """Inputs and references of the backend's own micro-benchmarks, by `op`; operators are in `kernels.problems`."""

    @abstractmethod
    def prepare(self, case: Case) -> Prepared:
        """Compile a case's kernel and allocate its buffers.

        Raises SimexploreError where this backend has no such kernel, or the device lacks what it needs.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain data for the sidecar: driver, clocks, versions."""

    def need_features(self, case: Case) -> None:
        """Raise SimexploreError where the device lacks a feature that the case requires."""
        lacks = case.requires - self.device.features
        if lacks:
            raise SimexploreError(f"{case.key}: {self.device.name} has no {', '.join(sorted(lacks))}")


class Backend(Protocol):
    """A runtime: Vulkan, CUDA, torch, or the null backend of tests."""

    name: str

    def report(self) -> Report:
        """Devices found and what is missing. Never raises for what is absent."""
        ...

    def open(self, index: int = 0) -> Session:
        """A session on a device. Raises SimexploreError that says how to mend it where there is no such device."""
        ...
