"""Numbers as a GPU stores them: bf16 and fp8 are float32 in numpy, and 16 or 8 bits on the device."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from simexplore.kernels.backend.problem import Array


def encode(array: Array, dtype: str) -> Array:
    """An array as it is stored: bf16 as the upper half of float32, fp8 as e4m3 codes; others as they are.

    Raises ValueError for a value that e4m3 does not hold; bf16 is cut off.
    """
    if dtype == "bf16" and array.dtype == np.float32:
        return (array.view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "fp8" and array.dtype == np.float32:
        return _to_e4m3(array)
    return array


def decode(array: Array, dtype: str) -> Array:
    """A result as numpy has it: bf16 becomes float32; others are as they are."""
    if dtype == "bf16" and array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


@cache
def e4m3_values() -> npt.NDArray[np.float32]:
    """Values of the codes 0 to 126 (0x7E), ascending; 127 is NaN. OCP 8-bit floating point specification, E4M3."""
    codes = np.arange(127)
    exponent, mantissa = codes >> 3, codes & 7
    normal = (1.0 + mantissa / 8.0) * 2.0 ** (exponent - 7.0)
    return np.where(exponent == 0, mantissa / 8.0 * 2.0**-6, normal).astype(np.float32)


def _to_e4m3(array: Array) -> Array:
    values = e4m3_values()
    codes = np.searchsorted(values, np.abs(array)).clip(0, len(values) - 1)
    if not np.array_equal(values[codes], np.abs(array)):
        raise ValueError("e4m3 does not hold every value of the array")
    signs = np.signbit(array).astype(np.intp) << 7
    stored: Array = (codes | signs).astype(np.uint8)
    return stored
