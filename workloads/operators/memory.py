"""Operators of the memory system: elementwise, row-wise, gathers and conversions. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of

INDEX_BYTES = 4.0
"""Token and row indices are 32-bit integers on the device."""


class PerElement(NamedTuple):
    """What an elementwise operator asks for each element."""

    inputs: int
    outputs: int
    flops: int
    special_ops: int = 0


class Elementwise(Operator):
    """One result element from each element of the inputs.

    flops = elements flops_per_element.  min_bytes = elements (inputs b(dtype) + outputs b(type written)).
    """

    __slots__ = ()

    elements: Count
    per_element: ClassVar[PerElement] = PerElement(inputs=1, outputs=1, flops=1)

    @property
    def inputs(self) -> Count:
        """How many tensors are read."""
        return self.per_element.inputs

    @property
    def outputs(self) -> Count:
        """How many tensors are written."""
        return self.per_element.outputs

    @property
    def flops_per_element(self) -> Count:
        """Arithmetic operations for each element, special functions among them."""
        return self.per_element.flops

    @property
    def flops(self) -> Amount:
        return 1.0 * self.elements * self.flops_per_element

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.elements * self.per_element.special_ops

    @property
    def written_dtype(self) -> str:
        """Type of the results."""
        return self.dtype

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.written_dtype) * self.elements * self.outputs

    @property
    def min_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.elements * self.inputs + self.output_bytes


@dataclass(frozen=True, slots=True)
class Pointwise(Elementwise):
    """Any elementwise operator: tensors in, tensors out and flops are given. `function` is a word for people."""

    op: ClassVar[str] = "pointwise"
    example: ClassVar[str] = "pointwise(elements=1048576,inputs=2,dtype=bf16)"

    elements: Count = field(metadata=count_of("elements of one tensor"))
    inputs: Count = field(default=1, metadata=count_of("tensors read", minimum=0))
    outputs: Count = field(default=1, metadata=count_of("tensors written"))
    flops_per_element: Count = field(default=1, metadata=count_of("flops for each element", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of every tensor"))
    function: str = field(default="add", metadata=label_of("what is computed"))


@dataclass(frozen=True, slots=True)
class NamedElementwise(Elementwise):
    """An elementwise operator whose work for each element is known by its name."""

    elements: Count = field(metadata=count_of("elements of the result"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that is read"))
    output_dtype: str | None = field(default=None, metadata=dtype_of("type written, as quantised; none: dtype"))

    @property
    def written_dtype(self) -> str:
        return self.output_dtype or self.dtype


class Add(NamedElementwise):
    """x + y."""

    __slots__ = ()
    op = "add"
    example = "add(elements=1048576,dtype=bf16)"
    per_element = PerElement(inputs=2, outputs=1, flops=1)


class Mul(NamedElementwise):
    """x y."""

    __slots__ = ()
    op = "mul"
    example = "mul(elements=1048576,dtype=bf16)"
    per_element = PerElement(inputs=2, outputs=1, flops=1)


class Relu(NamedElementwise):
    """max(x, 0)."""

    __slots__ = ()
    op = "relu"
    example = "relu(elements=1048576,dtype=bf16)"
    per_element = PerElement(inputs=1, outputs=1, flops=1)


class Gelu(NamedElementwise):
    """GELU by tanh, 0.5 x (1 + tanh(a x (1 + c x^2))): three products, two fused multiply-adds and one tanh."""

    __slots__ = ()
    op = "gelu"
    example = "gelu(elements=1048576,dtype=bf16)"
    per_element = PerElement(inputs=1, outputs=1, flops=8, special_ops=1)


class SiluMul(NamedElementwise):
    """SwiGLU's x y / (1 + exp(-x)), gate x and value y side by side: exp, add, reciprocal and two products."""

    __slots__ = ()
    op = "silu_mul"
    example = "silu_mul(elements=1048576,dtype=bf16)"
    per_element = PerElement(inputs=2, outputs=1, flops=5, special_ops=2)


class Copy(NamedElementwise):
    """A copy within the device's memory."""

    __slots__ = ()
    op = "copy"
    example = "copy(elements=1048576,dtype=bf16)"
    per_element = PerElement(inputs=1, outputs=1, flops=0)


