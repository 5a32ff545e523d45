"""A case: one kernel at one size, whatever backend runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from simexplore.workloads.ops import FAMILIES, make_operator

Value = int | str
_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    What it computes (`op`, `params`) is the problem: inputs and the numpy reference come from `kernels.problems` by
    `op`, whatever backend runs it. How (`kernel`, `options`) is the backend's.
    """

    op: str
    """Operator family of `workloads.ops`, or a micro-benchmark's own name such as `pointer_chase`."""
    params: Mapping[str, Value]
    """The operator's parameters by name; `dtype` is among them."""
    kernel: str
    """Variant, a name in the backend's own table of kernels: `gemm_naive`, `gemm_register`, …"""
    options: Mapping[str, int] = field(default_factory=lambda: _NONE)
    """Of the variant: tile, work-group size, … They become columns of the row too."""
    requires: frozenset[str] = frozenset()
    """Features (`Device.features`) without which the device can't run it; such cases are left out and counted."""
    work_flops: float = 0.0
    work_bytes: float = 0.0
    """Of one launch, for rates in the table; by default those of the operator."""

    def __post_init__(self) -> None:
        if "dtype" not in self.params:
            raise ValueError(f"case {self.op}: params need a dtype")
        if self.op in FAMILIES:
            operator = make_operator(self.op, self.params)
            object.__setattr__(self, "work_flops", self.work_flops or float(operator.flops))
            object.__setattr__(self, "work_bytes", self.work_bytes or float(operator.min_bytes))

    @property
    def dtype(self) -> str:
        return str(self.params["dtype"])

    def count(self, name: str) -> int:
        """An integer parameter or option."""
        return int(self.params[name] if name in self.params else self.options[name])

    @property
    def key(self) -> str:
        """What tells this case from every other one of a suite: the `case` column, by which a run is resumed."""
        operator = ",".join(f"{name}={value}" for name, value in self.params.items())
        options = "".join(f",{name}={value}" for name, value in self.options.items())
        return f"{self.op}({operator}) by {self.kernel}{options}"

    def columns(self) -> dict[str, Value]:
        """The operator's and the kernel's part of a measurement row."""
        return {"op": self.op, **self.params, "kernel": self.kernel, **self.options, "case": self.key}
