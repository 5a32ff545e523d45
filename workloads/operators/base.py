"""What every operator record has in common: counts of work, validation, and its text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from simexplore.workloads.operators import parameters

Count: TypeAlias = int | npt.NDArray[np.int64]
"""One operator's integer, or a column of them: an array, one entry per operator."""

Amount: TypeAlias = float | npt.NDArray[np.floating[Any]]
"""What is derived from counts: a number, or an array when any of the counts is one."""


class Operator(ABC):
    """One operator, or a column of operators of one family.

    Count fields are python integers or numpy integer arrays of one shape; data types are scalars.
    Building a record in Python checks nothing (sweeps build millions); `validate` and `parse_operator` do.
    """

    __slots__ = ()

    op: ClassVar[str]
    """Name of the family, as in the `op` column of a table of measurements."""
    example: ClassVar[str]
    """A valid spelling, for messages and documentation."""
    dtype: str

    @property
    @abstractmethod
    def flops(self) -> Amount:
        """Arithmetic operations; a fused multiply-add counts 2."""

    @property
    @abstractmethod
    def min_bytes(self) -> Amount:
        """Compulsory memory traffic [B]: every input read once, every output written once."""

    @property
    @abstractmethod
    def output_bytes(self) -> Amount:
        """Bytes of the result that later operators read [B]."""

    @property
    def matmul_flops(self) -> Amount:
        """The part of `flops` that is matrix multiplication."""
        return 0.0

    @property
    def special_ops(self) -> Amount:
        """Evaluations of exp, tanh, reciprocal or square root, which run on the special-function units."""
        return 0.0

    def validate(self) -> None:
        """Check the fields one by one and against each other.

        Raises:
            ParameterError: names the parameter, what was expected and what was found.
        """
        parameters.validate(self, self.op)  # type: ignore[arg-type]  # every concrete family is a dataclass
        self.check_relations()

    def check_relations(self) -> None:
        """Check fields against each other, such as `kv_heads` dividing `heads`. Families override it."""
        return

    def describe(self) -> str:
        """Canonical text, `gemm(m=4096,n=4096,k=4096,dtype=bf16)`; other parameters at their default are left out."""
        shown = []
        for name, (field, _) in parameters.parameters_of(self).items():
            value: Any = getattr(self, name)
            if isinstance(value, tuple):
                value = "+".join(map(str, value))
            if isinstance(value, np.ndarray):
                shown.append(f"{name}=<{value.size} values>")
            elif name == "dtype" or field.default is MISSING or value != field.default:
                shown.append(f"{name}={value}")
        return f"{self.op}({','.join(shown)})"
