"""Probes that measure a run: integrals over time of what is in use, and the highest level of memory."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.sim.play.engine import seconds
from simexplore.sim.play.flows import IDLE, POWER
from simexplore.sim.play.probes import Probe


class Integral:
    """Integral over time of a quantity that changes in steps [unit s]."""

    def __init__(self) -> None:
        self._total = 0.0
        self._level = 0.0
        self._since_fs = 0

    def step(self, now_fs: int, level: float) -> None:
        """The quantity has another level from now on."""
        self._total = self.until(now_fs)
        self._level = level
        self._since_fs = now_fs

    def until(self, now_fs: int) -> float:
        """The integral from the start until now."""
        return self._total + self._level * seconds(now_fs - self._since_fs)


class LoadMeter(Probe):
    """Mean load of every shared resource, of the SM array (`sm`), and energy."""

    def __init__(self) -> None:
        self._integrals: dict[str, Integral] = {POWER: Integral(), IDLE: Integral(), "sm": Integral()}

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        for name, load in loads.items():
            self._integrals.setdefault(name, Integral()).step(now_fs, load)

    def on_sms(self, now_fs: int, held_share: float) -> None:
        self._integrals["sm"].step(now_fs, held_share)

    def dynamic_energy_j(self, end_fs: int) -> float:
        """Energy of all work, above idle, until `end_fs` [J]."""
        return self._integrals[POWER].until(end_fs)

    def idle_energy_j(self, end_fs: int) -> float:
        """What boards draw beside it until `end_fs`, less than idle while their clock is held back [J]."""
        return self._integrals[IDLE].until(end_fs)

    def utilization(self, end_fs: int) -> dict[str, float]:
        """Mean share in use until `end_fs` of each resource by name (0..1)."""
        time_s = seconds(end_fs)
        return {
            # Sums of many rounded steps may pass a full resource's 1 by some 1e-16.
            name: min(integral.until(end_fs) / time_s, 1.0) if end_fs else 0.0
            for name, integral in self._integrals.items()
            if name not in (POWER, IDLE)
        }


class MemoryMeter(Probe):
    """The most memory that was held."""

    def __init__(self) -> None:
        self.peak_bytes = 0.0

    def on_memory(self, now_fs: int, held_bytes: float) -> None:  # noqa: ARG002
        self.peak_bytes = max(self.peak_bytes, held_bytes)
