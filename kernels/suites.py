"""What is measured: cases (one kernel at one size) and suites (lists of cases, drawn for a device and a seed).

A suite is one function `(device, seed) -> list[Case]` and one line in `SUITES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.kernels.backend import Device
from simexplore.workloads.hints import did_you_mean
from simexplore.workloads.ops import FAMILIES, make_operator

Value = int | str
_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    What it computes (`op`, `params`) is the problem: inputs and the numpy reference come from `kernels.problems` by
    `op`, whatever backend runs it. How (`kernel`, `options`) is the backend's.
    """

    op: str
    """Operator family of `workloads.ops`, or a micro-benchmark's own name such as `pointer_chase`."""
    params: Mapping[str, Value]
    """The operator's parameters by name; `dtype` is among them."""
    kernel: str
    """Variant, a name in the backend's own table of kernels: `gemm_naive`, `gemm_register`, …"""
    options: Mapping[str, int] = field(default_factory=lambda: _NONE)
    """Of the variant: tile, work-group size, … They become columns of the row too."""
    requires: frozenset[str] = frozenset()
    """Features (`Device.features`) without which the device can't run it; such cases are left out and counted."""
    work_flops: float = 0.0
    work_bytes: float = 0.0
    """Of one launch, for rates in the table; by default those of the operator."""

    def __post_init__(self) -> None:
        if "dtype" not in self.params:
            raise ValueError(f"case {self.op}: params need a dtype")
        if self.op in FAMILIES:
            operator = make_operator(self.op, self.params)
            object.__setattr__(self, "work_flops", self.work_flops or float(operator.flops))
            object.__setattr__(self, "work_bytes", self.work_bytes or float(operator.min_bytes))

    @property
    def dtype(self) -> str:
        return str(self.params["dtype"])

    def count(self, name: str) -> int:
        """An integer parameter or option."""
        return int(self.params[name] if name in self.params else self.options[name])

    @property
    def key(self) -> str:
        """What tells this case from every other one of a suite: the `case` column, by which a run is resumed."""
        operator = ",".join(f"{name}={value}" for name, value in self.params.items())
        options = "".join(f",{name}={value}" for name, value in self.options.items())
        return f"{self.op}({operator}) by {self.kernel}{options}"

    def columns(self) -> dict[str, Value]:
        """The operator's and the kernel's part of a measurement row."""
        return {"op": self.op, **self.params, "kernel": self.kernel, **self.options, "case": self.key}


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
