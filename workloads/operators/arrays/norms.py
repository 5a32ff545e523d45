"""Normalisation of groups of channels. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import ArrayOperator
from simexplore.workloads.operators.base import Amount, Count
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of


@dataclass(frozen=True, slots=True)
class GroupNorm(ArrayOperator):
    """(x - mean) / sqrt(variance + eps) scale + shift, for each group of an image's channels.

    As many groups as channels are an instance norm. flops = 7 batch channels pixels, as a layer norm.
    min_bytes = (2 batch channels pixels + 2 channels) b.
    """

    op: ClassVar[str] = "group_norm"
    example: ClassVar[str] = "group_norm(batch=1,channels=320,pixels=4096,groups=32,dtype=fp16)"

    batch: Count = field(metadata=count_of("images"))
    channels: Count = field(metadata=count_of("channels of an image"))
    pixels: Count = field(metadata=count_of("elements of a channel"))
    groups: Count = field(metadata=count_of("parts of the channels, each normalised by itself; divides channels"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of input and output"))

    @property
    def elements(self) -> Amount:
        """Elements of all images."""
        return 1.0 * self.batch * self.channels * self.pixels

    @property
    def flops(self) -> Amount:
        return 7.0 * self.elements

    @property
    def special_ops(self) -> Amount:
        return 1.0 * self.batch * self.groups

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.elements

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes + 2.0 * bytes_of(self.dtype) * self.channels

    @property
    def elements_in(self) -> tuple[Amount, ...]:
        return (self.elements,)

    @property
    def elements_out(self) -> tuple[Amount, ...]:
        return (self.elements,)

    def check_relations(self) -> None:
        if np.any(np.remainder(self.channels, self.groups)):
            raise ParameterError(self.op, "groups", f"a divisor of channels = {self.channels}", str(self.groups))