@dataclass(frozen=True, slots=True)
class StreamFma(Elementwise):
    """A loop of multiply-adds on each element of a stream; one result is kept. It is gpu-benches' gpu-roofline.

    flops = elements flops_per_element.  min_bytes = (elements + 1) b(dtype).
    """

    op: ClassVar[str] = "stream_fma_roofline"
    example: ClassVar[str] = "stream_fma_roofline(elements=268435456,flops_per_element=65,dtype=fp32)"
    per_element: ClassVar[PerElement] = PerElement(inputs=1, outputs=1, flops=1)

    elements: Count = field(metadata=count_of("elements read"))
    flops_per_element: Count = field(default=1, metadata=count_of("flops for each element, a multiply-add being two"))
    dtype: str = field(default="fp32", metadata=dtype_of("type that is read and computed in"))

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * (1.0 + 0.0 * self.elements)


@dataclass(frozen=True, slots=True)
class Softmax(Operator):
    """Softmax of each row.

    flops = 5 rows cols: maximum, subtraction, exp, sum and scaling.  min_bytes = 2 rows cols b(dtype).
    """

    op: ClassVar[str] = "softmax"
    example: ClassVar[str] = "softmax(rows=4096,cols=4096,dtype=bf16)"

    rows: Count = field(metadata=count_of("rows, each normalised by itself"))
    cols: Count = field(metadata=count_of("elements of a row"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of input and output"))

    @property
    def flops(self) -> Amount:
        return 5.0 * self.rows * self.cols

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.rows * self.cols

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.rows * self.cols

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes


class Norm(Operator):
    """Normalisation of each row, after adding a residual to it when `residual` is 1.

    flops = (flops_per_element + residual) rows cols.  min_bytes: the input and the result, cols of each learned
    vector, and with a residual also the residual and the sum, which the next residual addition needs. The result may be
    written in a narrower type, `output_dtype`; the sum keeps its own.
    """

    __slots__ = ()

    rows: Count
    cols: Count
    residual: Count
    output_dtype: str | None
    flops_per_element: ClassVar[int]
    learned_vectors: ClassVar[int]

    @property
    def flops(self) -> Amount:
        return 1.0 * self.rows * self.cols * (self.flops_per_element + self.residual)

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.rows

    @property
    def output_bytes(self) -> Amount:
        element = bytes_of(self.output_dtype or self.dtype)
        return (element + bytes_of(self.dtype) * self.residual) * self.rows * self.cols

    @property
    def min_bytes(self) -> Amount:
        read = bytes_of(self.dtype) * self.rows * self.cols * (1 + self.residual)
        return read + self.output_bytes + bytes_of(self.dtype) * self.learned_vectors * self.cols

    def check_relations(self) -> None:
        if np.any(np.greater(self.residual, 1)):
            raise ParameterError(self.op, "residual", "0 or 1", str(self.residual))


@dataclass(frozen=True, slots=True)
class LayerNorm(Norm):
    """(x - mean) / sqrt(variance + eps) scale + shift, for each row.

    7 flops an element: sum, subtract mean, square and add, times 1/sigma, times scale, plus shift.
    """

    op: ClassVar[str] = "layernorm"
    example: ClassVar[str] = "layernorm(rows=4096,cols=4096,dtype=bf16)"
    flops_per_element: ClassVar[int] = 7
    learned_vectors: ClassVar[int] = 2

    rows: Count = field(metadata=count_of("rows, each normalised by itself: tokens"))
    cols: Count = field(metadata=count_of("elements of a row"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that is read"))
    residual: Count = field(default=0, metadata=count_of("1: a residual is added first; 0: not", minimum=0))
    output_dtype: str | None = field(default=None, metadata=dtype_of("type written, as quantised; none: dtype"))


@dataclass(frozen=True, slots=True)
class RmsNorm(Norm):
    """x / sqrt(mean(x^2) + eps) scale, for each row.

    4 flops an element: square and add, times 1/rms, times scale.
    """

    op: ClassVar[str] = "rmsnorm"
    example: ClassVar[str] = "rmsnorm(rows=4096,cols=4096,dtype=bf16)"
    flops_per_element: ClassVar[int] = 4
    learned_vectors: ClassVar[int] = 1

    rows: Count = field(metadata=count_of("rows, each normalised by itself: tokens"))
    cols: Count = field(metadata=count_of("elements of a row"))
    dtype: str = field(default="bf16", metadata=dtype_of("type that is read"))
    residual: Count = field(default=0, metadata=count_of("1: a residual is added first; 0: not", minimum=0))
    output_dtype: str | None = field(default=None, metadata=dtype_of("type written, as quantised; none: dtype"))


@dataclass(frozen=True, slots=True)
class Quantize(Operator):
    """A matrix multiplied by a known scale and rounded to a narrower type.

    flops = 2 rows cols: product and clamp.  min_bytes = rows cols (b(input_dtype) + b(dtype)).
    """

    op: ClassVar[str] = "quant_scale_matrix"
    example: ClassVar[str] = "quant_scale_matrix(rows=4096,cols=4096,dtype=fp8)"

    rows: Count = field(metadata=count_of("rows: tokens"))
    cols: Count = field(metadata=count_of("elements of a row"))
    dtype: str = field(default="fp8", metadata=dtype_of("type written"))
    input_dtype: str = field(default="bf16", metadata=dtype_of("type read"))

    @property
    def flops(self) -> Amount:
        return 2.0 * self.rows * self.cols

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.rows * self.cols

    @property
    def min_bytes(self) -> Amount:
        return bytes_of(self.input_dtype) * self.rows * self.cols + self.output_bytes


@dataclass(frozen=True, slots=True)
class Rope(Operator):
    """Rotary embedding of queries and keys in place: pairs of elements turned by angles that the position tells.

    flops = 3 elements: two products and an addition of each (Su et al., arXiv 2104.09864, eq. 34).
    min_bytes = 2 elements b(dtype) + tokens (head_dim b(dtype) + 4 B): in and out, sines and cosines, a position.
    elements = tokens (heads + kv_heads) head_dim.
    """

    op: ClassVar[str] = "rope"
    example: ClassVar[str] = "rope(tokens=4096,heads=32,kv_heads=8,head_dim=128,dtype=bf16)"

    tokens: Count = field(metadata=count_of("tokens of all sequences"))
    heads: Count = field(metadata=count_of("query heads"))
    kv_heads: Count = field(metadata=count_of("key heads"))
    head_dim: Count = field(metadata=count_of("elements of a head that are turned"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of queries and keys"))

    @property
    def elements(self) -> Amount:
        """Elements that are turned."""
        return 1.0 * self.tokens * (self.heads + self.kv_heads) * self.head_dim

    @property
    def flops(self) -> Amount:
        return 3.0 * self.elements

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.elements

    @property
    def min_bytes(self) -> Amount:
        angles = 1.0 * self.tokens * (self.head_dim * bytes_of(self.dtype) + INDEX_BYTES)
        return 2.0 * self.output_bytes + angles


@dataclass(frozen=True, slots=True)
class Embedding(Operator):
    """Rows of a table gathered by token.

    flops = 0.  min_bytes = tokens (4 B index + width b(dtype)) + min(tokens, vocabulary) width b(dtype).
    """

    op: ClassVar[str] = "embedding"
    example: ClassVar[str] = "embedding(tokens=4096,width=4096,vocabulary=128256,dtype=bf16)"

    tokens: Count = field(metadata=count_of("rows gathered"))
    width: Count = field(metadata=count_of("elements of a row"))
    vocabulary: Count = field(metadata=count_of("rows of the table"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of the table and the output"))

    @property
    def flops(self) -> Amount:
        return 0.0 * self.tokens

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.tokens * self.width

    @property
    def min_bytes(self) -> Amount:
        distinct_rows = np.minimum(self.tokens, self.vocabulary)
        gathered = bytes_of(self.dtype) * distinct_rows * self.width
        return INDEX_BYTES * self.tokens + (gathered if np.ndim(gathered) else float(gathered)) + self.output_bytes
