"""Kernels on the SMs of a GPU."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.system import Place
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds
from simexplore.sim.play.devices.clocks import Clocked
from simexplore.sim.play.devices.stage import Playing, Stage
from simexplore.sim.play.devices.steps import named
from simexplore.sim.play.probes import LAUNCH, Activity
from simexplore.sim.play.sm_array import GridTiming


class GpuKernel:
    """A kernel with its chosen tile: the grid that the SM array dispatches, and what launching it costs.

    `correction` is the learned factor on all its times, at the same power.
    """

    def __init__(self, demand: KernelDemand, place: Place, conditions: Conditions, correction: float = 1.0) -> None:
        gpu = place.gpu
        self.kernel = demand.kernel
        self.ctas = int(demand.grid.ctas.item())
        self.ctas_per_sm = int(ctas_per_sm(demand, gpu).item())
        self.launch_s = float(launch_seconds(demand, gpu, conditions.launch).item()) * correction
        self.tile = "x".join(f"{part.item():g}" for part in demand.choice.label)
        self._demand = demand
        self._gpu = gpu
        self._place = place
        self._correction = correction
        timing = kernel_timing(demand, gpu)
        self.spends = {name: np.asarray(joules).item() * correction for name, joules in timing.energies_j.items()}
        self._timings: dict[tuple[int, float], GridTiming] = {}

    @property
    def details(self) -> dict[str, object]:
        """What is worth showing of it, besides its name."""
        tile = {"tile": self.tile} if self.tile else {}
        engine = {"engine": self._gpu.engine} if self._gpu.engine else {}
        work = self._demand.work
        return {
            **tile,
            **engine,
            "ctas": self.ctas,
            "ctas_per_sm": self.ctas_per_sm,
            "waves": self.ctas / (self.ctas_per_sm * self._gpu.sm.count),
            "l2_bytes": self.ctas * work.l2_bytes.item(),
            "dram_bytes": self.ctas * work.dram_bytes.item(),
        }

    def play(self, stage: Stage, activity: Activity) -> Playing:
        """Launch it, and wait for its last CTA."""
        if stage.array is None:
            raise SimexploreError(f"expected a GPU to run {self.kernel}, found {self._place.name!r}")
        stage.probes.on_phase(stage.clock.now_fs, activity, LAUNCH)
        yield stage.clock.sleep(self.launch_s)
        spent_j = yield stage.array.launch(self, activity)
        return float(spent_j)

    def timing(self, ctas: int, sms: float) -> GridTiming:
        """How `ctas` of its CTAs run alone on `sms` SMs."""
        key = (ctas, sms)
        if key not in self._timings:
            self._timings[key] = self._time(ctas, sms)
        return self._timings[key]

    def _time(self, ctas: int, sms: float) -> GridTiming:
        # A hair more than the slots have: rounding of a fraction of an SM must not make five full waves six.
        timing = kernel_timing(self._demand.but(grid={"ctas": np.array([float(ctas)])}), self._gpu, sms * (1.0 + 1e-12))
        each = self._correction / ctas
        busy = named({name: seconds.item() * each for name, seconds in timing.busy_s.items()}, self._place)
        draw = timing.draw
        power = Clocked(
            self._place.home,
            np.asarray(draw.on_clock_s).item(),
            np.asarray(draw.own_clock_s).item(),
            draw.exponent,
            np.asarray(draw.clocked_j).item() * each,
            np.asarray(draw.fixed_j).item() * each,
        )
        return GridTiming(
            setup_s=timing.setup_s.item() * self._correction,
            run_s=timing.run_s.item() * self._correction,
            full_waves=int(timing.waves.full.item()),
            full_wave_share=timing.full_wave_share.item(),
            tail_share=timing.tail_share.item(),
            demands=busy,
            power=power,
        )
