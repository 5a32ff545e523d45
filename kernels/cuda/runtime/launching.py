"""How a program is put on the GPU's stream: a kernel of ours, compiled and loaded, or a call of the library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Array
from simexplore.kernels.cuda.cublas import Multiplication
from simexplore.kernels.cuda.programs import Program
from simexplore.kernels.cuda.runtime.compiler import compiled
from simexplore.kernels.cuda.runtime.driver import Driver
from simexplore.kernels.cuda.runtime.tensor_maps import encoded

Buffers = Mapping[str, Any]
"""Addresses on the device by the names of a program's outputs and inputs."""


class Launcher(Protocol):
    """A program that can be enqueued again and again."""

    def bind(self, buffers: Buffers) -> None:
        """Take these operands from now on."""
        ...

    def launch(self) -> None:
        """Enqueue once on the driver's stream."""
        ...

    def extra(self) -> Mapping[str, float]:
        """What it knows of itself that a row should tell."""
        ...

    def close(self) -> None:
        """Free it. Safe to call twice."""
        ...


def launcher_of(driver: Driver, case: Case, program: Program, architecture: str) -> Launcher:
    """The launcher of a case. Raises SimexploreError where it does not compile, or the library is not here."""
    return Library(driver, case) if program.source is None else Compiled(driver, program, architecture)


class Compiled:
    """A kernel of a source of ours."""

    def __init__(self, driver: Driver, program: Program, architecture: str) -> None:
        assert program.source is not None
        self._driver, self._program = driver, program
        code = compiled(program.source, architecture)
        self._module, self._kernel = driver.load(code, program.entry, program.shared_bytes)
        self._arguments: list[Array] = []

    def bind(self, buffers: Buffers) -> None:
        program = self._program
        operands = [self._argument(name, int(buffers[name])) for name in (*program.outputs, *program.inputs)]
        self._arguments = [*operands, *(np.atleast_1d(np.asarray(scalar)) for scalar in program.scalars)]

    def launch(self) -> None:
        p = self._program
        self._driver.launch(self._kernel, p.grid, p.block, p.shared_bytes, self._arguments)

    def extra(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        if self._module is not None:
            self._driver.unload(self._module)
            self._module = None

    def _argument(self, name: str, address: int) -> Array:
        """A buffer as the kernel takes it: its address, or a map of the tensor in it."""
        tiled = self._program.maps.get(name)
        if tiled is None:
            return np.array([address], dtype=np.uint64)
        return encoded(tiled, address, self._driver.function)


class Library:
    """A GEMM of cuBLASLt."""

    def __init__(self, driver: Driver, case: Case) -> None:
        m, n, k = (case.count(name) for name in "mnk")
        self._multiplication = Multiplication(driver, case.dtype, m, n, k)
        self._operands: tuple[int, ...] = ()

    def bind(self, buffers: Buffers) -> None:
        self._operands = tuple(int(buffers[name]) for name in "cab")

    def launch(self) -> None:
        self._multiplication.launch(*self._operands)

    def extra(self) -> Mapping[str, float]:
        return {"waves": float(self._multiplication.choice.waves)}

    def close(self) -> None:
        self._multiplication.close()
