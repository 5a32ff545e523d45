"""What is measured: cases (one kernel at one size) and suites (lists of cases, drawn for a device and a seed).

A suite is one function `(device, seed) -> list[Case]` and one line in `SUITES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.workloads.hints import did_you_mean

CasesOf = Callable[[Device, int], Sequence[Case]]

SUITES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("vulkan", "micro"): "simexplore.kernels.vulkan.suites:micro",
        ("vulkan", "gemm"): "simexplore.kernels.vulkan.suites:gemm",
        ("vulkan", "neural"): "simexplore.kernels.vulkan.suites:neural_graphics",
        ("vulkan", "calibration"): "simexplore.kernels.vulkan.suites:calibration",
        ("vulkan", "exam"): "simexplore.kernels.vulkan.suites:exam",
        ("cuda", "micro"): "simexplore.kernels.cuda.suites:micro",
        ("cuda", "gemm"): "simexplore.kernels.cuda.suites:gemm",
        ("cuda", "hopper"): "simexplore.kernels.cuda.suites:hopper",
        ("torch", "micro"): "simexplore.kernels.torch_.suites:micro",
        ("torch", "gemm"): "simexplore.kernels.torch_.suites:gemm",
        ("torch", "attention"): "simexplore.kernels.torch_.suites:attention",
        ("torch", "conv"): "simexplore.kernels.torch_.suites:conv",
        ("torch", "pointwise"): "simexplore.kernels.torch_.suites:pointwise",
        ("null", "micro"): "simexplore.kernels.null.device:micro",
    }
)
"""(backend, suite) → `module:function`, one line a suite."""


def suites_of(backend: str) -> list[str]:
    """Names of the suites that a backend has."""
    return [suite for owner, suite in SUITES if owner == backend]


def cases_of(suite: str, device: Device, seed: int) -> tuple[list[Case], list[Case]]:
    """The cases of a suite that the device can run, and those that it can't for lack of a feature.

    Raises:
        SimexploreError: the device's backend has no such suite; names those that it has.
    """
    where = SUITES.get((device.backend, suite))
    if where is None:
        known = suites_of(device.backend)
        raise SimexploreError(
            f"--suite: expected for {device.backend} one of {', '.join(known)}, "
            f"found {suite!r}{did_you_mean(suite, known)}"
        )
    module, _, function = where.partition(":")
    drawn: CasesOf = getattr(import_module(module), function)
    cases = list(drawn(device, seed))
    keys = {case.key for case in cases}
    if len(keys) != len(cases):
        raise ValueError(f"suite {suite}: two cases have the same key")
    able = [case for case in cases if case.requires <= device.features]
    return able, [case for case in cases if not case.requires <= device.features]
