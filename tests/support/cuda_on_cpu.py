# ruff: noqa: N802 - names are those of the driver
"""A CUDA driver whose modules are the CUDA sources compiled by g++ for this CPU (`cuda_on_cpu.hpp`). For tests."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_cuda import FakeCuda

from simexplore.kernels.cuda.compiler import Source

COMPILER = "g++"
SHIM = Path(__file__).with_name("cuda_on_cpu.hpp")
LOAD = re.compile(r'asm volatile\(LOAD : "=r"\((\w+)\) : "l"\(([^()]+)\)\)')
"""The one instruction in PTX of micro.cu that has a C++ equal: a load past the caches."""
ENTRY = re.compile(r'extern "C" __global__ void (\w+)\(')


def needs_compiler() -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not here: apt-get install g++")


def cpp_of(source: Source) -> str:
    """The shim, the source, and for each kernel a function that launches it."""
    text = LOAD.sub(r"\1 = *(\2)", source.text)
    text = text.replace("extern __shared__ u32 words[];", "u32* words = dynamic_shared;")
    launches = "\n".join(
        f'extern "C" void launch_{entry}(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, '
        f"void** arguments) {{ run_grid(kernels::{entry}, dim3{{gx, gy, gz}}, dim3{{bx, by, bz}}, arguments); }}"
        for entry in dict.fromkeys(ENTRY.findall(text))
    )
    return f'#include "{SHIM}"\nnamespace kernels {{\n{text}\n}}\n{launches}\n'


def compiled(source: Source, folder: Path) -> bytes:
    """The path of a shared object, which `cuModuleLoadData` of `CpuCuda` takes for code."""
    cpp, so = folder / "kernel.cpp", folder / "kernel.so"
    cpp.write_text(cpp_of(source))
    command = [COMPILER, "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-pthread", str(cpp), "-o", str(so)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return str(so).encode()


class CpuCuda(FakeCuda):
    """Memory is the host's, kernels run when they are launched."""

    def cuModuleLoadData(self, code: bytes) -> tuple[int, Any]:
        self.alive["module"] = self.alive.get("module", 0) + 1
        return 0, ctypes.CDLL(code.decode())

    def cuModuleGetFunction(self, module: Any, name: bytes) -> tuple[int, Any]:
        return 0, getattr(module, f"launch_{name.decode()}")

    def cuLaunchKernel(self, kernel: Any, *arguments: Any) -> tuple[int]:
        self.launches += 1
        kernel(*(ctypes.c_uint(side) for side in arguments[:6]), ctypes.c_void_p(arguments[-2]))
        return (0,)
