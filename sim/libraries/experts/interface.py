"""What an engine's layer of experts decides, as the mapping asks it."""

from __future__ import annotations

from typing import Protocol

from simexplore.archs.schema.gpu import Gpu
from simexplore.workloads.ops import Moe


class ExpertRules(Protocol):
    """What an engine decides."""

    def gathers_before(self, op: Moe) -> bool:
        """Whether tokens are copied, one row a pair, before the first product; else it gathers them by itself."""

    def quantize_kernels(self, op: Moe) -> float:
        """Kernels beside the gate's that quantise its result."""

    def sums_in_epilogue(self, op: Moe, gpu: Gpu) -> bool:
        """Whether the second product adds its pairs up by itself."""
