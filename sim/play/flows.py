"""Flows that share resources max-min fairly: the dynamics under kernels, copies and collectives.

A flow makes progress at one rate, and each unit of its work demands an amount of every resource it crosses. Rates
change only when a flow joins, leaves or changes what it demands; between those instants progress is linear. A wave of
a flow is a mark on its progress: the flow goes on with an identical one, so no rate changes. Where waves are observed,
each costs one event; else a whole stretch of them does, and how many have ended is told from the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from simexplore.sim.play.engine import FS_PER_S, LAST, Alarm, Clock, duration_fs

Amounts = Sequence[tuple[int, float]]
"""What one unit of work demands: (index of the resource, amount) pairs."""


def max_min_rates(caps: Sequence[float], demands: Sequence[Amounts], capacities: Sequence[float]) -> list[float]:
    """Rates of flows that share resources max-min fairly, by progressive filling [work/s].

    The fairness notion is max-min on each flow's rate as a fraction of its own cap: all fractions rise together; when
    a resource is full the flows that cross it stay where they are and the others rise on. So no flow's fraction can
    be raised without lowering that of a flow which has no larger one, and every flow either runs at its cap or
    crosses a full resource on which no flow has a larger fraction (D. Bertsekas, R. Gallager, Data Networks, 2nd
    edition, 6.5.2).

    Args:
        caps: the most each flow can do alone [work/s], above zero.
        demands: what one unit of each flow's work takes of the resources.
        capacities: what each resource gives [amount/s], above zero.
    """
    rates = list(caps)
    free = list(capacities)
    rising = list(range(len(rates)))
    fraction = 0.0
    while True:
        draws = [0.0] * len(free)
        for flow in rising:
            for resource, amount in demands[flow]:
                draws[resource] += amount * caps[flow]
        limits = [room / draw if draw > 0.0 else inf for room, draw in zip(free, draws, strict=True)]
        limit = min(limits, default=inf)  # how far all rates can rise, over the caps, until a resource is full
        if limit >= 1.0:
            return rates
        fraction = max(fraction, limit)  # rounding must not make later flows slower than those that stopped
        full = {resource for resource, other in enumerate(limits) if other <= limit}
        still_rising = []
        for flow in rising:
            if any(resource in full and amount > 0.0 for resource, amount in demands[flow]):
                rates[flow] = fraction * caps[flow]
                for resource, amount in demands[flow]:
                    free[resource] -= amount * rates[flow]
            else:
                still_rising.append(flow)
        rising = still_rising


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a flow's work, done in equal waves."""

    wave_work: float
    """Work of one wave, above zero."""
    waves: int = 1


