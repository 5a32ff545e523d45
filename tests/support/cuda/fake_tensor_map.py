"""The driver's tensor maps without a driver: what is encoded can be read back, what the real one refuses is refused."""

from __future__ import annotations

import ctypes
from typing import Any

from simexplore.kernels.cuda.runtime.tensor_maps import ALIGNMENT, ENCODER


class FakeMap(ctypes.Structure):
    """What the fake driver writes into the 128 bytes of a map."""

    _fields_ = [("tensor", ctypes.c_uint64), ("rank", ctypes.c_uint64), ("sides", ctypes.c_uint64 * 3),
                ("strides", ctypes.c_uint64 * 2), ("box", ctypes.c_uint64 * 3)]  # fmt: skip


def encode_tiled(
    target: int, kind: int, rank: int, tensor: int, sides: Any, strides: Any, box: Any, steps: Any, *none: int
) -> int:
    """The driver's function; it refuses what the real one does."""
    good = target % ALIGNMENT == 0 and kind == 2 and tensor % 16 == 0 and not any(none)
    good &= all(strides[axis] % 16 == 0 for axis in range(rank - 1)) and box[0] * 4 % 16 == 0
    good &= all(0 < sides[axis] < 2**32 and 0 < box[axis] <= 256 and steps[axis] == 1 for axis in range(rank))
    if not good:
        return 1
    written = FakeMap.from_address(target)
    written.tensor, written.rank = tensor, rank
    written.sides[:rank], written.strides[: rank - 1], written.box[:rank] = (
        sides[:rank],
        strides[: rank - 1],
        box[:rank],
    )
    return 0


CALLBACK = ENCODER(encode_tiled)


def find(name: bytes, since: int) -> int:
    assert name == b"cuTensorMapEncodeTiled"
    return int(ctypes.cast(CALLBACK, ctypes.c_void_p).value or 0)
