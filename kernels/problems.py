"""What kernels compute: fresh random inputs and the numpy reference of each operator, whatever backend runs it.

Arrays of fp32, fp64, fp16 and integers have the numpy type; bf16, tf32 and fp8 are float32 arrays whose values the
type holds exactly. A problem is one line in `PROBLEMS`; those of a backend's own micro-benchmarks are in the table that
its session has as `problems`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Array, Arrays, Generator, Problem

TOLERANCE = MappingProxyType(
    {"fp64": 1e-12, "fp32": 2e-5, "tf32": 2e-3, "fp16": 4e-3, "bf16": 2e-2, "fp8": 1e-1, "int8": 0.0, "int32": 0.0}
)
"""Largest |found - expected| over the largest |expected| of an array, by the dtype of the case."""

NARROW = ("tf32", "fp16", "bf16", "fp8", "int8")
"""Types whose products numpy may sum in fp32."""

_NUMPY: Mapping[str, Any] = MappingProxyType(
    {"fp64": np.float64, "fp32": np.float32, "fp16": np.float16, "int8": np.int8, "int32": np.int32}
)


def draw(rng: Generator, shape: int | tuple[int, ...], dtype: str) -> Array:
    """Random numbers of a dtype: integers in -8..8; floats in -1..1, multiples of 1/16 where the type is narrow."""
    if dtype in ("int8", "int32"):
        return rng.integers(-8, 9, shape).astype(_NUMPY[dtype])
    if dtype in ("fp32", "fp64"):
        return rng.uniform(-1.0, 1.0, shape).astype(_NUMPY[dtype])
    return (rng.integers(-16, 17, shape) / 16.0).astype(_NUMPY.get(dtype, np.float32))


def worst_error(found: Arrays, expected: Arrays) -> float:
    """Largest |found - expected| over the largest |expected| of each array; infinite for NaN or another shape."""
    worst = 0.0
    for name, wanted in expected.items():
        got = found[name]
        if got.shape != wanted.shape:
            return float("inf")
        if wanted.size == 0:
            continue
        scale = max(float(np.max(np.abs(wanted.astype(np.float64)))), 1e-30)
        off = float(np.max(np.abs(got.astype(np.float64) - wanted.astype(np.float64))))
        worst = max(worst, off / scale if np.isfinite(off) else float("inf"))
    return worst


def check(case: Case, found: Arrays, expected: Arrays) -> None:
    """Raise SimexploreError where a kernel's results are not the reference's: a wrong kernel has no time."""
    error, allowed = worst_error(found, expected), TOLERANCE[case.dtype]
    if not error <= allowed:
        raise SimexploreError(
            f"{case.key}: wrong result: expected numpy's within {allowed:g} of its largest value, found {error:.3g} off"
        )


def problem_of(case: Case, more: Mapping[str, Problem] = MappingProxyType({})) -> Problem:
    """The problem of a case's operator; `more` are a backend's own. Raises SimexploreError if there is none."""
    problem = more.get(case.op) or PROBLEMS.get(case.op)
    if problem is None:
        raise SimexploreError(f"{case.op}: no numpy reference is known; add one to kernels/problems.py")
    return problem


def _elements(*names: str) -> Callable[[Case, Generator], dict[str, Array]]:
    return lambda case, rng: {name: draw(rng, case.count("elements"), case.dtype) for name in names}


def _matrix(*vectors: str) -> Callable[[Case, Generator], dict[str, Array]]:
    """A matrix x of rows x cols, and learned vectors of cols."""

    def inputs(case: Case, rng: Generator) -> dict[str, Array]:
        rows, cols = case.count("rows"), case.count("cols")
        x = {"x": draw(rng, (rows, cols), case.dtype)}
        return x | {name: draw(rng, cols, case.dtype) for name in vectors}

    return inputs


def _gemm_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    m, n, k = (case.count(name) for name in "mnk")
    return {"a": draw(rng, (m, k), case.dtype), "b": draw(rng, (k, n), case.dtype)}


def _gemm(case: Case, given: Arrays) -> dict[str, Array]:
    """In fp64; of narrow types in fp32, which is far within their tolerance, and exact for sums of up to 2^24."""
    exact = case.dtype not in NARROW or (case.dtype == "int8" and case.count("k") > 1 << 18)
    wide = np.float64 if exact else np.float32
    product = given["a"].astype(wide) @ given["b"].astype(wide)
    return {"c": product.astype(np.int32) if case.dtype == "int8" else product}


def _wide(given: Arrays, *names: str) -> list[Array]:
    return [given[name].astype(np.float64) for name in names]


def _gelu(_case: Case, given: Arrays) -> dict[str, Array]:
    (x,) = _wide(given, "x")
    return {"y": 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))}


def _softmax(_case: Case, given: Arrays) -> dict[str, Array]:
    (x,) = _wide(given, "x")
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return {"y": e / e.sum(axis=1, keepdims=True)}


EPSILON = 1e-5
"""Added under the root by the norms."""


def _rmsnorm(_case: Case, given: Arrays) -> dict[str, Array]:
    x, scale = _wide(given, "x", "scale")
    return {"y": x / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPSILON) * scale}


def _layernorm(_case: Case, given: Arrays) -> dict[str, Array]:
    x, scale, shift = _wide(given, "x", "scale", "shift")
    centred = x - x.mean(axis=1, keepdims=True)
    return {"y": centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPSILON) * scale + shift}


def _silu_mul(_case: Case, given: Arrays) -> dict[str, Array]:
    x, y = _wide(given, "x", "y")
    return {"z": x * y / (1.0 + np.exp(-x))}


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "gemm": Problem(_gemm_inputs, _gemm),
        "copy": Problem(_elements("x"), lambda _case, given: {"y": given["x"]}),
        "add": Problem(_elements("x", "y"), lambda _case, given: {"z": given["x"] + given["y"]}),
        "mul": Problem(_elements("x", "y"), lambda _case, given: {"z": given["x"] * given["y"]}),
        "relu": Problem(_elements("x"), lambda _case, given: {"y": np.maximum(given["x"], 0)}),
        "gelu": Problem(_elements("x"), _gelu),
        "silu_mul": Problem(_elements("x", "y"), _silu_mul),
        "softmax": Problem(_matrix(), _softmax),
        "rmsnorm": Problem(_matrix("scale"), _rmsnorm),
        "layernorm": Problem(_matrix("scale", "shift"), _layernorm),
    }
)
"""By operator family."""
