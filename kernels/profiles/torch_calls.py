"""Calls of PyTorch's operators → operator records, by their name and the shapes of their inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

from simexplore.workloads import ops
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import ParameterError

Dims = Sequence[Sequence[int]]

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "float": "fp32",
        "double": "fp64",
        "c10::Half": "fp16",
        "c10::BFloat16": "bf16",
        "c10::Float8_e4m3fn": "fp8",
        "c10::Float8_e5m2": "fp8",
        "signed char": "int8",
    }
)
"""Profilers' names of element types → ours."""


class UnmatchedError(Exception):
    """A call that no operator record can hold; the message is the reason."""


@dataclass(frozen=True)
class Call:
    """One call of an `aten::` operator as a profiler recorded it."""

    name: str
    dims: Dims
    """Shape of each input; empty where it is no tensor."""
    dtype: str
    """Ours, of the first tensor."""
    values: Sequence[str] = ()
    """Inputs that are no tensors, as text, at their position; empty where they were not recorded."""

    def value(self, position: int) -> str:
        """A recorded input that is no tensor. Raises UnmatchedError where the profile does not have it."""
        if position >= len(self.values) or self.values[position] == "":
            raise UnmatchedError(f"{self.name}: the profile does not tell input {position}")
        return self.values[position]


def operator_of(call: Call) -> Operator:
    """The operator record of a call.

    Raises:
        UnmatchedError: no family holds it, or the profile does not tell all of its parameters.
    """
    if call.name not in MATCHES:
        raise UnmatchedError("no operator family of that name")
    if not call.dims or not any(call.dims):
        raise UnmatchedError("no shapes: record them (record_shapes=True)")
    try:
        operator = MATCHES[call.name](call)
        operator.validate()
    except (IndexError, ValueError) as error:
        raise UnmatchedError(f"shapes {list(map(list, call.dims))} are not those of {call.name}") from error
    except ParameterError as error:
        raise UnmatchedError(f"{error.owner}: {error.parameter} is not {error.expected}") from error
    return operator


def _matmul(first: int) -> Callable[[Call], Operator]:
    """A product of the inputs at `first` and after it, [(batch,) m, k] times [(batch,) k, n]."""

    def match(call: Call) -> Operator:
        (*batch, m, k), (*_, k_of_b, n) = call.dims[first], call.dims[first + 1]
        if k != k_of_b:
            raise ValueError
        return ops.Gemm(m=m, n=n, k=k, batch=prod(batch), dtype=call.dtype)

    return match


def _attention(call: Call) -> Operator:
    """scaled_dot_product_attention(query, key, value, mask, dropout, is_causal) on [batch, heads, tokens, head_dim]."""
    batch, heads, seq_q, head_dim = call.dims[0]
    _, kv_heads, seq_kv, _ = call.dims[1]
    shape: dict[str, Any] = {
        "batch": batch,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "seq_kv": seq_kv,
    }
    if seq_q == 1:
        return ops.AttentionDecode(**shape, dtype=call.dtype)
    if len(call.dims) > 3 and call.dims[3]:
        raise UnmatchedError("attention with a mask of its own is not modelled")
    if call.value(5) != "True":
        raise UnmatchedError("attention that is not causal is not modelled")
    if seq_q != seq_kv:
        raise UnmatchedError("causal attention of fewer queries than keys: its mask starts at the first key")
    return ops.AttentionPrefill(**shape, seq_q=seq_q, dtype=call.dtype)


def _conv2d(call: Call) -> Operator:
    """conv2d(image, filter, bias, stride, padding, dilation, groups) on [batch, channels, rows, columns]."""
    batch, cin, rows, columns = call.dims[0]
    cout, _, ksize, width = call.dims[1]
    stride, pad, dilation = (_pair(call.value(position)) for position in (3, 4, 5))
    groups = int(call.value(6))
    if rows != columns or ksize != width or groups != 1 or dilation != (1, 1) or len({*stride}) + len({*pad}) > 2:
        raise UnmatchedError("only square, dense, undilated convolutions are modelled")
    return ops.Conv2d(
        batch=batch, cin=cin, cout=cout, ksize=ksize, hw=rows, stride=stride[0], pad=pad[0], dtype=call.dtype
    )


def _pair(text: str) -> tuple[int, int]:
    first, *others = (int(number) for number in re.findall(r"-?\d+", text))
    return first, others[0] if others else first


def _elementwise(family: str, tensors: int) -> Callable[[Call], Operator]:
    """A named elementwise operator on tensors of one shape."""

    def match(call: Call) -> Operator:
        shapes = {tuple(call.dims[position]) for position in range(tensors)}
        if len(shapes) != 1:
            raise UnmatchedError("inputs of several shapes (broadcasting) are not modelled")
        return ops.FAMILIES[family](elements=prod(shapes.pop()), dtype=call.dtype)  # type: ignore[call-arg]

    return match


def _rowwise(family: str) -> Callable[[Call], Operator]:
    """A row-wise operator over the last dimension."""

    def match(call: Call) -> Operator:
        *rows, cols = call.dims[0]
        return ops.FAMILIES[family](rows=prod(rows), cols=cols, dtype=call.dtype)  # type: ignore[call-arg]

    return match


def _embedding(call: Call) -> Operator:
    """embedding(table, indices)."""
    vocabulary, width = call.dims[0]
    return ops.Embedding(tokens=prod(call.dims[1]), width=width, vocabulary=vocabulary, dtype=call.dtype)


MATCHES: Mapping[str, Callable[[Call], Operator]] = MappingProxyType(
    {
        "aten::mm": _matmul(0),
        "aten::bmm": _matmul(0),
        "aten::addmm": _matmul(1),
        "aten::baddbmm": _matmul(1),
        "aten::scaled_dot_product_attention": _attention,
        "aten::conv2d": _conv2d,
        "aten::add": _elementwise("add", 2),
        "aten::add_": _elementwise("add", 2),
        "aten::mul": _elementwise("mul", 2),
        "aten::mul_": _elementwise("mul", 2),
        "aten::relu": _elementwise("relu", 1),
        "aten::relu_": _elementwise("relu", 1),
        "aten::gelu": _elementwise("gelu", 1),
        "aten::copy_": _elementwise("copy", 2),
        "aten::_softmax": _rowwise("softmax"),
        "aten::native_layer_norm": _rowwise("layernorm"),
        "aten::rms_norm": _rowwise("rmsnorm"),
        "aten::_fused_rms_norm": _rowwise("rmsnorm"),
        "aten::embedding": _embedding,
    }
)
"""By the name that PyTorch gives the call. Wrappers that only call one of these (linear, matmul) are not in it."""
