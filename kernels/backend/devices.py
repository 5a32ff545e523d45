"""Devices that kernels can run on, and what is missing for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from simexplore.errors import SimexploreError

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


def no_device(report: Report, index: int) -> SimexploreError:
    """The error for a device that is not there: what is missing, or which devices there are."""
    if not report.devices:
        lacks = "; ".join(f"{missing.what}: {missing.mend}" for missing in report.missing)
        return SimexploreError(f"{report.backend}: no device found: {lacks or 'simexplore devices says more'}")
    names = ", ".join(f"{device.index} ({device.name})" for device in report.devices)
    return SimexploreError(f"{report.backend}: expected a device among {names}, found {index}")
