"""Two nodes that hand each other batches, as events: both sides' work shares resources with all else in the run.

Of very many batches the middle is one stretch at the period that those before it show. For as long as it lasts, what
is under way between the two sides stands still, so the run is as long as if the batches before had repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from simexplore.sim.estimate.alone import Phase
from simexplore.sim.estimate.exchange import LONGEST_PLAYED, batch_share, period_of, phase_share, steady_marks
from simexplore.sim.play.devices.clocks import Clocked
from simexplore.sim.play.devices.phases import clocked
from simexplore.sim.play.devices.stage import Stage
from simexplore.sim.play.devices.steps import PhasedStep, Step
from simexplore.sim.play.engine import Alarm, Clock, Event, seconds, to_fs
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import Activity, Probes
from simexplore.workloads.graph import Exchange

Process = Generator[Event, Any, None]


class Side:
    """One side: how it is seen, and what its work takes, by the network's names."""

    def __init__(self, activity: Activity, phase: Phase, batches: float, board: str) -> None:
        self.activity = activity
        self.alone_s = float(phase.run_s)
        """Of all its work [s]."""
        self.energy_j = 0.0
        """Dynamic energy of what it has done [J]."""
        self.power = clocked(phase, board, 1.0 / batches)
        """How its work follows the clock, and the energy of a full batch."""
        self.batch_s = self.alone_s / batches
        """Of a full batch alone [s]."""
        self.takes = {name: float(taken) / batches for name, taken in phase.takes.items()}
        """What a full batch takes."""

    def at(self, batches: str) -> Activity:
        """The activity that probes see while this side works on these batches."""
        seen = self.activity
        return Activity(seen.node, seen.stream, seen.kernel, {**seen.details, "batch": batches})


class Exchanged:
    """The state of one exchange."""

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, exchange: Exchange) -> None:
        self._clock, self._network, self._probes = clock, network, probes
        self.exchange = exchange
        self._played = replace(exchange, batches=min(exchange.batches, LONGEST_PLAYED))
        self._skipped = exchange.batches - self._played.batches
        self._asked = [clock.event() for _ in range(self._played.batches)]
        self._answered = [clock.event() for _ in range(self._played.batches)]
        self._over = clock.event()
        self._way = _UnderWay(clock, network, probes, to_fs(exchange.doorbell_s))
        self._sides: dict[str, Side] = {}
        self._marks: list[float] = []
        self.begun_fs = 0
        """When the asking side could make its first query."""

    def play(self, step: Step, stage: Stage, activity: Activity) -> Generator[Event, Any, Side]:
        """One of the two nodes, until the last answer is used.

        Raises:
            ValueError: its step is not one phase of waiting and sharing, so no share of it is a batch.
        """
        if not isinstance(step, PhasedStep) or len(step.phases) != 1:
            raise ValueError(f"{activity.node}: a node of an exchange has one phase, found {step.kernel}")
        side = self._sides[activity.node] = Side(activity, step.phases[0], self.exchange.full_batches, step.board)
        yield self._clock.sleep(float(step.phases[0].latency_s))
        with stage.held(step.sms):
            if activity.node == self.exchange.asks:
                self.begun_fs = self._clock.now_fs
                yield from self._ask(side)
                self._over.succeed()
            else:
                yield from self._answer(side)
                yield self._over
        return side

    def _ask(self, side: Side) -> Process:
        batches, in_flight = self._played.batches, self._played.in_flight
        for phase in range(batches + in_flight):
            if 0 <= phase - in_flight < batches:
                yield self._answered[phase - in_flight]
            share = phase_share(phase, self._played)
            if share > 0.0:
                yield self._way.work(side, share, side.at(self._number(phase)))
            if phase < batches:
                self._way.ring(self._asked[phase])
                self._marks.append(seconds(self._clock.now_fs))
                if self._skipped and phase == steady_marks(batches)[1]:
                    yield from self._stretch(phase)

    def _answer(self, side: Side) -> Process:
        for batch, asked in enumerate(self._asked):
            yield asked
            yield self._way.work(side, batch_share(batch, self._played), side.at(self._number(batch)))
            self._way.ring(self._answered[batch])

    def _number(self, batch: int) -> str:
        """Of a batch that is played, its number among all."""
        return str(batch + self._skipped if batch > steady_marks(self._played.batches)[1] else batch)

    def _stretch(self, phase: int) -> Process:
        """All batches that are not played one by one, both sides at once."""
        sides = [self._sides[name] for name in (self.exchange.asks, self.exchange.answers)]
        names = dict.fromkeys(name for side in sides for name in side.takes)
        takes = {name: sum(side.takes.get(name, 0.0) for side in sides) for name in names}
        period_s = period_of(self._marks, self._played.batches)
        seen = [side.at(f"{phase + 1} to {phase + self._skipped}") for side in sides]
        self._way.halt()
        work = _Work(self._clock, self._network, self._probes, seen)
        spent_j = yield work.start(float(self._skipped), period_s, takes, _both(sides, period_s))
        of_both = sum(_joules(side) for side in sides)
        for side in sides:
            side.energy_j += spent_j * (_joules(side) / of_both if of_both else 0.0)
        self._way.go_on()


