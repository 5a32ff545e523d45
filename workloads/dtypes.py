"""Data types by name, and the bytes that one element takes in memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import did_you_mean

DTYPES: Mapping[str, float] = MappingProxyType(
    {
        "fp64": 8.0,
        "fp32": 4.0,
        "tf32": 4.0,  # stored as fp32; the tensor cores read 19 of its bits
        "bf16": 2.0,
        "fp16": 2.0,
        "fp8": 1.0,
        "fp8_block": 1.0,  # one fp32 scale per 128 x 128 weights or 1 x 128 activations: under 4 %, not counted
        "mxfp8": 1.0 + 1.0 / 32.0,
        "int8": 1.0,
        "int4": 0.5,
        "fp4": 0.5,
        "nvfp4": 0.5 + 1.0 / 16.0,
        "mxfp4": 0.5 + 1.0 / 32.0,
    }
)
"""Bytes per element [B] of every data type, by name; those of scales that values share along k are in it."""


class Scaled(NamedTuple):
    """A type whose values along k share scales, which products are multiplied with."""

    element: str
    """Type of the values: what a tensor core multiplies."""
    block: int
    """Values that share a scale."""
    in_hardware: bool
    """Whether tensor cores that take the values take the scales too; others promote sums on the FMA pipes."""


SCALED: Mapping[str, Scaled] = MappingProxyType(
    {
        "fp8_block": Scaled("fp8", 128, in_hardware=False),  # fp32 scales; DeepSeek-V3, arXiv 2412.19437, 3.3.2
        "mxfp8": Scaled("fp8", 32, in_hardware=True),  # powers of two; OCP Microscaling formats 1.0
        "mxfp4": Scaled("fp4", 32, in_hardware=True),
        "nvfp4": Scaled("fp4", 16, in_hardware=True),  # fp8 scales; PTX ISA, mma kind::mxf4nvf4
    }
)
"""Block-scaled types, by name."""

NOT_MODELLED: Mapping[str, str] = MappingProxyType({"mxfp6": "fp6 with a power of two for every 32 values"})
"""Types that no machine's file has a rate for: they are refused by name, not taken for others."""


def element_of(dtype: str) -> str:
    """The type that a unit multiplies: that of the values where they share scales, else `dtype` itself."""
    return SCALED[dtype].element if dtype in SCALED else dtype


def told(dtype: str) -> str:
    """What to say of a name that is no data type that operators have: why, or the nearest one."""
    what = NOT_MODELLED.get(dtype.lower())
    return f" ({what}, is not modelled)" if what else did_you_mean(dtype, DTYPES)


def bytes_of(dtype: str) -> float:
    """Bytes that one element of `dtype` takes in memory [B].

    Raises:
        SimexploreError: `dtype` is not one of `DTYPES`.
    """
    try:
        return DTYPES[dtype]
    except KeyError:
        known = ", ".join(DTYPES)
        raise SimexploreError(f"unknown dtype {dtype!r}{told(dtype)}: use one of {known}") from None
