"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simexplore.archs import units
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.estimate.op_run import OpRun, Whole, in_short, whole_to_json
from simexplore.sim.hardware.duty import Period
from simexplore.sim.play.memory.timeline import PlaceMemory


@dataclass(frozen=True, repr=False)
class Run(Whole):
    """A workload played on a machine."""

    time_s: float
    """From the first launch to the last store [s]."""
    energies_j: Mapping[str, float]
    """Energy by where it goes: names as in `power.COMPONENTS`, and `idle`, what the devices draw beside them [J]."""
    peak_memory_bytes: float
    """The most device memory held at once [B]."""
    utilization: Mapping[str, float]
    """Mean share of each shared resource in use (0..1), and of the first GPU's SM array that is held (`sm`).

    Resources of places that the graph uses; those of other GPUs than the first begin with its name, `b.dram`.
    """
    ops: tuple[OpRun, ...]
    """The nodes in the order in which they started; those that started together as the graph has them."""
    memory: Mapping[str, PlaceMemory] = field(default_factory=dict)
    """What was held at its peak by the first GPU, and by each other place that held anything."""

    def __repr__(self) -> str:
        peak = units.format(float(f"{self.peak_memory_bytes:.4g}"), units.BYTES)
        return in_short("Run", self.time_s, self.energy_j, self.ops, f"{peak} at most in memory")

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys; units are in the keys."""
        return {
            **whole_to_json(self.time_s, self.energies_j, self.ops),
            "peak_memory_bytes": self.peak_memory_bytes,
            "utilization": dict(self.utilization),
            "memory": {name: place.to_json() for name, place in self.memory.items()},
            "ops": [op.to_json() for op in self.ops],
        }


@dataclass(frozen=True, repr=False)
class DutyCycle:
    """Work that is done once a period, its devices idle for the rest of it.

    Raises:
        SimexploreError: the work takes longer than the period.
    """

    work: Run | Estimate
    """One piece of work, on boards whose energy budgets the pauses have filled."""
    period: Period
    idle_w: float
    """Power of the devices in pauses [W]."""

    def __post_init__(self) -> None:
        self.period.check(self.work.time_s)

    @property
    def busy_share(self) -> float:
        """Share of all time in which work is done."""
        return (1.0 - self.period.skip) * self.work.time_s / self.period.period_s

    @property
    def energy_per_period_j(self) -> float:
        """Mean energy of a period, skipped ones among them [J]."""
        return self.period.energy_j(self.work.time_s, self.work.energy_j, self.idle_w)

    @property
    def energy_per_work_j(self) -> float:
        """Energy of all periods over the pieces of work that are done, so with all pauses [J]."""
        return self.energy_per_period_j / (1.0 - self.period.skip)

    @property
    def mean_power_w(self) -> float:
        """Mean power over all periods [W]."""
        return self.energy_per_period_j / self.period.period_s

    def __repr__(self) -> str:
        return (
            f"<DutyCycle {units.format(float(f'{self.mean_power_w:.4g}'), units.WATTS)} in the mean, "
            f"{self.busy_share:.1%} busy, of {self.work!r}>"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data with stable keys; units are in the keys. The work itself is not in it."""
        return {
            "period_s": self.period.period_s,
            "skip": self.period.skip,
            "busy_share": self.busy_share,
            "pause_power_w": self.idle_w,
            "energy_per_period_j": self.energy_per_period_j,
            "energy_per_work_j": self.energy_per_work_j,
            "mean_power_w": self.mean_power_w,
        }
