"""The library's matrix multiplication: cuBLASLt through ctypes, imported when it is asked for.

Operands are those of a layer: A is m x k, B is stored transposed (n x k), C = A B is m x n, all row-major. To the
library, which counts columns first, that is C^T = op(B) A^T with op(B) transposed: the one form that 8-bit types have.
Constants are those of library_types.h, cublas_api.h and cublasLt.h of CUDA 13.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.devices import Missing
from simexplore.kernels.cuda.runtime.driver import Driver
from simexplore.kernels.cuda.runtime.libraries import places_of

LIBRARY = "cublasLt"
MISSING = Missing("cuBLASLt (the library's GEMMs are left out)", "pip install 'simexplore[cublas]'")
WORKSPACE_BYTES = 32 << 20
"""What kernels may use beside their operands; NVIDIA's own choice for Hopper (cuBLAS, `cublasSetWorkspace`)."""

_TRANSPOSED, _OP_A, _OP_B, _MAX_WORKSPACE = 1, 3, 4, 1
"""CUBLAS_OP_T, CUBLASLT_MATMUL_DESC_TRANSA, …_TRANSB, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES."""
_R_32F, _R_64F, _R_16F, _R_8I, _R_32I, _R_16BF, _R_8F_E4M3 = 0, 1, 2, 3, 10, 14, 28
"""cudaDataType."""
_IN_32F, _IN_64F, _IN_32I, _IN_TF32 = 68, 70, 72, 77
"""cublasComputeType_t."""


@dataclass(frozen=True)
class Types:
    """How a type is multiplied: codes of the operands, the result, the sums' scale, and what sums are computed in."""

    operand: int
    result: int
    scale: int
    compute: int
    result_dtype: str


TYPES: Mapping[str, Types] = MappingProxyType(
    {
        "fp64": Types(_R_64F, _R_64F, _R_64F, _IN_64F, "fp64"),
        "fp32": Types(_R_32F, _R_32F, _R_32F, _IN_32F, "fp32"),
        "tf32": Types(_R_32F, _R_32F, _R_32F, _IN_TF32, "fp32"),
        "fp16": Types(_R_16F, _R_16F, _R_32F, _IN_32F, "fp16"),
        "bf16": Types(_R_16BF, _R_16BF, _R_32F, _IN_32F, "bf16"),
        "fp8": Types(_R_8F_E4M3, _R_16BF, _R_32F, _IN_32F, "bf16"),
        "int8": Types(_R_8I, _R_32I, _R_32I, _IN_32I, "int32"),
    }
)
_SCALARS: dict[int, Any] = {_R_32F: ctypes.c_float, _R_64F: ctypes.c_double, _R_32I: ctypes.c_int32}


def types_of(dtype: str) -> Types:
    """How a type is multiplied. Raises SimexploreError for others than `TYPES`."""
    if dtype not in TYPES:
        raise SimexploreError(f"cuda: the library's GEMM takes {', '.join(TYPES)}, not {dtype}")
    return TYPES[dtype]


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm and what the library expects of it."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


def is_here() -> bool:
    """Whether there is a file to load; it is half a gigabyte, so asking does not load it."""
    return next(places_of(LIBRARY), None) is not None


@cache
def library() -> Any:
    """cuBLASLt. Raises SimexploreError where it is not here or does not load."""
    for place in places_of(LIBRARY):
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise SimexploreError(f"cuda: {MISSING.what} is not here: {MISSING.mend}")


class Multiplication:
    """One GEMM, ready to be launched on the driver's stream; the algorithm is the first that the library proposes."""

    def __init__(self, driver: Driver, dtype: str, m: int, n: int, k: int) -> None:
        self._driver, self._lib, self._types = driver, library(), types_of(dtype)
        self._made: list[tuple[str, ctypes.c_void_p]] = []
        self._workspace: Any = None
        try:
            self._handle = self._make("cublasLtCreate", "cublasLtDestroy")
            self._describe(m, n, k)
            self.choice = self._choose(f"{dtype} of {m} x {n} x {k}")
            self._workspace = driver.allocate(WORKSPACE_BYTES)
        except BaseException:
            self.close()
            raise
        scalar = _SCALARS[self._types.scale]
        self._one, self._zero = scalar(1), scalar(0)

    def launch(self, c: int, a: int, b: int) -> None:
        """Enqueue C = A B; addresses on the device."""
        of_c = (ctypes.c_void_p(c), self._of_c)
        operands = (ctypes.c_void_p(b), self._of_b, ctypes.c_void_p(a), self._of_a)
        sums = (ctypes.byref(self._one), *operands, ctypes.byref(self._zero), *of_c, *of_c)
        workspace = (ctypes.c_void_p(int(self._workspace)), ctypes.c_size_t(WORKSPACE_BYTES))
        how = (ctypes.byref(self.choice.algorithm), *workspace, ctypes.c_void_p(int(self._driver.stream)))
        self._call("cublasLtMatmul", self._handle, self._product, *sums, *how)

    def close(self) -> None:
        """Free what was made. Safe to call twice."""
        if self._workspace is not None:
            self._driver.free(self._workspace)
            self._workspace = None
        while self._made:
            undo, handle = self._made.pop()
            self._call(undo, handle)

    def _describe(self, m: int, n: int, k: int) -> None:
        """The product and its three matrices, counted columns first."""
        t = self._types
        self._product = self._make("cublasLtMatmulDescCreate", "cublasLtMatmulDescDestroy", t.compute, t.scale)
        self._set("cublasLtMatmulDescSetAttribute", self._product, _OP_A, ctypes.c_int32(_TRANSPOSED))
        self._of_b, self._of_a, self._of_c = (
            self._make(
                "cublasLtMatrixLayoutCreate",
                "cublasLtMatrixLayoutDestroy",
                kind,
                ctypes.c_uint64(rows),
                ctypes.c_uint64(columns),
                ctypes.c_int64(rows),
            )
            for kind, rows, columns in ((t.operand, k, n), (t.operand, k, m), (t.result, n, m))
        )

    def _choose(self, what: str) -> Heuristic:
        """The library's first choice of a kernel."""
        preference = self._make("cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceDestroy")
        room = ctypes.c_size_t(WORKSPACE_BYTES)
        self._set("cublasLtMatmulPreferenceSetAttribute", preference, _MAX_WORKSPACE, room)
        found, count = Heuristic(), ctypes.c_int()
        matrices = (self._of_b, self._of_a, self._of_c, self._of_c)
        code = self._lib.cublasLtMatmulAlgoGetHeuristic(
            self._handle, self._product, *matrices, preference, 1, ctypes.byref(found), ctypes.byref(count)
        )
        if code != 0 or count.value == 0 or found.state != 0:
            raise SimexploreError(f"cuda: cuBLASLt has no kernel for {what} (code {code})")
        return found

    def _make(self, name: str, undo: str, *arguments: Any) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self._call(name, ctypes.byref(handle), *arguments)
        self._made.append((undo, handle))
        return handle

    def _set(self, name: str, target: ctypes.c_void_p, attribute: int, value: Any) -> None:
        self._call(name, target, attribute, ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value)))

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._lib, name)(*arguments)
        if code != 0:
            raise SimexploreError(f"cuda: {name} failed with code {code} (cublasStatus_t)")
