"""From shapes to operators, whatever framework the shapes come from.

A function here gives the operators that a call amounts to, or says in a word or two why none stand for it. Sizes are
counts of elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod
from types import MappingProxyType

from simexplore.workloads.operators.memory import NamedElementwise
from simexplore.workloads.ops import (
    Add,
    AttentionDecode,
    AttentionPrefill,
    Conv,
    Conv2d,
    ConvDilated,
    ConvTranspose,
    Copy,
    Embedding,
    EncoderAttention,
    Gelu,
    Gemm,
    LayerNorm,
    Mul,
    Operator,
    Pointwise,
    Relu,
    RmsNorm,
    Softmax,
)

Lowered = tuple[Operator, ...] | str
"""Operators one after the other, or why there are none."""

NOT_FUSED = "attention whose values are of another width is written as two GEMMs and a softmax, its mask left out"
"""For people: no fused operator stands for it."""
NO_FLOATS = "no floating-point type"
AXES = 3
"""Most axes of an image."""
NAMED: Mapping[tuple[str, int], type[NamedElementwise]] = MappingProxyType(
    {("add", 2): Add, ("mul", 2): Mul, ("relu", 1): Relu, ("gelu", 1): Gelu}
)
"""Elementwise operators that have a name of their own, by function and whole inputs."""
FLOPS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("fill", "zeros", "ones", "full"), 0),
        **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "neg", "abs", "reciprocal", "sign"), 1),
        **dict.fromkeys(("pow", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "erf", "floor", "round"), 1),
        **dict.fromkeys(("exp2", "log2", "log10", "log1p", "expm1", "tan", "atan", "asin", "acos", "sinh", "cosh"), 1),
        **dict.fromkeys(("ceil", "trunc", "frac", "square", "fmod", "remainder", "atan2", "threshold", "prelu"), 1),
        **dict.fromkeys(("maximum", "minimum", "where", "masked_fill", "relu", "clamp_min", "clamp_max"), 1),
        **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not"), 1),
        **dict.fromkeys(("clamp", "leaky_relu", "addcmul", "addcdiv", "lerp", "batch_norm"), 2),
        **dict.fromkeys(("sigmoid", "softplus", "elu", "selu", "celu", "softsign"), 3),
        **dict.fromkeys(("silu", "hardswish", "hardsigmoid"), 4),
        "gelu": 8,
    }
)
"""Flops of each element by function, a special function counted once; batch normalisation at inference is a product
and a sum by channel."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: its shape, the name of its type among `DTYPES` or nothing where it has none, and bytes an element."""

    shape: tuple[int, ...]
    dtype: str | None
    element_bytes: float

    @property
    def numel(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> float:
        """Size in memory [B]."""
        return self.numel * self.element_bytes


def dtype_of(*values: Value) -> str | None:
    """The first floating-point type among the values'."""
    return next((value.dtype for value in values if value.dtype is not None), None)


def matmul(a: Value, b: Value) -> Lowered:
    """A product as numpy's `matmul`: (…, m, k) by (…, k, n). What has no batch of its own is read once for all rows."""
    dtype = dtype_of(a, b)
    if dtype is None:
        return NO_FLOATS
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    rows, k, n = left[-2], left[-1], right[-1]
    batches = _broadcast(left[:-2], right[:-2])
    if prod(right[:-2]) == 1:
        return (Gemm(m=rows * batches, n=n, k=k, dtype=dtype),)
    return (Gemm(m=rows, n=n, k=k, batch=batches, dtype=dtype),)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Elements of two shapes spread over each other."""
    longest = max(len(a), len(b))
    padded = [(1,) * (longest - len(shape)) + shape for shape in (a, b)]
    return prod(max(pair) for pair in zip(*padded, strict=True))


@dataclass(frozen=True, slots=True)
class Sliding:
    """How filters slide over an image; a number for each axis, and padding for each end of it."""

    stride: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


def convolution(image: Value, filters: Value, out: Value, sliding: Sliding) -> Lowered:
    """A convolution: of square images `conv2d`, of others `conv`; where filters don't overlap, the GEMM that it is.

    Shapes: image (batch, cin, …), filters (cout, cin / groups, …), out (batch, cout, …); filters of a transposed one
    (cin, cout / groups, …).
    """
    dtype = dtype_of(image)
    if dtype is None:
        return NO_FLOATS
    kernel, size = filters.shape[2:], image.shape[2:]
    dilated = any(step > 1 and width > 1 for step, width in zip(sliding.dilation, kernel, strict=True))
    apart = kernel == sliding.stride and not any(sliding.begin + sliding.end) and sliding.groups == 1 and not dilated
    if sliding.transposed:
        return _transposed(image, filters, out, sliding, dtype, apart=apart, dilated=dilated)
    uniform = all(len(set(each)) == 1 for each in (kernel, size, sliding.stride, sliding.begin + sliding.end))
    batch, cin, cout = image.shape[0], image.shape[1], filters.shape[0]
    if len(size) == 2 and uniform and sliding.groups == 1 and not dilated:
        return (Conv2d(batch, cin, cout, kernel[0], size[0], sliding.stride[0], sliding.begin[0], dtype),)
    if apart:
        return (Gemm(m=batch * prod(out.shape[2:]), n=cout, k=cin * prod(kernel), dtype=dtype),)
    return _general_convolution(image, filters, sliding, dtype, dilated=dilated)


def _in_three(sizes: tuple[int, ...], lacking: int) -> tuple[int, int, int]:
    """Numbers of layers, rows and columns; those of axes that an image lacks are `lacking`."""
    layers, rows, cols = (lacking,) * (AXES - len(sizes)) + sizes
    return layers, rows, cols


def _transposed(
    image: Value, filters: Value, out: Value, sliding: Sliding, dtype: str, *, apart: bool, dilated: bool
) -> Lowered:
    """A transposed convolution; the GEMM that it is where each result belongs to one voxel of the image."""
    size, kernel, strides = image.shape[2:], filters.shape[2:], set(sliding.stride)
    batch, cin = image.shape[:2]
    if apart and out.shape[2:] == tuple(n * step for n, step in zip(size, sliding.stride, strict=True)):
        return (Gemm(m=batch * prod(size), n=filters.shape[1] * prod(kernel), k=cin, dtype=dtype),)
    if dilated or len(strides) > 1 or len(size) > AXES:
        return "transposed, dilated" if dilated else "transposed, of strides of several sizes"
    (depth, height, width), (layers, rows, cols) = _in_three(size, 1), _in_three(kernel, 1)
    out_depth, out_height, out_width = _in_three(out.shape[2:], 1)
    conv = ConvTranspose(
        batch=batch,
        cin=cin,
        cout=filters.shape[1] * sliding.groups,
        width=width,
        out_width=out_width,
        height=height,
        depth=depth,
        cols=cols,
        rows=rows,
        layers=layers,
        out_height=out_height,
        out_depth=out_depth,
        stride=strides.pop(),
        groups=sliding.groups,
        dtype=dtype,
    )
    return (conv,)


def _general_convolution(image: Value, filters: Value, sliding: Sliding, dtype: str, *, dilated: bool) -> Lowered:
    """A convolution along one to three axes, of which those that it lacks are of size 1."""
    if len(sliding.stride) > AXES:
        return f"{len(sliding.stride)}d"
    steps = {step for step, width in zip(sliding.dilation, filters.shape[2:], strict=True) if width > 1}
    if len(steps) > 1:
        return "dilations of several sizes"
    depth, height, width = _in_three(image.shape[2:], 1)
    layers, rows, cols = _in_three(filters.shape[2:], 1)
    pads = [min(pair) for pair in zip(_in_three(sliding.begin, 0), _in_three(sliding.end, 0), strict=True)]
    conv = Conv(
        batch=image.shape[0],
        cin=image.shape[1],
        cout=filters.shape[0],
        width=width,
        height=height,
        depth=depth,
        cols=cols,
        rows=rows,
        layers=layers,
        pad_layers=pads[0],
        pad_rows=pads[1],
        pad_cols=pads[2],
        stride=sliding.stride[-1],
        groups=sliding.groups,
        dtype=dtype,
    )
    strides = {step for step, n in zip(sliding.stride, image.shape[2:], strict=True) if n > 1}
    if len(strides) <= 1 and not dilated and sliding.begin == sliding.end:
        return (replace(conv, stride=strides.pop() if strides else 1),)
    return (_with_steps(conv, sliding, steps.pop() if dilated else 1),)


def _with_steps(conv: Conv, sliding: Sliding, dilation: int) -> ConvDilated:
    """The convolution with its dilation, a stride for each axis, and padding that is uneven."""
    layer_stride, row_stride, stride = _in_three(sliding.stride, 0)
    uneven = [abs(a - b) for a, b in zip(_in_three(sliding.begin, 0), _in_three(sliding.end, 0), strict=True)]
    return ConvDilated(
        **{each.name: getattr(conv, each.name) for each in fields(conv) if each.name != "stride"},
        stride=stride,
        dilation=dilation,
        row_stride=0 if row_stride == stride else row_stride,
        layer_stride=0 if layer_stride == stride else layer_stride,
        end_layers=uneven[0],
        end_rows=uneven[1],
        end_cols=uneven[2],
    )


def attention(q: Value, k: Value, v: Value, causal: bool, mask: Value | None = None) -> Lowered:
    """softmax(q k^T) v of queries (…, heads, seq_q, width) and keys and values (…, kv_heads, seq_kv, width).

    Causal attention counts the pairs that a query sees: half of what counters that know no mask count. Of fewer
    queries than keys the first sees the first key only, as torch has it. A mask is a tensor that is added to scores.
    """
    dtype = dtype_of(q)
    if dtype is None:
        return NO_FLOATS
    queries, keys, values = ((1,) * (4 - len(each.shape)) + each.shape for each in (q, k, v))
    batch, heads, seq_q, width = prod(queries[:-3]), queries[-3], queries[-2], queries[-1]
    kv_heads, seq_kv = keys[-3], keys[-2]
    fused = values[-1] == width and heads % kv_heads == 0
    if fused and mask is None and causal and seq_q <= seq_kv:
        return (AttentionPrefill(batch, heads, kv_heads, width, seq_q, seq_q, dtype=dtype),)
    if fused and mask is None and not causal and seq_q == 1:
        return (AttentionDecode(batch, heads, kv_heads, width, seq_kv, dtype=dtype),)
    if fused and (mask is not None or not causal):
        added = 0 if mask is None else mask.numel
        return (EncoderAttention(batch, heads, kv_heads, width, seq_q, seq_kv, dtype, added),)
    return (
        Gemm(m=seq_q, n=seq_kv, k=width, batch=batch * heads, dtype=dtype),
        Softmax(rows=batch * heads * seq_q, cols=seq_kv, dtype=dtype),
        Gemm(m=seq_q, n=values[-1], k=seq_kv, batch=batch * heads, dtype=dtype),
    )


def softmax(value: Value, axis: int) -> Lowered:
    """Softmax of each row; along another axis than the last rows don't lie in memory as the operator's do."""
    dtype = dtype_of(value)
    if dtype is None:
        return NO_FLOATS
    if not value.shape:
        return "of a number"
    if prod(value.shape[axis % len(value.shape) + 1 :]) > 1:
        return "not of the last axis"
    cols = value.shape[axis]
    return (Softmax(rows=value.numel // cols, cols=cols, dtype=dtype),)


def norm(family: type[LayerNorm] | type[RmsNorm], value: Value, cols: int) -> Lowered:
    """A norm of each row of `cols` elements."""
    dtype = dtype_of(value)
    return NO_FLOATS if dtype is None else (family(value.numel // cols, cols, dtype),)


def copy(source: Value, out: Value) -> Lowered:
    """A copy, into another type or not."""
    if source.dtype is None or out.dtype is None:
        return NO_FLOATS
    return (Copy(out.numel, source.dtype, None if source.dtype == out.dtype else out.dtype),)


def embedding(table: Value, out: Value) -> Lowered:
    """Rows of a table (vocabulary, width) gathered by index."""
    if table.dtype is None:
        return NO_FLOATS
    vocabulary, width = table.shape
    return (Embedding(out.numel // width, width, vocabulary, table.dtype),)


def elementwise(function: str, inputs: Sequence[Value], out: Value) -> Lowered:
    """One result element from each element of the inputs; an input that is spread over the result is not counted."""
    dtype = dtype_of(out, *inputs)
    if dtype is None:
        return NO_FLOATS
    whole = sum(each.numel == out.numel for each in inputs)
    named = NAMED.get((function, whole))
    if named is not None:
        return (named(out.numel, dtype),)
    return (Pointwise(out.numel, whole, 1, FLOPS[function], dtype, function),)