def _joules(side: Side) -> float:
    """Dynamic energy of a full batch at boost [J]."""
    return side.power.joules()


def _both(sides: Sequence[Side], period_s: float) -> Clocked:
    """Both sides' batches as one work, which the clock of their board drives."""
    powers = [side.power for side in sides]
    clocked_j, fixed_j = (sum(amounts) for amounts in zip(*((p.clocked_j, p.fixed_j) for p in powers), strict=True))
    return Clocked(powers[0].board, period_s, 0.0, 1.0, clocked_j, fixed_j)


class _UnderWay:
    """Work and doorbells between the two sides, which can stand still together."""

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, doorbell_fs: int) -> None:
        self._clock, self._network, self._probes, self._doorbell_fs = clock, network, probes, doorbell_fs
        self._works: dict[str, _Work] = {}
        self._bells: list[Alarm] = []
        self._halted = False
        self._later: list[Callable[[], object]] = []

    def work(self, side: Side, share: float, activity: Activity) -> Event:
        """A side's work on a batch of this size over a full one; it does one after the other."""
        work = _Work(self._clock, self._network, self._probes, [activity])

        def begin() -> None:
            self._works[activity.node] = work
            work.start(share, side.batch_s, side.takes, side.power)

        def spent(done: Event) -> None:
            side.energy_j += float(done.value or 0.0)

        work.done.callbacks.append(spent)
        self._when_moving(begin)
        return work.done

    def ring(self, event: Event) -> None:
        """Let `event` happen a doorbell later, so that the other side knows of the batch."""

        def rung() -> None:
            self._bells.remove(bell)
            event.succeed()

        bell = self._clock.alarm(rung)
        self._when_moving(partial(self._set, bell, self._doorbell_fs))

    def halt(self) -> None:
        """Make all work and doorbells stand still; what comes up meanwhile waits."""
        self._halted = True
        bells, self._bells = self._bells, []
        for work in self._works.values():
            if not work.done.triggered:
                work.pause()
                self._later.append(work.go_on)
        for bell in bells:
            self._later.append(partial(self._set, bell, bell.at_fs - self._clock.now_fs))
            bell.cancel()

    def go_on(self) -> None:
        """Let all that stood still move again."""
        self._halted = False
        later, self._later = self._later, []
        for action in later:
            action()

    def _set(self, bell: Alarm, delay_fs: int) -> None:
        self._bells.append(bell)
        bell.set(self._clock.now_fs + delay_fs)

    def _when_moving(self, action: Callable[[], object]) -> None:
        if self._halted:
            self._later.append(action)
        else:
            action()


class _Work:
    """Work on batches as a flow, which one side is seen to do, or both."""

    _flow: Flow

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, seen: list[Activity]) -> None:
        self._clock, self._network, self._probes, self._seen = clock, network, probes, seen
        self.done = clock.event()

    def start(self, batches: float, batch_s: float, takes: Mapping[str, float], power: Clocked) -> Event:
        """Work is counted in full batches; the event's value is its dynamic energy [J]."""
        self._flow = Flow(self, 1.0 / batch_s, takes, [Stretch(batches)], power)
        self.go_on()
        return self.done

    def go_on(self) -> None:
        """Join the network, at the beginning or after a pause."""
        for activity in self._seen:
            self._probes.on_kernel_start(self._clock.now_fs, activity)
        self._network.join(self._flow)

    def pause(self) -> None:
        """Let what is not done wait. A run is told that the work ends here and begins again later."""
        self._network.leave(self._flow)
        self._tell_end()

    def wave_ended(self, _: Flow) -> None:
        """A batch is one wave."""

    def stretch_ended(self, _: Flow) -> None:
        """A batch is one stretch."""

    def flow_ended(self, _: Flow) -> None:
        """The batches are done."""
        self._tell_end()
        self.done.succeed(self._flow.spent_j)

    def _tell_end(self) -> None:
        for activity in self._seen:
            self._probes.on_kernel_end(self._clock.now_fs, activity)
