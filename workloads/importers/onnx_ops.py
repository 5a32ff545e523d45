"""ONNX's operations as operators. An operation is one line in `LOWERINGS`, or its name is in `FREE` or `FUNCTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType

from simexplore.workloads.importers import lowering
from simexplore.workloads.importers.arrays import shapes
from simexplore.workloads.importers.arrays.calls import OnnxCall
from simexplore.workloads.importers.arrays.onnx import ARRAYS
from simexplore.workloads.importers.lowering import Lowered, Sliding, Value
from simexplore.workloads.ops import LayerNorm, RmsNorm

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "DOUBLE": "fp64",
        "FLOAT": "fp32",
        "FLOAT16": "fp16",
        "BFLOAT16": "bf16",
        "FLOAT8E4M3FN": "fp8",
        "FLOAT8E5M2": "fp8",
    }
)
"""Our types by ONNX's; integers and truth values have none: no operator computes with them."""

FREE = frozenset(
    (
        "Constant",
        "Dropout",
        "Flatten",
        "Identity",
        "Reshape",
        "Shape",
        "Size",
        "Squeeze",
        "Unsqueeze",
        "ConstantOfShape",
    )
)
"""Operations that launch nothing at inference: they show their operand, or know their result before."""

FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name.lower() for name in ("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Reciprocal", "Sign", "Pow")},
        **{name: name.lower() for name in ("Exp", "Log", "Sqrt", "Sin", "Cos", "Tanh", "Erf", "Floor", "Round")},
        **{name: name.lower() for name in ("Where", "Relu", "Gelu", "Sigmoid", "Softplus", "Elu")},
        "Clip": "clamp",
        "LeakyRelu": "leaky_relu",
        "PRelu": "prelu",
        "Ceil": "ceil",
        "Atan": "atan",
        "Selu": "selu",
        "Celu": "celu",
        "Softsign": "softsign",
        "HardSwish": "hardswish",
        "HardSigmoid": "hardsigmoid",
        "Swish": "silu",
        "Max": "maximum",
        "Min": "minimum",
        "BatchNormalization": "batch_norm",
        "Equal": "eq",
        "Less": "lt",
        "LessOrEqual": "le",
        "Greater": "gt",
        "GreaterOrEqual": "ge",
        "And": "logical_and",
        "Or": "logical_or",
        "Not": "logical_not",
        "Sum": "add",
    }
)
"""Elementwise operations, and the functions of `lowering.FLOPS` that they are."""


def lowered(call: OnnxCall) -> Lowered:
    """The operators that a node amounts to; the empty text where nothing is known of its operation."""
    if call.name in LOWERINGS:
        return LOWERINGS[call.name](call)
    function = FUNCTIONS.get(call.name)
    if function is None:
        return ""
    operands = call.given[:1] if function in ("batch_norm", "clamp") else call.given
    return lowering.elementwise(function, operands, call.results[0])


def flops_of(call: OnnxCall) -> float:
    """Of a convolution its products; else one for each element of the results."""
    if call.name in ("Conv", "ConvTranspose"):
        filters = call.value(1)
        positions = call.results[0] if call.name == "Conv" else call.value(0)
        return 2.0 * positions.numel * prod(filters.shape[1:])
    return float(sum(value.numel for value in call.results))


def _gemm(call: OnnxCall) -> Lowered:
    flipped = [call.attributes.get(name, 0) for name in ("transA", "transB")]
    a, b = (_flipped(call.value(index)) if flip else call.value(index) for index, flip in enumerate(flipped))
    return lowering.matmul(a, b)


def _flipped(value: Value) -> Value:
    return Value(value.shape[::-1], value.dtype, value.element_bytes)


