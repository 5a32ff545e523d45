"""Convolutions beside the usual ones: dilated, with strides by axis, transposed. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import ArrayOperator
from simexplore.workloads.operators.base import Amount, Count
from simexplore.workloads.operators.conv import Conv, Filtered
from simexplore.workloads.operators.parameters import (
    ParameterError,
    accumulate_of,
    check_accumulate,
    count_of,
    dtype_of,
)


@dataclass(frozen=True, slots=True)
class ConvDilated(Conv):
    """As `conv`, with `dilation` voxels from one tap of a filter to the next, and strides of their own along two axes.

    A filter reaches over r = (taps - 1) dilation + 1 voxels of an axis; its positions are
    floor((size + 2 pad + end - r) / stride) + 1, where `end` are zeros at an axis's far end alone. flops and min_bytes
    are those of `conv`.
    """

    op: ClassVar[str] = "conv_dilated"
    example: ClassVar[str] = (
        "conv_dilated(batch=1,cin=64,cout=64,width=80,height=48,cols=3,rows=3,pad_cols=2,pad_rows=2,dtype=bf16,dilation=2)"
    )

    dilation: Count = field(default=1, metadata=count_of("voxels from one tap of a filter to the next"))
    row_stride: Count = field(default=0, metadata=count_of("rows from one position to the next; 0: stride", minimum=0))
    layer_stride: Count = field(
        default=0, metadata=count_of("layers from one position to the next; 0: stride", minimum=0)
    )
    end_cols: Count = field(default=0, metadata=count_of("more zeros at the far end of a row", minimum=0))
    end_rows: Count = field(default=0, metadata=count_of("more rows of zeros on the far side", minimum=0))
    end_layers: Count = field(default=0, metadata=count_of("more layers of zeros on the far side", minimum=0))

    @property
    def strides(self) -> tuple[Count, Count, Count]:
        return (_or(self.layer_stride, self.stride), _or(self.row_stride, self.stride), self.stride)

    @property
    def reaches(self) -> tuple[Count, Count, Count]:
        layers, rows, cols = ((taps - 1) * self.dilation + 1 for taps in (self.layers, self.rows, self.cols))
        return layers, rows, cols

    @property
    def ends(self) -> tuple[Count, Count, Count]:
        return self.end_layers, self.end_rows, self.end_cols


def _or(value: Count, other: Count) -> Count:
    """A count, or where it is 0 another."""
    found = np.where(np.equal(value, 0), other, value)
    return found if np.ndim(found) else int(found)


@dataclass(frozen=True, slots=True)
class ConvTranspose(Filtered, ArrayOperator):
    """Transposed convolution: each voxel of the image adds its filter, times its value, to the result.

    Sizes are those of the image, the filter (taps = layers rows cols) and the result, which padding and output padding
    tell. flops = 2 batch V cout (cin / groups) taps, where V are the voxels of the image: what is cut off at the rim is
    counted, as torch's FlopCounterMode has it.
    min_bytes = (batch cin V + cin (cout / groups) taps + batch cout P) b, where P are the voxels of the result.
    """

    op: ClassVar[str] = "conv_transpose"
    example: ClassVar[str] = (
        "conv_transpose(batch=1,cin=64,cout=32,width=64,out_width=128,height=64,cols=4,rows=4,out_height=128,stride=2,"
        "dtype=bf16)"
    )

    batch: Count = field(metadata=count_of("images"))
    cin: Count = field(metadata=count_of("channels of an image; groups divides it"))
    cout: Count = field(metadata=count_of("channels of the result; groups divides it"))
    width: Count = field(metadata=count_of("voxels of an image along a row"))
    out_width: Count = field(metadata=count_of("voxels of the result along a row"))
    height: Count = field(default=1, metadata=count_of("rows of an image"))
    depth: Count = field(default=1, metadata=count_of("layers of an image"))
    cols: Count = field(default=1, metadata=count_of("voxels of a filter along a row"))
    rows: Count = field(default=1, metadata=count_of("rows of a filter"))
    layers: Count = field(default=1, metadata=count_of("layers of a filter"))
    out_height: Count = field(default=1, metadata=count_of("rows of the result"))
    out_depth: Count = field(default=1, metadata=count_of("layers of the result"))
    stride: Count = field(default=1, metadata=count_of("voxels of the result from one voxel of the image to the next"))
    groups: Count = field(default=1, metadata=count_of("parts of the channels that are convolved by themselves"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of images, filters and result"))
    accumulate: str | None = field(default=None, metadata=accumulate_of())

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.depth * self.height * self.width * self.cout * self.cin * self.taps / self.groups

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.batch * self.cout * self.out_depth * self.out_height * self.out_width

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        element = bytes_of(self.dtype)
        return self.image_bytes / element, self.filter_bytes / element

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.output_bytes / bytes_of(self.dtype),)

    def check_relations(self) -> None:
        self.check_groups()
        for name, size, taps, out in (
            ("out_depth", self.depth, self.layers, self.out_depth),
            ("out_height", self.height, self.rows, self.out_height),
            ("out_width", self.width, self.cols, self.out_width),
        ):
            most = (size - 1) * self.stride + taps + self.stride - 1  # without padding, with most output padding
            if np.any(np.greater(out, most)):
                raise ParameterError(self.op, name, f"at most (size - 1) stride + taps + stride - 1 = {most}", str(out))
        check_accumulate(self.op, self.dtype, self.accumulate)
