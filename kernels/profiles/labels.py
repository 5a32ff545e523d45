"""Texts of profiles that say what a kernel computes: names of ranges, and types in the names of kernels."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.torch_calls import MATCHES, Call, UnmatchedError, operator_of, shapes_in
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import FAMILIES, parse_operator

NO_SHAPES = (
    "nothing tells its shapes: profile inside torch.autograd.profiler.emit_nvtx(record_shapes=True), "
    "or in an NVTX range named like gemm(m=64,n=64,k=64,dtype=bf16)"
)
LONGEST = 8192
"""Characters of a label that are read."""
_REMEMBERED = 1 << 15

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

_SIZES = re.compile(
    r"(?<!\w)(?P<name>aten::\w+)(?:\s*,\s*(?:seq|op_id)\s*=\s*-?\d+)*\s*,\s*sizes\s*=\s*(?P<sizes>\[[\[\]\d,\s]*\])"
)
"""What PyTorch's emit_nvtx writes: `aten::mm, seq = 1, op_id = 7, sizes = [[4, 8], [8, 2]], input_op_ids = [(1,0)]`
(getNvtxStr in torch/csrc/profiler/util.cpp); the edges behind the sizes hold parentheses, which sizes don't."""
_CALL = re.compile(rf"\b(?:{'|'.join(map(re.escape, FAMILIES))})\([^()=]*=[^()]*\)")


@lru_cache(_REMEMBERED)
def dtype_in(kernel: str) -> str | None:
    """The type that a kernel multiplies, by its name; None where the name has none."""
    name = kernel[:LONGEST]
    return next((dtype for dtype, pattern in _TYPES if re.search(pattern, name, re.IGNORECASE)), None)


@lru_cache(_REMEMBERED)
def says_operator(label: str) -> bool:
    """Whether a range's name tells an operator and its shapes."""
    return bool(_told(label))


def operator_in(label: str, kernel: str) -> Operator:
    """The operator that a range's name tells: our own text, or what PyTorch's emit_nvtx writes.

    emit_nvtx does not write types, so the type is that in the kernel's name.

    Raises:
        UnmatchedError: the name tells none, not all of it, or several.
    """
    found = _operator(label, dtype_in(kernel))
    if isinstance(found, str):
        raise UnmatchedError(found)
    return found


def _told(label: str) -> tuple[str, ...]:
    """The pieces of a label that each tell an operator: a profile may join the ranges around a kernel into one text."""
    text = label[:LONGEST]
    own = [match[0] for match in _CALL.finditer(text)]
    torch = [match[0] for match in _SIZES.finditer(text) if match["name"] in MATCHES]
    return tuple(dict.fromkeys((*own, *torch)))


@lru_cache(_REMEMBERED)
def _operator(label: str, dtype: str | None) -> Operator | str:
    """The operator, or the reason why there is none."""
    pieces = _told(label)
    if not pieces:
        return NO_SHAPES
    if len(pieces) > 1:
        return "its range tells several operators"
    try:
        sizes = _SIZES.fullmatch(pieces[0])
        return parse_operator(pieces[0]) if sizes is None else _of_torch(sizes["name"], sizes["sizes"], dtype)
    except (SimexploreError, UnmatchedError) as error:
        return str(error)


def _of_torch(name: str, sizes: str, dtype: str | None) -> Operator:
    if dtype is None:
        raise UnmatchedError("neither the range nor the kernel's name tells its type")
    try:
        shapes = json.loads(sizes)
    except (ValueError, RecursionError) as error:
        raise UnmatchedError(f"sizes that are no lists: {sizes[:60]}") from error
    return operator_of(Call(name, shapes_in(shapes), dtype, by_kernel=True))
