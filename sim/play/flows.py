"""Flows that share resources max-min fairly: the dynamics under kernels, copies and collectives.

A flow makes progress at one rate, and each unit of its work demands an amount of every resource it crosses. Rates
change only when a flow joins, leaves or changes what it demands; between those instants progress is linear. A wave of
a flow is a mark on its progress: the flow goes on with an identical one, so no rate changes. Where waves are observed,
each costs one event; else a whole stretch of them does, and how many have ended is told from the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import Protocol

from simexplore.sim.play.devices.clocks import CLOSE, ON_CLOCK, BoardClock, Clocked, clock_of
from simexplore.sim.play.devices.shares import Amounts, max_min_rates
from simexplore.sim.play.engine import FS_PER_S, LAST, Alarm, Clock, duration_fs

POWER, IDLE = "power", "idle"
"""Names under which probes are told the dynamic power of all flows, and what devices draw beside it [W]."""


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
    power: Clocked | None
    rate: float
    joules: float
    """Dynamic energy of a unit of work at the present clock [J]."""
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

    def __init__(
        self,
        owner: FlowOwner,
        cap: float,
        demands: Mapping[str, float],
        stretches: Iterable[Stretch],
        power: Clocked | None = None,
    ):
        """A flow that has not joined a network.

        Args:
            owner: who is told when a stretch or the whole flow has ended.
            cap: the most it can do alone at the boost clock [work/s], above zero.
            demands: amount of each resource, by name, that one unit of work takes at the boost clock.
            stretches: its work, in order; at least one.
            power: how it follows the clock of a board; None: it draws nothing, and follows none.
        """
        self.owner = owner
        self.amounts: Amounts = ()
        self.spent_j = 0.0
        """Dynamic energy of the work that is done, when it was last accounted for [J]."""
        self.clock = 1.0
        """Clock over boost that `joules` and the rate are of."""
        self._by_wave = True
        self._unaccounted = 0.0
        self.reshape(cap, demands, stretches, power)

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

    def reshape(
        self,
        cap: float,
        demands: Mapping[str, float],
        stretches: Iterable[Stretch],
        power: Clocked | None = None,
    ) -> None:
        """Have this work left and this way to do it, at a rate that the network has yet to find."""
        self.cap = cap
        self.demands = demands
        self.power = power
        self.rate = 0.0
        self.clock = 1.0
        self.joules = power.joules() if power is not None else 0.0
        self._later = list(stretches)[::-1]
        self._begin_stretch(0)
        self._unaccounted = self._left + self._later_work()

    def change_clock(self, clock: float, scale: float, now_fs: int) -> None:
        """What is done from now on is done at another clock of the board."""
        if clock != self.clock and self.power is not None:
            self.account(self.work_left(now_fs))
            self.clock = clock
            self.joules = self.power.joules(scale)

    def account(self, left: float) -> None:
        """Add the energy of the work that has been done since this was last asked, `left` being still to do."""
        self.spent_j += (self._unaccounted - left) * self.joules
        self._unaccounted = left

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
            self.account(0.0)
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
        boards: Sequence[BoardClock] = (),
        on_boards: Callable[[Mapping[str, tuple[float, float]]], None] | None = None,
    ) -> None:
        """An idle network.

        Args:
            clock: time that flows progress in.
            capacities: what each resource gives [amount/s]; one that gives infinitely much is metered, not shared.
            on_rates: told the load of each resource [amount/s] whenever it may have changed.
            observe_waves: whether owners are told of every wave.
            boards: the boards whose clocks the flows follow.
            on_boards: told the power of each board [W] and its clock over boost whenever they may have changed, and
                what flows draw whose power is of no board, by the name that they have for it.
        """
        self.clock = clock
        self.capacities = dict(capacities)
        shared = [name for name, capacity in self.capacities.items() if capacity < inf]
        self._index = {name: index for index, name in enumerate(shared)}
        self._shared = [self.capacities[name] for name in shared]
        self._on_clock = [name.rpartition(".")[2] in ON_CLOCK for name in shared]
        self._flows: list[Flow] = []
        self._on_rates = on_rates
        self._on_boards = on_boards
        self._observe_waves = observe_waves
        self._boards = boards
        self._beside: dict[str, float] = {}
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
        self.settle_soon()

    def reshape(
        self,
        flow: Flow,
        cap: float,
        demands: Mapping[str, float],
        stretches: Iterable[Stretch],
        power: Clocked | None = None,
    ) -> None:
        """Replace what is left of a flow's work and what it demands."""
        flow.account(flow.work_left(self.clock.now_fs))
        flow.stop(self.clock.now_fs)
        flow.reshape(cap, demands, stretches, power)
        self._admit(flow)

    def _admit(self, flow: Flow) -> None:
        index = self._index
        flow.amounts = [
            (index[name], amount) for name, amount in flow.demands.items() if name in index and amount > 0.0
        ]
        self.settle_soon()

    def _observed(self, flow: Flow) -> Callable[[], None]:
        def end_wave() -> None:
            flow.owner.wave_ended(flow)
            flow.end_wave()

        return end_wave

    def settle_soon(self) -> None:
        """Find new rates once, after all that happens at this instant."""
        if not self._settling.is_set:
            self._settling.set(self.clock.now_fs)

    def _settle(self) -> None:
        now_fs = self.clock.now_fs
        clocks = {board.name: 1.0 for board in self._boards}
        rates = self._rates(clocks)
        for board in self._boards:
            held = self._held_clock(board, clocks, rates, now_fs)
            if held < 1.0:
                clocks[board.name] = held
                rates = self._rates(clocks)
        drawn = {board.name: (self._draws(board, clocks, rates), clocks[board.name]) for board in self._boards}
        for board in self._boards:
            board.keep(*drawn[board.name], now_fs)
        scales = {board.name: board.scale(clocks[board.name]) for board in self._boards}
        for flow, rate in zip(self._flows, rates, strict=True):
            if flow.power is not None:
                name = flow.power.board
                flow.change_clock(clocks.get(name, 1.0), scales.get(name, 1.0), now_fs)
            if rate != flow.rate:  # an unchanged flow keeps its alarm
                flow.go(rate, now_fs)
        if self._on_rates is not None:
            self._on_rates(self._loads(clocks))
        if self._on_boards is not None:
            self._on_boards({**drawn, **self._drawn_beside(clocks, rates)})

    def _held_clock(self, board: BoardClock, clocks: Mapping[str, float], rates: Sequence[float], now_fs: int) -> float:
        """The clock over boost at which a board stays within the power that it may draw now."""

        def left_s() -> float:
            pairs = zip(self._flows, rates, strict=True)
            return max(
                flow.work_left(now_fs) / rate
                for flow, rate in pairs
                if flow.power is not None and flow.power.board == board.name
            )

        def beyond(log_clock: float) -> float:
            tried = {**clocks, board.name: exp(log_clock)}
            return log(self._draws(board, tried, self._rates(tried)) / allowed_w)

        asked_w = self._draws(board, clocks, rates)
        allowed_w = board.allowed_w(asked_w, left_s, now_fs)
        return 1.0 if asked_w <= allowed_w * (1.0 + CLOSE) else clock_of(beyond)

    def _rates(self, clocks: Mapping[str, float]) -> list[float]:
        caps, amounts = [], []
        for flow in self._flows:
            clock = 1.0 if flow.power is None else clocks.get(flow.power.board, 1.0)
            slower = 1.0 if flow.power is None else flow.power.slower(clock)
            caps.append(flow.cap / slower)
            amounts.append(flow.amounts if clock == 1.0 else self._at_clock(flow.amounts, clock))
        return max_min_rates(caps, amounts, self._shared)

    def _at_clock(self, amounts: Amounts, clock: float) -> Amounts:
        return [(index, amount / clock if self._on_clock[index] else amount) for index, amount in amounts]

    def _draws(self, board: BoardClock, clocks: Mapping[str, float], rates: Sequence[float]) -> float:
        """Power of a board, idle included, at clocks and rates [W]."""
        clock, dynamic_w = clocks[board.name], 0.0
        scale = board.scale(clock)
        for flow, rate in zip(self._flows, rates, strict=True):
            if flow.power is not None and flow.power.board == board.name:
                dynamic_w += rate * flow.power.joules(scale)
        return dynamic_w + board.idle_w(clock)

    def _drawn_beside(self, clocks: Mapping[str, float], rates: Sequence[float]) -> dict[str, tuple[float, float]]:
        """Dynamic power of what is on no board, of all that ever drew any [W], each with a clock that nothing holds."""
        self._beside = dict.fromkeys(self._beside, 0.0)
        for flow, rate in zip(self._flows, rates, strict=True):
            if flow.power is not None and flow.power.board not in clocks:
                name = flow.power.board
                self._beside[name] = self._beside.get(name, 0.0) + rate * flow.power.joules()
        return {name: (power_w, 1.0) for name, power_w in self._beside.items()}

    def _loads(self, clocks: Mapping[str, float]) -> dict[str, float]:
        loads = dict.fromkeys(self.capacities, 0.0)
        if self._boards:
            loads[POWER] = sum(flow.joules * flow.rate for flow in self._flows)
            loads[IDLE] = sum(board.idle_w(clocks[board.name]) for board in self._boards)
        for flow in self._flows:
            for name, amount in flow.demands.items():
                slower = flow.clock if name.rpartition(".")[2] in ON_CLOCK else 1.0
                loads[name] += amount / slower * flow.rate
        return loads
