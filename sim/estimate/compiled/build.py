"""Modules in LLVM's language compiled for this machine; `llvmlite` is an extra."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

MOST_MODULES = 64
"""Functions that are kept; each is a few tens of kilobytes."""
WORTH_IMPORT = 1000
"""Rows for which the import of a compiler is worth its time."""
OLDEST = (0, 44)
"""Of llvmlite, whose LLVM has addresses without types."""
_SPEED = 3
"""Of LLVM's levels of optimisation."""

Rows = Callable[..., None]


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether there is a compiler that reads the language as it is written here."""
    try:
        found = version("llvmlite").split(".")[:2]
    except PackageNotFoundError:
        return False
    return find_spec("llvmlite") is not None and tuple(int(part) for part in found) >= OLDEST


def _machine() -> Any:
    """A target for one module: whatever runs it takes it over."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=_SPEED, jit=True)


def ready(rows: int) -> bool:
    """Whether so many rows of something small to compile are worth a compiler: its import alone takes a tenth of a
    second, unless that was done."""
    return available() and (rows >= WORTH_IMPORT or "llvmlite" in sys.modules)


@lru_cache(maxsize=MOST_MODULES)
def compiled(text: str, name: str) -> Rows:
    """A module's function `name`, all of whose arguments are whole numbers or addresses."""
    import llvmlite.binding as llvm

    machine = _machine()
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=_SPEED)
    tuning.loop_vectorization = True
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    arguments = text.partition(f"define void @{name}(")[2].partition(")")[0].count(",") + 1
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(engine.get_function_address(name))
    function.engine = engine  # type: ignore[attr-defined]  # whose memory the function is in
    return function


def address(array: NDArray[Any]) -> int:
    """Where an array's values begin, one row after another."""
    assert array.flags.c_contiguous
    return int(array.__array_interface__["data"][0])
