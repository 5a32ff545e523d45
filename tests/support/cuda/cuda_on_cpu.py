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
from fake_tensor_map import find

from simexplore.kernels.cuda.runtime.compiler import Source

COMPILER = "g++"
SHIM = Path(__file__).with_name("cuda_on_cpu.hpp")
PTX = re.compile(r'asm volatile\((?:[^()"]|"[^"]*"|\((?:[^()]|\([^()]*\))*\))*\);')
"""A statement in PTX."""
PLAIN = (
    ("volatile(LOAD", lambda ptx: "{} = *({});".format(*re.findall(r'"[=rl]+"\((.+?)\)(?: :|\))', ptx))),
    ("cp.async.bulk.tensor.2d", lambda _: "copy_box(target, map, x, y, 0, barrier);"),
    ("cp.async.bulk.tensor.3d", lambda _: "copy_box(target, map, x, y, z, barrier);"),
    ("cp.async.bulk.shared", lambda _: "copy_bulk(target, x + (u64)chunk * (LOAD_BYTES / 4), LOAD_BYTES, mbarrier);"),
    ("cluster_ctarank", lambda _: "rank = blockIdx.x % CLUSTER;"),
    ("mapa", lambda _: "remote = address + ((rank + 1) % CLUSTER - rank) * WORDS * 4;"),
    ("ld.shared::cluster", lambda _: "value = *(u32*)in_shared(address);"),
    ("barrier.cluster.wait", lambda _: "__syncthreads();"),
    ("mbarrier.init", lambda ptx: re.sub(r'.*::"r"\((.*)\)\);', r"*barrier_at(\1) = 0;", ptx)),
    ("mbarrier.try_wait", lambda ptx: "done = arrived({}, {});".format(*re.findall(r'"r"\((\w+)\)', ptx)[-2:])),
)
"""What an instruction's statement becomes in C++, by a word of it; all others order or prepare, and become nothing."""
CLUSTERS = {"cluster_chase": "CLUSTER", "cluster_read": "CLUSTER"}
"""CTAs of a cluster by kernel; each has its WORDS of shared memory, one after another."""
ENTRY = re.compile(r'extern "C" __global__ void (?:__\w+__\([^)]*\) )?(\w+)\(')


def needs_compiler() -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not here: apt-get install g++")


def cpp_of(source: Source) -> str:
    """The shim, the source, and for each kernel a function that launches it."""
    text = PTX.sub(_plain, source.text)
    text = re.sub(r"extern __shared__ (?:__align__\(128\) )?u32 words\[\];", "u32* words = dynamic_shared;", text)
    text = text.replace("__shared__ u32 words[WORDS];", "u32* words = dynamic_shared + blockIdx.x % CLUSTER * WORDS;")
    launches = "\n".join(map(_launch, dict.fromkeys(ENTRY.findall(text))))
    return f'#include "{SHIM}"\nnamespace kernels {{\n{text}\n}}\n{launches}\n'


def _launch(entry: str) -> str:
    """A C function that launches a kernel with a list of pointers to its arguments."""
    sides = ", ".join(f"unsigned {side}" for side in ("gx", "gy", "gz", "bx", "by", "bz"))
    how = f"{CLUSTERS.get(entry, 1)}, dim3{{gx, gy, gz}}, dim3{{bx, by, bz}}, arguments"
    return f'extern "C" void launch_{entry}({sides}, void** arguments) {{ run_grid(kernels::{entry}, {how}); }}'


def _plain(statement: re.Match[str]) -> str:
    ptx = statement.group()
    return next((becomes(ptx) for word, becomes in PLAIN if word in ptx), ";")


def compiled(source: Source, folder: Path) -> bytes:
    """The path of a shared object, which `cuModuleLoadData` of `CpuCuda` takes for code."""
    cpp, so = folder / "kernel.cpp", folder / "kernel.so"
    cpp.write_text(cpp_of(source))
    command = [COMPILER, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-pthread", str(cpp), "-o", str(so)]
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

    def cuGetProcAddress(self, name: bytes, since: int, flags: int) -> tuple[int, int, int]:
        return 0, find(name, since), 0

    def cuLaunchKernel(self, kernel: Any, *arguments: Any) -> tuple[int]:
        self.launches += 1
        kernel(*(ctypes.c_uint(side) for side in arguments[:6]), ctypes.c_void_p(arguments[-2]))
        return (0,)
