"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class OpRun:
    """One node of the graph in a run."""

    name: str
    """The node's name."""
    op: str
    """The operator, as on the command line."""
    start_s: float
    """When its first launch began [s]."""
    time_s: float
    """From its first launch to its last store [s]."""
    bound: str
    """What bounds it alone: one of `estimate.BOUNDS`."""
    energy_j: float
    """Dynamic energy, above idle [J]."""
    kernel: str
    """Its kernels in order, joined by `+`."""


@dataclass(frozen=True)
class Run:
    """A workload played on a machine."""

    time_s: float
    """From the first launch to the last store [s]."""
    energy_j: float
    """Dynamic energy of all kernels, and idle power over the time [J]."""
    peak_memory_bytes: float
    """The most device memory held at once [B]."""
    utilization: Mapping[str, float]
    """Mean share of each shared resource in use (0..1), and of the SM array held by CTAs (`sm`)."""
    ops: tuple[OpRun, ...]
    """The nodes in the order in which they started."""

    @property
    def mean_power_w(self) -> float:
        """Energy over time [W]; 0 for an empty run."""
        return self.energy_j / self.time_s if self.time_s > 0.0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys; units are in the keys."""
        return {
            "time_s": self.time_s,
            "energy_j": self.energy_j,
            "peak_memory_bytes": self.peak_memory_bytes,
            "utilization": dict(self.utilization),
            "ops": [asdict(op) for op in self.ops],
        }