class Flow:
    """Work on its way through a network: what it demands, how far it is, and when its next wave ends."""

    cap: float
    demands: Mapping[str, float]
    rate: float
    _network: FlowNetwork
    _alarm: Alarm
    _later: list[Stretch]
    _wave_work: float
    _waves_left: int
    _left: float  # work left in the present stretch, at
    _since_fs: int  # which rate and work left were last known
    _first_fs: int  # when, at this rate, the present wave ends,
    _step_fs: int  # each further one,
    _end_fs: int  # and the stretch

    def __init__(self, owner: FlowOwner, cap: float, demands: Mapping[str, float], stretches: Iterable[Stretch]):
        """A flow that has not joined a network.

        Args:
            owner: who is told when a stretch or the whole flow has ended.
            cap: the most it can do alone [work/s], above zero.
            demands: amount of each resource, by name, that one unit of work takes.
            stretches: its work, in order; at least one.
        """
        self.owner = owner
        self.amounts: Amounts = ()
        self._by_wave = True
        self.reshape(cap, demands, stretches)

    def work_left(self, now_fs: int) -> float:
        """Work that is not done [work]."""
        done = self.rate * (now_fs - self._since_fs) / FS_PER_S
        return max(self._left - done, 0.0) + self._later_work()

    def _later_work(self) -> float:
        return sum(later.wave_work * later.waves for later in self._later)

    def waves_left(self, now_fs: int) -> int:
        """Waves of the present stretch that have not ended; one that is due has."""
        if self._by_wave:
            is_due = self._alarm.is_set and self._alarm.at_fs == now_fs
            return self._waves_left - is_due
        return self._waves_left - self._ended_unseen(now_fs)

    def _ended_unseen(self, now_fs: int) -> int:
        """Waves that have ended since the rate was last changed, where no event tells of them."""
        if self.rate == 0.0 or now_fs < self._first_fs:
            return 0
        if now_fs >= self._end_fs:
            return self._waves_left
        return min(1 + (now_fs - self._first_fs) // max(self._step_fs, 1), self._waves_left - 1)

    def unfinished_work(self, now_fs: int) -> float:
        """Work of all waves that have not ended, the present one as a whole [work]."""
        return self._wave_work * self.waves_left(now_fs) + self._later_work()

    def enter(self, network: FlowNetwork, ring: Callable[[], None], *, by_wave: bool) -> None:
        """Belong to `network`, which says at which rate to go; `ring` is called at the end of each wave, or stretch."""
        self._network = network
        self._alarm = network.clock.alarm(ring)
        self._by_wave = by_wave

    def stop(self, now_fs: int) -> None:
        """Make the flow progress no further."""
        self._change_rate(0.0, now_fs)
        self._alarm.cancel()

    def go(self, rate: float, now_fs: int) -> None:
        """Progress at `rate`, above zero, from now on."""
        self._change_rate(rate, now_fs)
        self._alarm.move(self._next_end_fs())

    def end_wave(self) -> None:
        """The wave that is due is done, whatever its progress has been rounded to."""
        waves = self._waves_left = self._waves_left - 1
        if waves > 1:
            self._alarm.set(self._alarm.at_fs + self._step_fs)
        elif waves == 1:
            self._alarm.set(max(self._end_fs, self._alarm.at_fs))
        else:
            self.end_stretch()

    def reshape(self, cap: float, demands: Mapping[str, float], stretches: Iterable[Stretch]) -> None:
        """Have this work left and this way to do it, at a rate that the network has yet to find."""
        self.cap = cap
        self.demands = demands
        self.rate = 0.0
        self._later = list(stretches)[::-1]
        self._begin_stretch(0)

    def _change_rate(self, rate: float, now_fs: int) -> None:
        if not self._by_wave:
            self._waves_left = max(self._waves_left - self._ended_unseen(now_fs), 1)
        self._left = max(self._left - self.rate * (now_fs - self._since_fs) / FS_PER_S, 0.0)
        self._since_fs = now_fs
        self.rate = rate

    def _begin_stretch(self, now_fs: int) -> None:
        stretch = self._later.pop()
        self._wave_work = stretch.wave_work
        self._waves_left = stretch.waves
        self._left = stretch.wave_work * stretch.waves
        self._since_fs = now_fs

    def end_stretch(self) -> None:
        """The present stretch is done, whatever its progress has been rounded to."""
        if not self._later:
            self._network.leave(self)
            self._left, self._waves_left = 0.0, 0
            self.owner.flow_ended(self)
            return
        self._begin_stretch(self._network.clock.now_fs)
        self._alarm.set(self._next_end_fs())
        self.owner.stretch_ended(self)

    def _next_end_fs(self) -> int:
        """When to be rung [fs]: waves but the last of a stretch are rounded down, so that none is later than it."""
        self._end_fs = self._since_fs + duration_fs(self._left, self.rate)
        others = self._waves_left - 1
        if others == 0:
            self._first_fs = self._end_fs
        else:
            self._step_fs = int(self._wave_work / self.rate * FS_PER_S)
            ahead = max(self._left - others * self._wave_work, 0.0)
            self._first_fs = self._since_fs + int(ahead / self.rate * FS_PER_S)
        return self._first_fs if self._by_wave else self._end_fs


class FlowOwner(Protocol):
    """Who is told how its flow gets on."""

    def wave_ended(self, flow: Flow) -> None:
        """A wave has ended; called only by a network that observes waves."""

    def stretch_ended(self, flow: Flow) -> None:
        """All waves of a stretch have ended, and the next stretch has begun."""

    def flow_ended(self, flow: Flow) -> None:
        """All its work is done and it has left the network."""


class FlowNetwork:
    """Resources by name with what they give [amount/s], and the flows that share them."""

    def __init__(
        self,
        clock: Clock,
        capacities: Mapping[str, float],
        on_rates: Callable[[Mapping[str, float]], None] | None = None,
        observe_waves: bool = False,
    ) -> None:
        """An idle network.

        Args:
            clock: time that flows progress in.
            capacities: what each resource gives [amount/s]; one that gives infinitely much is metered, not shared.
            on_rates: told the load of each resource [amount/s] whenever it may have changed.
            observe_waves: whether owners are told of every wave.
        """
        self.clock = clock
        self.capacities = dict(capacities)
        shared = [name for name, capacity in self.capacities.items() if capacity < inf]
        self._index = {name: index for index, name in enumerate(shared)}
        self._shared = [self.capacities[name] for name in shared]
        self._flows: list[Flow] = []
        self._on_rates = on_rates
        self._observe_waves = observe_waves
        self._settling = clock.alarm(self._settle, LAST)

    def join(self, flow: Flow) -> None:
        """Let a flow take its share from now on."""
        self._flows.append(flow)
        by_wave = self._observe_waves
        flow.enter(self, self._observed(flow) if by_wave else flow.end_stretch, by_wave=by_wave)
        self._admit(flow)

    def leave(self, flow: Flow) -> None:
        """Let a flow's share go to the others."""
        self._flows.remove(flow)
        flow.stop(self.clock.now_fs)
        self._settle_soon()

    def reshape(self, flow: Flow, cap: float, demands: Mapping[str, float], stretches: Iterable[Stretch]) -> None:
        """Replace what is left of a flow's work and what it demands."""
        flow.stop(self.clock.now_fs)
        flow.reshape(cap, demands, stretches)
        self._admit(flow)

    def _admit(self, flow: Flow) -> None:
        index = self._index
        flow.amounts = [
            (index[name], amount) for name, amount in flow.demands.items() if name in index and amount > 0.0
        ]
        self._settle_soon()

    def _observed(self, flow: Flow) -> Callable[[], None]:
        def end_wave() -> None:
            flow.owner.wave_ended(flow)
            flow.end_wave()

        return end_wave

    def _settle_soon(self) -> None:
        """Find new rates once, after all that happens at this instant."""
        if not self._settling.is_set:
            self._settling.set(self.clock.now_fs)

    def _settle(self) -> None:
        flows, now_fs = self._flows, self.clock.now_fs
        rates = max_min_rates([flow.cap for flow in flows], [flow.amounts for flow in flows], self._shared)
        for flow, rate in zip(flows, rates, strict=True):
            if rate != flow.rate:  # an unchanged flow keeps its alarm
                flow.go(rate, now_fs)
        if self._on_rates is not None:
            self._on_rates(self._loads())

    def _loads(self) -> dict[str, float]:
        loads = dict.fromkeys(self.capacities, 0.0)
        for flow in self._flows:
            for name, amount in flow.demands.items():
                loads[name] += amount * flow.rate
        return loads