def _convolution(call: OnnxCall) -> Lowered:
    image, filters, out = call.value(0), call.value(1), call.results[0]
    axes = len(image.shape) - 2
    stride = tuple(call.attributes.get("strides", [1] * axes))
    dilation = tuple(call.attributes.get("dilations", [1] * axes))
    pads = tuple(call.attributes.get("pads", [0] * (2 * axes)))
    if call.attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        needed = [
            max(0, (out.shape[axis + 2] - 1) * stride[axis] + filters.shape[axis + 2] - image.shape[axis + 2])
            for axis in range(axes)
        ]
        pads = (*(each // 2 for each in needed), *(each - each // 2 for each in needed))
    groups, transposed = call.attributes.get("group", 1), call.name == "ConvTranspose"
    return lowering.convolution(
        image, filters, out, Sliding(stride, pads[:axes], pads[axes:], dilation, groups, transposed)
    )


def _softmax(call: OnnxCall) -> Lowered:
    """Before version 13 all axes from the one that is told on make a row."""
    value = call.value(0)
    if call.opset >= 13:
        return lowering.softmax(value, call.attributes.get("axis", -1))
    axis = call.attributes.get("axis", 1) % len(value.shape)
    rows = Value((prod(value.shape[:axis]), prod(value.shape[axis:])), value.dtype, value.element_bytes)
    return lowering.softmax(rows, -1)


def _norm(family: type[LayerNorm] | type[RmsNorm]) -> Callable[[OnnxCall], Lowered]:
    def of(call: OnnxCall) -> Lowered:
        value = call.value(0)
        axis = call.attributes.get("axis", -1) % len(value.shape)
        return lowering.norm(family, value, prod(value.shape[axis:]))

    return of


def _attention(call: OnnxCall) -> Lowered:
    heads = call.attributes.get("q_num_heads"), *(call.attributes.get("kv_num_heads"),) * 2
    q, k, v = (_by_heads(call.value(index), heads[index]) for index in range(3))
    mask = call.operands[3] if len(call.operands) > 3 else None
    return lowering.attention(q, k, v, bool(call.attributes.get("is_causal", 0)), mask)


def _by_heads(value: Value, heads: int | None) -> Value:
    """(batch, tokens, heads width) as (batch, heads, tokens, width)."""
    if len(value.shape) != 3 or not heads:
        return value
    batch, tokens, width = value.shape
    return Value((batch, heads, tokens, width // heads), value.dtype, value.element_bytes)


def _gathered(call: OnnxCall) -> Lowered:
    """Rows of a table, or pieces of a tensor along another axis."""
    table, axis = call.value(0), call.attributes.get("axis", 0)
    if len(table.shape) == 2 and axis == 0:
        return lowering.embedding(table, call.results[0])
    return shapes.gather(table, call.results[0], prod(table.shape[axis % max(len(table.shape), 1) + 1 :]))


def _copied(call: OnnxCall) -> Lowered:
    return lowering.copy(call.given[0], call.results[0])


def _split(call: OnnxCall) -> Lowered:
    parts = [lowering.copy(call.value(0), part) for part in call.results]
    refused = [part for part in parts if isinstance(part, str)]
    return refused[0] if refused else tuple(op for part in parts if not isinstance(part, str) for op in part)


def _transposed(call: OnnxCall) -> Lowered:
    """A copy, unless only axes of one element change places."""
    value = call.value(0)
    order = call.attributes.get("perm", range(len(value.shape))[::-1])
    moved = [axis for axis in order if value.shape[axis] > 1]
    return () if moved == sorted(moved) else _copied(call)


LOWERINGS: Mapping[str, Callable[[OnnxCall], Lowered]] = MappingProxyType(
    {
        **ARRAYS,
        "Gemm": _gemm,
        "MatMul": lambda call: lowering.matmul(call.value(0), call.value(1)),
        "Conv": _convolution,
        "ConvTranspose": _convolution,
        "Softmax": _softmax,
        "LogSoftmax": _softmax,
        "LayerNormalization": _norm(LayerNorm),
        "RMSNormalization": _norm(RmsNorm),
        "Attention": _attention,
        "Gather": _gathered,
        "Concat": _copied,
        "Cast": _copied,
        "Expand": _copied,
        "Slice": _copied,
        "Tile": _copied,
        "Transpose": _transposed,
        "Split": _split,
    }
)
"""Operations by name: how each becomes operators."""
