"""Operators that slide filters over images. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of


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

    @property
    def out(self) -> Count:
        """Rows and columns of the result."""
        return (self.hw + 2 * self.pad - self.ksize) // self.stride + 1

    @property
    def flops(self) -> Amount:
        return 2.0 * self.batch * _square(self.out) * self.cout * self.cin * _square(self.ksize)

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def image_bytes(self) -> Amount:
        """Bytes of the images [B]."""
        return 1.0 * bytes_of(self.dtype) * self.batch * self.cin * _square(self.hw)

    @property
    def filter_bytes(self) -> Amount:
        """Bytes of the filters, which are weights [B]."""
        return 1.0 * bytes_of(self.dtype) * self.cout * self.cin * _square(self.ksize)

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.dtype) * self.batch * self.cout * _square(self.out)

    @property
    def min_bytes(self) -> Amount:
        return self.image_bytes + self.filter_bytes + self.output_bytes

    def check_relations(self) -> None:
        if np.any(np.greater(self.ksize, self.hw + 2 * self.pad)):
            most = f"at most hw + 2 pad = {self.hw + 2 * self.pad}"
            raise ParameterError(self.op, "ksize", most, str(self.ksize))


def _square(count: Count) -> Amount:
    """As a float: 64-bit integers overflow from 3e9 on."""
    return (1.0 * count) ** 2
