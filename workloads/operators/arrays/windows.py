"""Operators whose results each look at a few elements of an image: pooling and resampling. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import INDEX_BYTES, ArrayOperator, least
from simexplore.workloads.operators.base import Amount, Count
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of


@dataclass(frozen=True, slots=True)
class Pool(ArrayOperator):
    """The largest element, or the mean, of each window of an image; adaptive pooling has windows of size in / out.

    P are the results of a plane, out_depth out_height out_width; taps = layers rows cols are the elements of a window.
    flops = planes P taps: a comparison or an addition each.
    min_bytes = planes (V + P) b + planes P 8 B indices, where V are the elements under windows: of each axis
    min(size, out taps).
    """

    op: ClassVar[str] = "pool"
    example: ClassVar[str] = (
        "pool(planes=1024,width=112,out_width=56,height=112,cols=3,rows=3,out_height=56,dtype=bf16)"
    )

    planes: Count = field(metadata=count_of("images x channels"))
    width: Count = field(metadata=count_of("elements of a plane along a row"))
    out_width: Count = field(metadata=count_of("results along a row"))
    height: Count = field(default=1, metadata=count_of("rows of a plane"))
    depth: Count = field(default=1, metadata=count_of("layers of a plane"))
    cols: Count = field(default=1, metadata=count_of("elements of a window along a row"))
    rows: Count = field(default=1, metadata=count_of("rows of a window"))
    layers: Count = field(default=1, metadata=count_of("layers of a window"))
    out_height: Count = field(default=1, metadata=count_of("rows of results"))
    out_depth: Count = field(default=1, metadata=count_of("layers of results"))
    indices: Count = field(default=0, metadata=count_of("1: where the largest lay is written too; 0: not", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of images and results"))
    function: str = field(default="max", metadata=label_of("max or mean"))

    @property
    def taps(self) -> Amount:
        """Elements of a window."""
        return 1.0 * self.layers * self.rows * self.cols

    @property
    def results(self) -> Amount:
        """Results of all planes."""
        return 1.0 * self.planes * self.out_depth * self.out_height * self.out_width

    @property
    def looked_at(self) -> Amount:
        """Elements of all planes that lie under some window."""
        seen = least(1.0 * self.depth, 1.0 * self.out_depth * self.layers)
        seen = seen * least(1.0 * self.height, 1.0 * self.out_height * self.rows)
        return seen * least(1.0 * self.width, 1.0 * self.out_width * self.cols) * self.planes

    @property
    def flops(self) -> Amount:
        return self.results * self.taps

    @property
    def output_bytes(self) -> Amount:
        return self.results * (bytes_of(self.dtype) + INDEX_BYTES * self.indices)

    @property
    def min_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.looked_at + self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (1.0 * self.planes * self.depth * self.height * self.width,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.results,)

    def check_relations(self) -> None:
        if np.any(np.greater(self.indices, 1)):
            raise ParameterError(self.op, "indices", "0 or 1", str(self.indices))


@dataclass(frozen=True, slots=True)
class Resample(ArrayOperator):
    """Images read at other places than their own: up-sampling, interpolation, sampling by a grid of coordinates.

    Each result is interpolated between `taps` elements of its plane (nearest: 1; linear: 2 along each axis; cubic: 4).
    A grid has `coordinates` numbers for each result of a plane, which all planes of an image share; 0: places follow
    from the sizes.
    flops = planes out_elements 2 (taps - 1): an interpolation, one multiply-add, for each tap but one.
    min_bytes = planes (min(in_elements, out_elements taps) + out_elements) b + images out_elements coordinates b.
    """

    op: ClassVar[str] = "resample"
    example: ClassVar[str] = "resample(planes=640,in_elements=1024,out_elements=4096,dtype=bf16)"

    planes: Count = field(metadata=count_of("images x channels"))
    in_elements: Count = field(metadata=count_of("elements of a plane"))
    out_elements: Count = field(metadata=count_of("results of a plane"))
    taps: Count = field(default=1, metadata=count_of("elements that a result is interpolated between"))
    coordinates: Count = field(default=0, metadata=count_of("numbers of the grid for each result", minimum=0))
    images: Count = field(default=1, metadata=count_of("images, each with a grid of its own; divides planes"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of images, grid and results"))
    function: str = field(default="nearest", metadata=label_of("how is interpolated"))

    @property
    def results(self) -> Amount:
        """Results of all planes."""
        return 1.0 * self.planes * self.out_elements

    @property
    def flops(self) -> Amount:
        return self.results * 2.0 * (self.taps - 1.0)

    @property
    def grid_bytes(self) -> Amount:
        """Bytes of the grids [B]."""
        return 1.0 * bytes_of(self.dtype) * self.images * self.out_elements * self.coordinates

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.results

    @property
    def min_bytes(self) -> Amount:
        looked_at = self.planes * least(1.0 * self.in_elements, 1.0 * self.out_elements * self.taps)
        return bytes_of(self.dtype) * looked_at + self.grid_bytes + self.output_bytes

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (1.0 * self.planes * self.in_elements,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.results,)

    def check_relations(self) -> None:
        if np.any(np.remainder(self.planes, self.images)):
            raise ParameterError(self.op, "images", f"a divisor of planes = {self.planes}", str(self.images))
