"""From operators to what the hardware plays: each distinct operator is mapped once, however often a graph has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand, LinkDemand
from simexplore.sim.estimate.operators import kernels_of, link_seconds, predict
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds
from simexplore.sim.play.sm_array import GridTiming
from simexplore.workloads.ops import Operator


class GpuKernel:
    """A kernel with its chosen tile: the grid that the SM array dispatches, and what launching it costs.

    `correction` is the learned factor on all its times; the energy of its work stays.
    """

    def __init__(self, demand: KernelDemand, gpu: Gpu, conditions: Conditions, correction: float = 1.0) -> None:
        self.kernel = demand.kernel
        self.ctas = int(demand.ctas.item())
        self.ctas_per_sm = int(ctas_per_sm(demand, gpu).item())
        self.launch_s = float(launch_seconds(demand, gpu, conditions.launch).item()) * correction
        self.tile = "x".join(f"{part.item():g}" for part in demand.label)
        self._demand = demand
        self._gpu = gpu
        self._correction = correction
        self._timings: dict[tuple[int, float], GridTiming] = {}

    @property
    def details(self) -> dict[str, object]:
        """What is worth showing of it, besides its name."""
        tile = {"tile": self.tile} if self.tile else {}
        return {**tile, "ctas": self.ctas, "ctas_per_sm": self.ctas_per_sm}

    def timing(self, ctas: int, sms: float) -> GridTiming:
        """How `ctas` of its CTAs run alone on `sms` SMs."""
        key = (ctas, sms)
        if key not in self._timings:
            self._timings[key] = self._time(ctas, sms)
        return self._timings[key]

    def _time(self, ctas: int, sms: float) -> GridTiming:
        # A hair more than the slots have: rounding of a fraction of an SM must not make five full waves six.
        timing = kernel_timing(replace(self._demand, ctas=np.array([float(ctas)])), self._gpu, sms * (1.0 + 1e-12))
        busy = {name: seconds * self._correction for name, seconds in timing.busy_s.items()}
        taken = {**busy, "power": timing.energy_j}
        return GridTiming(
            setup_s=timing.setup_s.item() * self._correction,
            run_s=timing.run_s.item() * self._correction,
            full_waves=int(timing.waves.full.item()),
            full_wave_share=timing.full_wave_share.item(),
            tail_share=timing.tail_share.item(),
            demands={name: amount.item() / ctas for name, amount in taken.items()},
        )


@dataclass(frozen=True)
class LinkTransfer:
    """One GPU's share of a collective, or a copy."""

    kernel: str
    link: str
    latency_s: float
    transfer_s: float

    @property
    def details(self) -> Mapping[str, object]:
        """What is worth showing of it, besides its name."""
        return {"link": self.link}

    @classmethod
    def of(cls, demand: LinkDemand, gpu: Gpu, correction: float = 1.0) -> LinkTransfer:
        """The latency and the bandwidth part of `link_seconds`, which play one after the other; both are corrected."""
        none = np.zeros(1)
        return cls(
            kernel=demand.kernel,
            link=demand.link,
            latency_s=link_seconds(replace(demand, bytes=none), gpu).item() * correction,
            transfer_s=link_seconds(replace(demand, steps=none), gpu).item() * correction,
        )


Step: TypeAlias = GpuKernel | LinkTransfer


@dataclass(frozen=True)
class Plan:
    """An operator as it will be played."""

    steps: tuple[Step, ...]
    """Its kernels and transfers, one after another."""
    bound: str
    """What bounds it alone."""
    interval_ratio: float
    """Upper end of the 80 % interval of its time alone over that time."""

    @property
    def kernel(self) -> str:
        """Names of its kernels."""
        return "+".join(step.kernel for step in self.steps)


class Planner:
    """Plans operators for one GPU and remembers them."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._plans: dict[tuple[Operator, tuple[object, ...]], Plan] = {}

    def plan(self, op: Operator, conditions: Conditions) -> Plan:
        """The plan of an operator whose fields are numbers.

        Raises:
            SimexploreError: the GPU cannot run it.
        """
        cache = conditions.cache
        state = (cache.weight_copies, cache.activation_copies, cache.earlier_shapes)
        key = (op, (*state, replace(conditions, cache=CacheState())))
        if key not in self._plans:
            self._plans[key] = self._make(op, conditions)
        return self._plans[key]

    def _make(self, op: Operator, conditions: Conditions) -> Plan:
        prediction = predict(op, self._gpu, conditions)
        correction = prediction.correction.item()
        steps: list[Step] = [
            LinkTransfer.of(demand, self._gpu, correction)
            if isinstance(demand, LinkDemand)
            else GpuKernel(demand, self._gpu, conditions, correction)
            for demand in kernels_of(op, self._gpu, conditions)
        ]
        return Plan(tuple(steps), prediction.bound[0], prediction.interval_ratio.item())
