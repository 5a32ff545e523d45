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
    """Ours, of the first tensor of a type that we have."""
    values: Sequence[str] = ()
    """Inputs that are no tensors, as text, at their position; empty where they were not recorded."""
    types: Sequence[str] = ()
    """The profiler's name of each input's type; empty where they were not recorded."""
    strides: Dims | None = None
    """Strides of each input, in elements; None where they were not recorded."""
    by_kernel: bool = False
    """What it launched is known to be a kernel, no copy by the driver."""

    def value(self, position: int) -> str:
        """A recorded input that is no tensor. Raises UnmatchedError where the profile does not have it."""
        if position >= len(self.values) or self.values[position] == "":
            raise UnmatchedError(f"{self.name}: the profile does not tell input {position}")
        return self.values[position]

    def of_one_layout(self, tensors: int) -> bool:
        """Whether the first inputs lie without gaps and in one order, as far as the profile tells."""
        if self.strides is None or len(self.strides) < tensors:
            return True
        dims, strides = self.dims[:tensors], self.strides[:tensors]
        orders = {tuple(_order(*layout)) for layout in zip(dims, strides, strict=True)}
        return len(orders) == 1 and all(map(_dense, dims, strides))


def recorded_call(name: str, dims: object, types: object, values: object, strides: object) -> Call:
    """A call from what a profile has of it, whatever that is; what has another form was not recorded."""
    kinds = tuple(kind if isinstance(kind, str) else "" for kind in types) if isinstance(types, list) else ()
    return Call(
        name,
        shapes_in(dims),
        next((DTYPES[kind] for kind in kinds if kind in DTYPES), ""),
        tuple(value if isinstance(value, str) else "" for value in values) if isinstance(values, list) else (),
        kinds,
        shapes_in(strides) if isinstance(strides, list) and strides else None,
    )


def shapes_in(value: object) -> tuple[tuple[int, ...], ...]:
    """Shapes, one an input; an input that is a list of tensors, or nonsense, has none."""
    return tuple(_shape(entry) for entry in value) if isinstance(value, list | tuple) else ()


def _shape(entry: object) -> tuple[int, ...]:
    sizes = entry if isinstance(entry, list | tuple) else ()
    return tuple(sizes) if all(type(size) is int and size >= 0 for size in sizes) else ()


def _order(dims: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Strides of the dimensions that have more than one element."""
    return [stride for size, stride in zip(dims, strides, strict=False) if size != 1]


def _dense(dims: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a tensor's elements fill a piece of memory, in whatever order of its dimensions."""
    if len(dims) != len(strides):
        return False
    expected = 1
    for stride, size in sorted(zip(strides, dims, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


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
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise UnmatchedError(f"shapes {list(map(list, call.dims))} are not those of {call.name}") from error
    except ParameterError as error:
        raise UnmatchedError(f"{error.owner}: {error.parameter} is not {error.expected}") from error
    return operator


def _matmul(first: int) -> Callable[[Call], Operator]:
    """A product of the inputs at `first` and after it, [(batch,) m, k] times [(batch,) k, n]."""

    def match(call: Call) -> Operator:
        (*batch, m, k), (*batch_of_b, k_of_b, n) = call.dims[first], call.dims[first + 1]
        if k != k_of_b or batch != batch_of_b:
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
    """A named elementwise operator on tensors of one shape, one type and one layout."""

    def match(call: Call) -> Operator:
        shapes = {tuple(call.dims[position]) for position in range(tensors)}
        if len(shapes) != 1:
            raise UnmatchedError("inputs of several shapes (broadcasting) are not modelled")
        if len(set(call.types[:tensors])) > 1:
            raise UnmatchedError("inputs of several types (converting) are not modelled")
        if not call.of_one_layout(tensors):
            raise UnmatchedError("inputs of several layouts (permuting, gaps) are not modelled")
        return ops.FAMILIES[family](elements=prod(shapes.pop()), dtype=call.dtype)  # type: ignore[call-arg]

    return match


def _copy(call: Call) -> Operator:
    """copy_(destination, source): PyTorch lets the driver copy what needs no kernel of its own."""
    operator = _elementwise("copy", 2)(call)
    if call.strides is None and call.by_kernel:
        raise UnmatchedError("a copy by a kernel permutes or converts; the profile has no strides that tell")
    return operator


def _rowwise(family: str, dimension: int | None = None) -> Callable[[Call], Operator]:
    """A row-wise operator over the last dimension; `dimension` is the input that may name another one."""

    def match(call: Call) -> Operator:
        *rows, cols = call.dims[0]
        told = dimension is not None and dimension < len(call.values) and call.values[dimension]
        if told and int(told) not in (-1, len(rows)):
            raise UnmatchedError(f"{family} over another dimension than the last is not modelled")
        return ops.FAMILIES[family](rows=prod(rows), cols=cols, dtype=call.dtype)  # type: ignore[call-arg]

    return match


def _normalised(family: str) -> Callable[[Call], Operator]:
    """A norm over the trailing dimensions that its second input names; the last alone where that was not recorded."""

    def match(call: Call) -> Operator:
        named = re.findall(r"\d+", call.values[1]) if len(call.values) > 1 else []
        shape = tuple(map(int, named)) or tuple(call.dims[0][-1:])
        if tuple(call.dims[0][-len(shape) :]) != shape or not shape:
            raise ValueError
        rows = prod(call.dims[0][: -len(shape)])
        return ops.FAMILIES[family](rows=rows, cols=prod(shape), dtype=call.dtype)  # type: ignore[call-arg]

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
        "aten::copy_": _copy,
        "aten::_softmax": _rowwise("softmax", 1),
        "aten::native_layer_norm": _normalised("layernorm"),
        "aten::rms_norm": _normalised("rmsnorm"),
        "aten::_fused_rms_norm": _normalised("rmsnorm"),
        "aten::embedding": _embedding,
    }
)
"""By the name that PyTorch gives the call. Wrappers that only call one of these (linear, matmul) are not in it."""
