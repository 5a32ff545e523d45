"""CUDA C++ → machine code by NVRTC, which needs neither a GPU nor a CUDA toolkit: `pip install 'simexplore[cuda]'`.

NVRTC is called through ctypes, so that one small wheel is all that compiling takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.cuda.runtime.libraries import places_of

INSTALL = "pip install 'simexplore[cuda]'"
SOURCES = Path(__file__).resolve().parents[1] / "sources"
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a")
"""What the sources are held to compile for."""


@dataclass(frozen=True)
class Source:
    """A file of `sources/` and the macros that choose a variant."""

    file: str
    macros: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """CUDA C++, the macros first. Macros of several lines are joined."""
        defines = (f"#define {name} {' '.join(str(value).split())}" for name, value in self.macros.items())
        return "\n".join([*defines, (SOURCES / self.file).read_text(encoding="utf-8")])


def compiled(source: Source, architecture: str) -> bytes:
    """Machine code (a cubin) of a source for an architecture such as `sm_90a`.

    Raises:
        SimexploreError: NVRTC is not here, or it refuses the source; with its log.
    """
    return _compile(source.text, source.file, architecture)


def nvrtc_version() -> tuple[int, int]:
    """Major and minor version of the NVRTC that is found. Raises SimexploreError where there is none."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
    return major.value, minor.value


@cache
def _compile(text: str, name: str, architecture: str) -> bytes:
    nvrtc, program = _library(), ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None), "create program"
    )
    try:
        options = _strings([f"--gpu-architecture={architecture}", "--std=c++17", "--device-as-default-execution-space"])
        if nvrtc.nvrtcCompileProgram(program, len(options), options) != 0:
            raise SimexploreError(f"cuda: {name} does not compile for {architecture}: {_log(nvrtc, program)}")
        size = ctypes.c_size_t()
        _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "size of the cubin")
        code = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetCUBIN(program, code), "cubin")
        return code.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _strings(texts: Sequence[str]) -> Any:
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))


def _log(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    return log.value.decode(errors="replace")


def _check(code: int, what: str) -> None:
    if code != 0:
        raise SimexploreError(f"cuda: NVRTC failed with code {code}: {what}")


@cache
def _library() -> ctypes.CDLL:
    """NVRTC of an nvidia wheel, else of the system."""
    for place in places_of("nvrtc"):
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise SimexploreError(f"cuda: NVRTC, the compiler of CUDA C++ at run time, is not here: {INSTALL}")
