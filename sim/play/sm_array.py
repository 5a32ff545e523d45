"""The SM array: CTA slots, dispatch in launch order, waves with a real tail.

Kernels that run at once follow the hardware's leftover policy: CTAs of a kernel launched earlier go first, and a later
one gets the slots that are left, mostly those that fall free in an earlier one's last wave (S. Pai et al., Improving
GPGPU concurrency with elastic kernels, ASPLOS 2013). A kernel never gives a slot back before its CTAs have ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from simexplore.sim.play.devices.clocks import Clocked
from simexplore.sim.play.engine import FS_PER_S, Clock, Event, to_fs
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import QUEUE, SET_UP, TAIL, WAVES, Activity, Probes


@dataclass(frozen=True, slots=True)
class GridTiming:
    """How a grid of CTAs runs alone on some SMs."""

    setup_s: float
    """Serial part before the first CTA computes [s]."""
    run_s: float
    """All waves [s]."""
    full_waves: int
    """Waves that take every slot of the busiest SM."""
    full_wave_share: float
    """Share of `run_s` that one full wave takes."""
    tail_share: float
    """Share of `run_s` that the partial wave takes; 0 where there is none."""
    demands: Mapping[str, float]
    """What one CTA takes of each shared resource at the boost clock [s of the whole machine's resource]."""
    power: Clocked | None = None
    """How the kernel follows the clock, and the energy of one CTA; None: it draws nothing."""


class Grid(Protocol):
    """A kernel as the array sees it: identical CTAs, and how long some of them take on some SMs."""

    @property
    def ctas(self) -> int:
        """CTAs of the grid."""

    @property
    def ctas_per_sm(self) -> int:
        """CTAs that one SM holds at once."""

    def timing(self, ctas: int, sms: float) -> GridTiming:
        """How `ctas` of the CTAs run alone on `sms` SMs."""


SHORTEST_S = 1.0 / FS_PER_S
"""The clock's step: waves that take less, or no time at all, are done by its next one [s]."""
MOST_CTAS = 64
"""CTAs of an SM up to which slots divide it exactly: twice as many as any NVIDIA GPU holds."""


class SmArray:
    """SMs whose CTA slots are handed to kernels in the order of their launch."""

    def __init__(self, clock: Clock, network: FlowNetwork, sms: int, max_ctas_per_sm: int, probes: Probes) -> None:
        """An idle array.

        Args:
            clock: time of the run.
            network: the resources that CTAs share once they are dispatched.
            sms: number of SMs.
            max_ctas_per_sm: the most CTAs that an SM holds at once.
            probes: told when kernels start and end, and how much of the array is held.
        """
        self.clock = clock
        self.network = network
        self.probes = probes
        # An SM is counted in parts: a slot of any kernel is a whole number of them, and none is lost to rounding. Where
        # an SM holds more CTAs than any has held, parts are so many that what rounding loses makes no slot.
        self.parts_per_sm = math.lcm(*range(1, min(max_ctas_per_sm, MOST_CTAS) + 1))
        self._parts = sms * self.parts_per_sm
        self._free = self._parts
        self._kernels: list[_Resident] = []

    def launch(self, grid: Grid, activity: Activity, max_sms: int | None = None) -> Event:
        """Queue a kernel for dispatch, on at most `max_sms` SMs (a partition, as CUDA's green contexts give).

        The event happens when its last CTA has ended; its value is the dynamic energy of all CTAs [J].
        """
        limit = self._parts if max_sms is None else min(max_sms * self.parts_per_sm, self._parts)
        kernel = _Resident(self, grid, activity, limit)
        self._kernels.append(kernel)
        self.probes.on_phase(self.clock.now_fs, activity, QUEUE)
        self._dispatch()
        return kernel.done

    def hold(self, sms: float = math.inf) -> int:
        """Take at most `sms` SMs of what is free, for a kernel that stays; how much that is, for `release`."""
        wanted = self._parts if sms >= self._parts / self.parts_per_sm else math.ceil(sms) * self.parts_per_sm
        parts = min(wanted, self._free)
        self._free -= parts
        self._dispatch()
        return parts

    def release(self, parts: int) -> None:
        """Take slots back from a kernel and hand them to those that wait."""
        self._free += parts
        self._dispatch()

    def retire(self, kernel: _Resident) -> None:
        """Forget a kernel whose last CTA has ended."""
        self._kernels.remove(kernel)
        self.release(kernel.held)

    def _dispatch(self) -> None:
        for kernel in self._kernels:
            if kernel.wants_slots:
                self._free -= kernel.take(self._free)
                if kernel.wants_slots:
                    break  # the leftover policy: who was launched later waits until this one is dispatched
        self.probes.on_sms(self.clock.now_fs, 1.0 - self._free / self._parts)


@dataclass(frozen=True, slots=True)
class _Layout:
    """CTAs laid out in waves over slots; the last wave, which may be partial, is apart from the whole ones."""

    ctas: int
    slots: int
    whole_waves: int

    @property
    def last_wave_ctas(self) -> int:
        return max(self.ctas - self.whole_waves * self.slots, 1)


class _Resident:
    """A kernel in the array: the slots that it holds, and the flow of its CTAs' work, counted in CTAs.

    When it gets more slots, CTAs of waves that have not ended are laid out anew over all its slots, and what the
    present wave had done counts for them. So it is never faster than alone on those slots from the start.
    """

    def __init__(self, array: SmArray, grid: Grid, activity: Activity, limit: int) -> None:
        self.activity = activity
        self.done = array.clock.event()
        self.held = 0
        self._array = array
        self._grid = grid
        self._limit = limit
        self._parts_per_cta = array.parts_per_sm // grid.ctas_per_sm
        self._flow = Flow(self, 1.0, {}, [Stretch(float(grid.ctas))])
        self._setup_s = 0.0
        self._computes = False
        self._layout = _Layout(grid.ctas, 0, 0)
        self._in_last_wave = False

    @property
    def wants_slots(self) -> bool:
        """Whether it has CTAs that are not dispatched and may hold more slots."""
        return (
            not self._in_last_wave and self.held + self._parts_per_cta <= self._limit and self._undispatched_ctas() > 0
        )

    def take(self, free: int) -> int:
        """Take what it can use of the free parts of the array; returns how much that is."""
        offered = min(self.held + free, self._limit) // self._parts_per_cta
        slots = self.held // self._parts_per_cta
        if offered <= slots:
            return 0
        taken = min(offered - slots, self._undispatched_ctas()) * self._parts_per_cta
        starts = self.held == 0
        self.held += taken
        self._lay_out(offered)
        if starts:
            self._start()
        return taken

    def wave_ended(self, _: Flow) -> None:
        """Called for each wave if a probe watches waves."""
        self._array.probes.on_wave(self._array.clock.now_fs, self.activity)

    def stretch_ended(self, _: Flow) -> None:
        """The last wave begins: all CTAs are dispatched, and slots that it leaves empty are free."""
        self._in_last_wave = True
        left_empty = self.held - self._layout.last_wave_ctas * self._parts_per_cta
        if left_empty > 0:
            self._tell(TAIL)
            self.held -= left_empty
            self._array.release(left_empty)

    def flow_ended(self, _: Flow) -> None:
        """The last CTA has ended."""
        self._array.probes.on_kernel_end(self._array.clock.now_fs, self.activity)
        self._array.retire(self)
        self.done.succeed(self._flow.spent_j)

    def _undispatched_ctas(self) -> int:
        return self._unfinished_ctas() - self.held // self._parts_per_cta

    def _unfinished_ctas(self) -> int:
        """CTAs of waves that have not ended."""
        layout = self._layout
        if not self._computes:
            return layout.ctas
        ended = layout.whole_waves - self._flow.waves_left(self._array.clock.now_fs)
        return layout.ctas - ended * layout.slots

    def _lay_out(self, slots: int) -> None:
        """Lay the CTAs that have not ended out in waves over `slots` slots."""
        now_fs = self._array.clock.now_fs
        ctas = self._unfinished_ctas()
        left = self._flow.work_left(now_fs)
        timing = self._grid.timing(ctas, slots / self._grid.ctas_per_sm)
        whole, last_share = timing.full_waves, timing.tail_share
        if last_share == 0.0:  # the last of equal waves is the one whose slots fall free as it goes
            whole, last_share = whole - 1, timing.full_wave_share
        stretches = [Stretch(timing.full_wave_share * left, whole)] if whole else []
        stretches.append(Stretch(last_share * left))
        run_s = max(timing.run_s, SHORTEST_S)
        if self._computes:  # what the present wave has done counts
            run_s *= min(left / self._flow.unfinished_work(now_fs), 1.0)
        reshape = partial(self._array.network.reshape, self._flow) if self._computes else self._flow.reshape
        reshape(left / run_s, timing.demands, stretches, timing.power)
        self._setup_s = timing.setup_s
        self._layout = _Layout(ctas, slots, whole)
        self._in_last_wave = whole == 0

    def _start(self) -> None:
        clock = self._array.clock
        self._array.probes.on_kernel_start(clock.now_fs, self.activity)
        self._tell(SET_UP)
        clock.alarm(self._compute).set(clock.now_fs + to_fs(self._setup_s))

    def _compute(self) -> None:
        self._computes = True
        self._tell(WAVES)
        self._array.network.join(self._flow)

    def _tell(self, phase: str) -> None:
        self._array.probes.on_phase(self._array.clock.now_fs, self.activity, phase)
