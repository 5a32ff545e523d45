"""Work in phases: a latency, then a flow that shares its resources with others, again and again."""

from __future__ import annotations

from collections.abc import Sequence

from simexplore.sim.estimate.alone import Phase
from simexplore.sim.play.engine import Clock, Event, to_fs
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import Activity, Probes


class Phases:
    """One message, the dependent messages of a collective, or any other work that its phases describe."""

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, activity: Activity) -> None:
        self.activity = activity
        self.done: Event = clock.event()
        """Happens when the last phase has ended."""
        self._clock = clock
        self._network = network
        self._probes = probes
        self._left: list[Phase] = []

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

    def flow_ended(self, _: Flow) -> None:
        """A phase is done."""
        self._next()

    def _next(self) -> None:
        if not self._left:
            self._probes.on_kernel_end(self._clock.now_fs, self.activity)
            self.done.succeed()
            return
        phase = self._left.pop()
        run_s, takes = float(phase.run_s), {name: float(taken) for name, taken in phase.takes.items()}
        # Work is counted as the share of the phase.
        flow = Flow(self, 1.0 / run_s, takes, [Stretch(1.0)]) if run_s > 0.0 else None

        def go() -> None:
            if flow is None:
                self._next()
            else:
                self._network.join(flow)

        self._clock.alarm(go).set(self._clock.now_fs + to_fs(float(phase.latency_s)))
