# ruff: noqa: N802, N815 - names are those of the library
"""cuBLASLt without a GPU: it multiplies what the descriptors say, columns first, in host memory. For tests."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from simexplore.kernels.cuda.runtime.encode import decode, e4m3_values

KINDS = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.int8, 10: np.int32, 14: np.uint16, 28: np.uint8}
"""numpy's type of a cudaDataType."""


class FakeCublas:
    """The functions of cuBLASLt that are used, each returning a status."""

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        """What is alive, by handle."""
        self.has_kernel, self.waves, self.multiplications = True, 1.5, 0

    def _make(self, target: Any, what: Any) -> int:
        handle = 1 + max(self.made, default=0)
        self.made[handle] = what
        target._obj.value = handle
        return 0

    def _gone(self, handle: Any) -> int:
        del self.made[handle.value]
        return 0

    cublasLtDestroy = cublasLtMatmulDescDestroy = cublasLtMatrixLayoutDestroy = cublasLtMatmulPreferenceDestroy = _gone

    def cublasLtCreate(self, target: Any) -> int:
        return self._make(target, "handle")

    def cublasLtMatmulDescCreate(self, target: Any, compute: int, scale: int) -> int:
        return self._make(target, {"compute": compute, "scale": scale, 3: 0, 4: 0})

    def cublasLtMatrixLayoutCreate(self, target: Any, kind: int, rows: Any, columns: Any, leading: Any) -> int:
        return self._make(target, (kind, rows.value, columns.value, leading.value))

    def cublasLtMatmulPreferenceCreate(self, target: Any) -> int:
        return self._make(target, {})

    def _set(self, handle: Any, attribute: int, value: Any, size: Any) -> int:
        self.made[handle.value][attribute] = value._obj.value
        return 0

    cublasLtMatmulDescSetAttribute = cublasLtMatmulPreferenceSetAttribute = _set

    def cublasLtMatmulAlgoGetHeuristic(self, *arguments: Any) -> int:
        found, count = arguments[-2]._obj, arguments[-1]._obj
        count.value, found.waves = int(self.has_kernel), self.waves
        return 0 if self.has_kernel else 15

    def cublasLtMatmul(self, handle: Any, product: Any, *rest: Any) -> int:
        """D = alpha op(A) op(B) + beta C, matrices columns first."""
        alpha, a, of_a, b, of_b, beta, _c, _of_c, d, of_d, *_ = rest
        how = self.made[product.value]
        left, right = self._matrix(a, of_a), self._matrix(b, of_b)
        left, right = (x.T if how[side] else x for side, x in ((3, left), (4, right)))
        kind, rows, columns, leading = self.made[of_d.value]
        assert (rows, columns) == (left.shape[0], right.shape[1])
        assert left.shape[1] == right.shape[0]
        assert alpha._obj.value == 1
        assert beta._obj.value == 0
        result = left.astype(np.float64) @ right.astype(np.float64)
        target = self._memory(d, kind, columns * leading).reshape(columns, leading)
        target[:, :rows] = _stored(result.T, kind)
        self.multiplications += 1
        return 0

    def _memory(self, address: Any, kind: int, count: int) -> Any:
        size = count * np.dtype(KINDS[kind]).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(address.value), dtype=KINDS[kind])

    def _matrix(self, address: Any, layout: Any) -> Any:
        kind, rows, columns, leading = self.made[layout.value]
        return _numbers(self._memory(address, kind, columns * leading).reshape(columns, leading)[:, :rows].T, kind)


def _numbers(stored: Any, kind: int) -> Any:
    if kind == 28:
        return e4m3_values()[stored & 127] * np.where(stored & 128, -1.0, 1.0)
    return decode(stored, "bf16") if kind == 14 else stored


def _stored(numbers: Any, kind: int) -> Any:
    if kind == 14:
        return (np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(KINDS[kind])
