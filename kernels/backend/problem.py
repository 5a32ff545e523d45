"""A problem: what an operator is given, and what it has to return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simexplore.kernels.backend.case import Case

Array = npt.NDArray[Any]
Generator = np.random.Generator
Arrays = Mapping[str, npt.NDArray[Any]]
"""Operands or results of a kernel, by the names that its problem (`kernels.problems`) gives them."""


@dataclass(frozen=True)
class Problem:
    """Inputs and reference of one operator."""

    inputs: Callable[[Case, Generator], dict[str, Array]]
    expected: Callable[[Case, Arrays], dict[str, Array]]
    """Results by name; a kernel may return others, which are not looked at."""
