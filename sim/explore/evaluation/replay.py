"""Kernels played as events, each different one once.

A kernel alone on a GPU is its grid on the SM array. Two kernels whose grid, timing and launch are the same take the
same time, on whatever machine and in whatever workload they occur.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import singledispatch
from math import inf
from typing import Any

import numpy as np

from simexplore.sim.demand import RESOURCES, Demand, KernelDemand
from simexplore.sim.estimate.cost import Cost
from simexplore.sim.explore.evaluation.rows import Kernels, choose_ways, costs_of
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.hardware.timing import kernel_timing, launch_seconds
from simexplore.sim.play.engine import Clock, Event, seconds
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.probes import Activity, Probes
from simexplore.sim.play.sm_array import GridTiming, SmArray

Key = tuple[float, ...]
_REMEMBERED = 200_000
"""Kernels kept in mind; some hundred bytes each."""


@dataclass(frozen=True)
class _Grid:
    """A kernel as the SM array sees it."""

    ctas: int
    ctas_per_sm: int
    alone: GridTiming

    def timing(self, ctas: int, sms: float) -> GridTiming:  # noqa: ARG002 - a kernel alone has all SMs from the start
        return self.alone


class Player:
    """Plays kernels and remembers them. `played` counts those that were simulated."""

    def __init__(self) -> None:
        self.played = 0
        self._known: dict[Key, float] = {}

    def costs(self, kernels: Kernels, rows: int) -> Cost:
        """As `rows.costs`, with kernels played as events; links are idle, so their closed form stands."""
        closed = [costs_of(demands, kernels, rows) for demands in kernels.ways]
        played = [self._costs_of(demands, kernels, alone) for demands, alone in zip(kernels.ways, closed, strict=True)]
        return choose_ways(kernels, played)

    def _costs_of(self, demands: tuple[Demand, ...], kernels: Kernels, closed: Cost) -> Cost:
        """The closed form's costs, all times of a row as much longer or shorter as events are."""
        rows = len(closed.time_s)
        time = np.zeros(rows)
        for demand in demands:
            keys = _keys(demand, kernels, rows)
            if keys is None:
                time += costs_of((demand,), kernels, rows).time_s
            else:
                time += np.array([self._play(key) for key in keys])
        with np.errstate(invalid="ignore"):  # rows that nothing can compute
            return closed.times(time / closed.time_s)

    def _play(self, key: Key) -> float:
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = _simulate(key)
            self.played += 1
        return self._known[key]


@singledispatch
def _keys(demand: Demand, kernels: Kernels, rows: int) -> list[Key] | None:  # noqa: ARG001
    """Everything that the time of a kernel alone depends on, a tuple a row; None for what is no kernel."""
    return None


@_keys.register
def _(demand: KernelDemand, kernels: Kernels, rows: int) -> list[Key] | None:
    gpu = kernels.machine
    timing = kernel_timing(demand, gpu)
    columns = [
        gpu.sm.count,
        gpu.sm.max_ctas,
        demand.grid.ctas,
        ctas_per_sm(demand, gpu),
        launch_seconds(demand, gpu, kernels.conditions.launch),
        timing.setup_s,
        timing.run_s,
        timing.waves.full,
        timing.full_wave_share,
        timing.tail_share,
        *(timing.busy_s[name] for name in RESOURCES),
    ]
    table = np.stack([np.broadcast_to(np.asarray(column, dtype=np.float64), (rows,)) for column in columns])
    return [tuple(row) for row in table.T.tolist()]


def _simulate(key: Key) -> float:
    """Time of one kernel at the boost clock, launch included [s]; NaN where no candidate fits the machine."""
    sms, max_ctas, ctas, per_sm, launch_s, setup_s, run_s, full, full_share, tail_share, *amounts = key
    if not run_s < inf or per_sm < 1.0:
        return float("nan")
    demands = {name: amount / ctas for name, amount in zip(RESOURCES, amounts, strict=True)}
    timing = GridTiming(setup_s, run_s, int(full), full_share, tail_share, demands)
    clock, probes = Clock(), Probes(())
    network = FlowNetwork(clock, dict.fromkeys(RESOURCES, 1.0))
    array = SmArray(clock, network, round(sms), round(max_ctas), probes)
    ended: list[int] = []

    def play() -> Generator[Event, Any, None]:
        yield clock.sleep(launch_s)
        yield array.launch(_Grid(round(ctas), round(per_sm), timing), Activity("", 0, ""))
        ended.append(clock.now_fs)

    clock.process(play())
    clock.run()
    return seconds(ended[0])
