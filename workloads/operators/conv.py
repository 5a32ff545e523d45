"""Operators that slide filters over images. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import (
    ParameterError,
    accumulate_of,
    check_accumulate,
    count_of,
    dtype_of,
)


@dataclass(frozen=True, slots=True)
class Conv2d(Operator):
    """Convolution of `batch` square images of hw x hw pixels and cin channels with cout filters of ksize x ksize.

    out = floor((hw + 2 pad - ksize) / stride) + 1.  flops = 2 batch out**2 cout cin ksize**2, the padding counted.
    min_bytes = (batch cin hw**2 + cout cin ksize**2 + batch cout out**2) b.
    """

    op: ClassVar[str] = "conv2d"
    example: ClassVar[str] = "conv2d(batch=16,cin=64,cout=64,ksize=3,hw=56,pad=1,dtype=bf16)"

    batch: Count = field(metadata=count_of("images"))
    cin: Count = field(metadata=count_of("channels of an image"))
    cout: Count = field(metadata=count_of("filters: channels of the result"))
    ksize: Count = field(metadata=count_of("rows and columns of a filter"))
    hw: Count = field(metadata=count_of("rows and columns of an image"))
    stride: Count = field(default=1, metadata=count_of("pixels from one position of the filter to the next"))
    pad: Count = field(default=0, metadata=count_of("zeros around the image, on each side", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of images, filters and result"))
    accumulate: str | None = field(default=None, metadata=accumulate_of())

    @property
    def out(self) -> Count:
        """Rows and columns of the result."""
        return (self.hw + 2 * self.pad - self.ksize) // self.stride + 1

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.out * self.out * self.cout * self.cin * self.ksize * self.ksize

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def image_bytes(self) -> Amount:
        """Bytes of the images [B]."""
        return 1.0 * bytes_of(self.dtype) * self.batch * self.cin * self.hw * self.hw

    @property
    def filter_bytes(self) -> Amount:
        """Bytes of the filters, which are weights [B]."""
        return 1.0 * bytes_of(self.dtype) * self.cout * self.cin * self.ksize * self.ksize

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.batch * self.cout * self.out * self.out

    @property
    def min_bytes(self) -> Amount:
        return self.image_bytes + self.filter_bytes + self.output_bytes

    @property
    def general(self) -> Conv:
        """The same as a convolution of any shape."""
        return Conv(
            self.batch,
            self.cin,
            self.cout,
            height=self.hw,
            width=self.hw,
            rows=self.ksize,
            cols=self.ksize,
            pad_rows=self.pad,
            pad_cols=self.pad,
            stride=self.stride,
            dtype=self.dtype,
            accumulate=self.accumulate,
        )

    def check_relations(self) -> None:
        if np.any(np.greater(self.ksize, self.hw + 2 * self.pad)):
            most = f"at most hw + 2 pad = {self.hw + 2 * self.pad}"
            raise ParameterError(self.op, "ksize", most, str(self.ksize))
        check_accumulate(self.op, self.dtype, self.accumulate)


class Filtered(Operator):
    """What convolutions of images along up to three axes share, whichever way they go: an image, filters, a result."""

    __slots__ = ()

    batch: Count
    cin: Count
    cout: Count
    width: Count
    height: Count
    depth: Count
    cols: Count
    rows: Count
    layers: Count
    groups: Count

    @property
    def taps(self) -> Amount:
        """Voxels of a filter."""
        return 1.0 * self.layers * self.rows * self.cols

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def image_bytes(self) -> Amount:
        """Bytes of the images [B]."""
        return 1.0 * bytes_of(self.dtype) * self.batch * self.cin * self.depth * self.height * self.width

    @property
    def filter_bytes(self) -> Amount:
        """Bytes of the filters, which are weights [B]."""
        return bytes_of(self.dtype) * self.cout * self.cin * self.taps / self.groups

    @property
    def min_bytes(self) -> Amount:
        return self.image_bytes + self.filter_bytes + self.output_bytes

    def check_groups(self) -> None:
        """Raises ParameterError where channels are not divided evenly."""
        for name, channels in (("cin", self.cin), ("cout", self.cout)):
            if np.any(np.remainder(channels, self.groups)):
                raise ParameterError(self.op, "groups", f"a divisor of {name} = {channels}", str(self.groups))


@dataclass(frozen=True, slots=True)
class Conv(Filtered):
    """Convolution of images of any shape: depth x height x width voxels, filters of layers x rows x cols, in groups.

    A signal has height 1, an image depth 1. Each of `groups` parts of the channels has cout / groups filters of
    cin / groups channels; as many groups as channels are a depthwise convolution. An axis's positions are
    floor((size + 2 pad - filter) / stride) + 1, P of all three.
    flops = 2 batch P cout (cin / groups) layers rows cols.
    min_bytes = (batch cin depth height width + cout (cin / groups) layers rows cols + batch cout P) b.
    """

    op: ClassVar[str] = "conv"
    example: ClassVar[str] = (
        "conv(batch=1,cin=64,cout=64,width=80,height=48,cols=3,rows=3,pad_cols=1,pad_rows=1,dtype=bf16)"
    )

    batch: Count = field(metadata=count_of("images"))
    cin: Count = field(metadata=count_of("channels of an image; groups divides it"))
    cout: Count = field(metadata=count_of("filters: channels of the result; groups divides it"))
    width: Count = field(metadata=count_of("voxels of an image along a row"))
    height: Count = field(default=1, metadata=count_of("rows of an image"))
    depth: Count = field(default=1, metadata=count_of("layers of an image"))
    cols: Count = field(default=1, metadata=count_of("voxels of a filter along a row"))
    rows: Count = field(default=1, metadata=count_of("rows of a filter"))
    layers: Count = field(default=1, metadata=count_of("layers of a filter"))
    pad_cols: Count = field(default=0, metadata=count_of("zeros at each end of a row", minimum=0))
    pad_rows: Count = field(default=0, metadata=count_of("rows of zeros on each side", minimum=0))
    pad_layers: Count = field(default=0, metadata=count_of("layers of zeros on each side", minimum=0))
    stride: Count = field(default=1, metadata=count_of("voxels from one position of the filter to the next"))
    groups: Count = field(default=1, metadata=count_of("parts of the channels that are convolved by themselves"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of images, filters and result"))
    accumulate: str | None = field(default=None, metadata=accumulate_of())

    @property
    def axes(self) -> tuple[tuple[Count, Count, Count], ...]:
        """Size of the image, of the filter, and of the padding along layers, rows and columns."""
        return (
            (self.depth, self.layers, self.pad_layers),
            (self.height, self.rows, self.pad_rows),
            (self.width, self.cols, self.pad_cols),
        )

    @property
    def strides(self) -> tuple[Count, Count, Count]:
        """Layers, rows and columns from one position of the filter to the next."""
        return self.stride, self.stride, self.stride

    @property
    def reaches(self) -> tuple[Count, Count, Count]:
        """Layers, rows and columns of the image that a filter reaches over."""
        return self.layers, self.rows, self.cols

    @property
    def ends(self) -> tuple[Count, Count, Count]:
        """Zeros at the far end of each axis alone."""
        return 0, 0, 0

    @property
    def out(self) -> tuple[Count, Count, Count]:
        """Layers, rows and columns of the result."""
        along = zip(self.axes, self.reaches, self.strides, self.ends, strict=True)
        layers, rows, cols = (
            (size + 2 * pad + end - reach) // stride + 1 for (size, _, pad), reach, stride, end in along
        )
        return layers, rows, cols

    @property
    def positions(self) -> Amount:
        """Voxels of a result."""
        layers, rows, cols = self.out
        return 1.0 * layers * rows * cols

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * self.positions * self.cout * self.cin * self.taps / self.groups

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.batch * self.cout * self.positions

    def check_relations(self) -> None:
        along = zip(("layers", "rows", "cols"), self.axes, self.reaches, self.ends, strict=True)
        for name, (size, _, pad), reach, end in along:
            if np.any(np.greater(reach, size + 2 * pad + end)):
                raise ParameterError(self.op, name, f"at most the padded image's {size + 2 * pad + end}", str(reach))
        self.check_groups()
        check_accumulate(self.op, self.dtype, self.accumulate)
