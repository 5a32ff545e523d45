"""What operators on arrays tell beside their work: the elements of each tensor that goes in and comes out."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from simexplore.workloads.operators.base import Amount, Operator

INDEX_BYTES = 8.0
"""Frameworks index with 64-bit integers: torch.long, and int64 in ONNX."""


class ArrayOperator(Operator):
    """An operator whose tensors other operators may make and read."""

    __slots__ = ()

    @property
    @abstractmethod
    def elements_in(self) -> tuple[Amount, ...]:
        """Elements of each tensor that is read, indices left out."""

    @property
    @abstractmethod
    def elements_out(self) -> tuple[Amount, ...]:
        """Elements of each tensor that is written."""


def least(a: Amount, b: Amount) -> Amount:
    """The smaller of two amounts, a Python float where both are numbers."""
    found: NDArray[np.float64] = np.minimum(a, b)
    return found if np.ndim(found) else float(found)
