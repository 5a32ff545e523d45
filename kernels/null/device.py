"""The null backend: results are the numpy reference, times are a formula of the case's work and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device, Report, no_device
from simexplore.kernels.backend.problem import Arrays, Problem
from simexplore.kernels.backend.session import Sample, Session
from simexplore.kernels.problems import problem_of

LAUNCH_S = 1e-6
FLOPS_PER_S = 1e12
BYTES_PER_S = 1e11

DEVICE = Device("null", 0, "null device: made-up times", "none", "none", limits=MappingProxyType({"cores": 1.0}))


def made_up_s(case: Case) -> float:
    """Time of one launch [s]: 1 µs, and the work at 1 TFLOPS or 100 GB/s, whichever takes longer."""
    return LAUNCH_S + max(case.work_flops / FLOPS_PER_S, case.work_bytes / BYTES_PER_S)


class NullKernel:
    """A case whose result is the reference and whose time is made up."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def run(self, inputs: Arrays) -> Arrays:
        """The numpy reference of the inputs."""
        return problem_of(self._case).expected(self._case, inputs)

    def sample(self, launches: int) -> Sample:  # noqa: ARG002 - the time of one launch does not depend on it
        """Always the same time."""
        return Sample(made_up_s(self._case))

    def close(self) -> None:
        """There is nothing to free."""


class NullSession(Session):
    """A device that is not there."""

    device = DEVICE
    problems: Mapping[str, Problem] = MappingProxyType({})

    def prepare(self, case: Case) -> NullKernel:
        """Any case whose operator has a numpy reference. Raises SimexploreError for others."""
        problem_of(case)
        return NullKernel(case)

    def describe(self) -> dict[str, Any]:
        """Where the times come from."""
        return {"times": f"made up: {LAUNCH_S:g} s, {FLOPS_PER_S:g} op/s, {BYTES_PER_S:g} B/s"}

    def close(self) -> None:
        """There is nothing to free."""


class NullBackend:
    """Always there, never measured on."""

    name = "null"

    def report(self) -> Report:
        """The one device that is none."""
        return Report(self.name, (DEVICE,))

    def open(self, index: int = 0) -> NullSession:
        """A session. Raises SimexploreError for any other number than 0."""
        if index != 0:
            raise no_device(self.report(), index)
        return NullSession()


def micro(device: Device, seed: int) -> list[Case]:  # noqa: ARG001 - a suite's signature
    """A few small kernels, drawn by seed."""
    rng = np.random.default_rng(seed)
    elements, rows = (int(2.0 ** rng.uniform(8.0, 12.0)) for _ in range(2))
    cases = [Case(op, {"elements": elements, "dtype": "fp32"}, "numpy") for op in ("copy", "add", "gelu")]
    cases.append(Case("softmax", {"rows": rows, "cols": 64, "dtype": "fp32"}, "numpy"))
    cases += [Case("gemm", {"m": side, "n": side, "k": 32, "dtype": "fp32"}, "numpy") for side in (16, 32, 64)]
    return cases
