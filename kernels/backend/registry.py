"""Backends by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.session import Backend
from simexplore.workloads.hints import did_you_mean

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
