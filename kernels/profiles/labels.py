"""Texts of profiles that say what a kernel computes: names of ranges, and types in the names of kernels."""

from __future__ import annotations

import ast
import re

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.torch_calls import MATCHES, Call, UnmatchedError, operator_of
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import FAMILIES, parse_operator

NO_SHAPES = (
    "nothing tells its shapes: profile inside torch.autograd.profiler.emit_nvtx(record_shapes=True), "
    "or in an NVTX range named like gemm(m=64,n=64,k=64,dtype=bf16)"
)

_TYPES = (
    ("fp8", r"e4m3|e5m2|float8|fp8|qmma"),
    ("bf16", r"bf16|bfloat16"),
    ("fp16", r"half|fp16|f16f16|_f16|h16816|h884|h1688|hgemm"),
    ("int8", r"int8|imma|s8s8|i8816|igemm"),
    ("tf32", r"tf32|s1688"),
    ("fp64", r"dgemm|double|f64"),
    ("fp32", r"sgemm|float|f32|fp32"),
)
"""Types by what kernels' names have of them; the first that is found counts, since names have their FP32 sums too."""

_SIZES = re.compile(r"^(?P<name>aten::\w+)\b.*\bsizes\s*=\s*(?P<sizes>\[.*\])")
_CALL = re.compile(rf"\b(?:{'|'.join(map(re.escape, FAMILIES))})\([^()]*=[^()]*\)")


def dtype_in(kernel: str) -> str | None:
    """The type that a kernel multiplies, by its name; None where the name has none."""
    return next((dtype for dtype, pattern in _TYPES if re.search(pattern, kernel, re.IGNORECASE)), None)


def says_operator(label: str) -> bool:
    """Whether a range's name tells an operator and its shapes."""
    torch = _SIZES.match(label)
    return bool(_CALL.search(label)) or (torch is not None and torch["name"] in MATCHES)


def operator_in(label: str, kernel: str) -> Operator:
    """The operator that a range's name tells: our own text, or what PyTorch's emit_nvtx writes.

    emit_nvtx does not write types, so the type is that in the kernel's name.

    Raises:
        UnmatchedError: the name tells none, or not all of it.
    """
    call = _CALL.search(label)
    if call is not None:
        try:
            return parse_operator(call[0])
        except SimexploreError as error:
            raise UnmatchedError(str(error)) from error
    torch = _SIZES.match(label)
    if torch is None:
        raise UnmatchedError(NO_SHAPES)
    dtype = dtype_in(kernel)
    if dtype is None:
        raise UnmatchedError("neither the range nor the kernel's name tells its type")
    try:
        sizes = ast.literal_eval(torch["sizes"])
    except (SyntaxError, ValueError) as error:
        raise UnmatchedError(f"sizes that are no lists: {torch['sizes'][:60]}") from error
    return operator_of(Call(torch["name"], sizes, dtype))
