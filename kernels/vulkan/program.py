"""What one launch of a case does on the device: buffers, and compute dispatches one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

DTYPES: dict[str, npt.DTypeLike] = {
    "fp32": np.float32, "fp16": np.float16, "int8": np.int8, "int32": np.int32, "uint32": np.uint32,
}  # fmt: skip
"""Element types of buffers."""


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


@dataclass(frozen=True)
class Buffer:
    """A storage buffer: operand, result, or what one dispatch hands to the next."""

    name: str
    shape: tuple[int, ...]
    role: Literal["in", "out", "between"]
    dtype: str = "fp32"

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(DTYPES[self.dtype]).itemsize


@dataclass(frozen=True)
class Dispatch:
    """One dispatch of a shader; a barrier follows it."""

    shader: str
    """Name in the manifest."""
    constants: tuple[int, ...]
    """Specialisation constants 0, 1, …; the first one or two are the work-group's size."""
    buffers: tuple[str, ...]
    """Names of the buffers bound to 0, 1, …"""
    groups: tuple[int, int, int]
    push: tuple[int, ...] = ()
    """32-bit push constants."""


@dataclass(frozen=True)
class Program:
    """One launch."""

    buffers: tuple[Buffer, ...]
    dispatches: tuple[Dispatch, ...]
