"""Data types by name, and the bytes that one element takes in memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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
        "int8": 1.0,
        "int4": 0.5,
        "fp4": 0.5,
    }
)
"""Bytes per element [B] of every data type, by name."""


NOT_MODELLED: Mapping[str, str] = MappingProxyType(
    {
        "nvfp4": "fp4 with an fp8 scale for every 16 values",
        "mxfp4": "fp4 with a power of two for every 32 values",
        "mxfp6": "fp6 with a power of two for every 32 values",
        "mxfp8": "fp8 with a power of two for every 32 values",
    }
)
"""Types whose scales cost memory and time that nothing here counts: they are refused by name, not taken for others."""


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
