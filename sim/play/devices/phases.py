"""Work in phases: a latency, then a flow that shares its resources with others, again and again."""

from __future__ import annotations

from collections.abc import Sequence

from simexplore.sim.estimate.alone import Phase
from simexplore.sim.play.devices.clocks import Clocked
from simexplore.sim.play.engine import Clock, Event, to_fs
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import LATENCY, WORK, Activity, Probes


class Phases:
    """One message, the dependent messages of a collective, or any other work that its phases describe."""

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, activity: Activity, board: str) -> None:
        self.activity = activity
        self.done: Event = clock.event()
        """Happens when the last phase has ended; its value is the dynamic energy of all [J]."""
        self._clock = clock
        self._network = network
        self._probes = probes
        self._board = board
        self._left: list[Phase] = []
        self._spent_j = 0.0

    def start(self, phases: Sequence[Phase]) -> Event:
        """Begin with the first phase; amounts are numbers, and what is taken goes by the network's names."""
        self._left = list(phases)[::-1]
        self._probes.on_kernel_start(self._clock.now_fs, self.activity)
        self._next()
        return self.done

    def wave_ended(self, _: Flow) -> None:
        """A phase has no waves."""

    def stretch_ended(self, _: Flow) -> None:
        """A phase is one stretch."""

    def flow_ended(self, flow: Flow) -> None:
        """A phase is done."""
        self._spent_j += flow.spent_j
        self._next()

    def _next(self) -> None:
        if not self._left:
            self._probes.on_kernel_end(self._clock.now_fs, self.activity)
            self.done.succeed(self._spent_j)
            return
        phase = self._left.pop()
        run_s, takes = float(phase.run_s), {name: float(taken) for name, taken in phase.takes.items()}
        # Work is counted as the share of the phase.
        power = clocked(phase, self._board)
        flow = Flow(self, 1.0 / run_s, takes, [Stretch(1.0)], power) if run_s > 0.0 else None

        def go() -> None:
            if flow is None:
                self._next()
            else:
                self._probes.on_phase(self._clock.now_fs, self.activity, WORK)
                self._network.join(flow)

        self._probes.on_phase(self._clock.now_fs, self.activity, LATENCY)
        self._clock.alarm(go).set(self._clock.now_fs + to_fs(float(phase.latency_s)))


def clocked(phase: Phase, board: str, share: float = 1.0) -> Clocked:
    """How a phase follows the clock of its board; a unit of work is a share of it. Amounts are numbers."""
    draw = phase.draw
    return Clocked(
        board,
        float(draw.on_clock_s),
        float(draw.own_clock_s),
        float(draw.exponent),
        float(draw.clocked_j) * share,
        float(draw.fixed_j) * share,
    )
