"""Tensor maps: what the tensor memory accelerator is told of a tensor in memory and of the boxes it copies.

`cuTensorMapEncodeTiled` is called at the address that the driver gives for it: it wants a map aligned to 64 bytes,
which the Python bindings' own object is not. Source: CUDA driver API, Tensor Map Object Management.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAP_BYTES, ALIGNMENT = 128, 64
FUNCTION, SINCE = b"cuTensorMapEncodeTiled", 12000
"""The driver's function, and the CUDA version that brought it."""
_UINT32 = 2
"""CU_TENSOR_MAP_DATA_TYPE_UINT32."""

ENCODER = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,  # the map
    ctypes.c_int,  # type of an element
    ctypes.c_uint32,  # rank
    ctypes.c_void_p,  # address of the tensor
    ctypes.POINTER(ctypes.c_uint64),  # its sides, the innermost first
    ctypes.POINTER(ctypes.c_uint64),  # bytes from one row, plane, … to the next
    ctypes.POINTER(ctypes.c_uint32),  # sides of a box
    ctypes.POINTER(ctypes.c_uint32),  # steps between elements
    *[ctypes.c_int] * 4,  # interleave, swizzle, promotion to L2, fill outside: all of them none
)


@dataclass(frozen=True)
class Tiled:
    """A dense tensor of 32-bit words and the boxes that it is copied in. Sides are in words, the innermost first."""

    sides: tuple[int, ...]
    box: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one row to the next, from one plane to the next, …"""
        return tuple(4 * int(np.prod(self.sides[:axis], dtype=np.int64)) for axis in range(1, len(self.sides)))


def encoded(tiled: Tiled, tensor: int, find: Callable[[bytes, int], int]) -> npt.NDArray[np.uint8]:
    """The 128 bytes of a map of the tensor at an address; a kernel takes them as a parameter.

    Args:
        tiled: sides of the tensor and of a box.
        tensor: its address on the device.
        find: address of a function of the driver, by its name and the version of CUDA.

    Raises:
        ValueError: the driver refuses the sides.
    """
    room = np.zeros(MAP_BYTES + ALIGNMENT, dtype=np.uint8)
    skip = -room.ctypes.data % ALIGNMENT
    aligned = room[skip : skip + MAP_BYTES]
    rank = len(tiled.sides)
    code = ENCODER(find(FUNCTION, SINCE))(
        aligned.ctypes.data,
        _UINT32,
        rank,
        tensor,
        (ctypes.c_uint64 * rank)(*tiled.sides),
        (ctypes.c_uint64 * (rank - 1))(*tiled.strides),
        (ctypes.c_uint32 * rank)(*tiled.box),
        (ctypes.c_uint32 * rank)(*[1] * rank),
        *[0] * 4,
    )
    if code != 0:
        raise ValueError(f"the driver refuses a tensor map of {tiled.sides} in boxes of {tiled.box}: code {code}")
    return aligned
