"""Transfers over a link: a latency, then bytes that share the link's bandwidth with other transfers."""

from __future__ import annotations

from simexplore.sim.play.engine import Clock, Event, to_fs
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import Activity, Probes


class Transfer:
    """One message, or the dependent messages of one collective, on its way."""

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, activity: Activity) -> None:
        self.activity = activity
        self.done: Event = clock.event()
        """Happens when the last byte has arrived."""
        self._clock = clock
        self._network = network
        self._probes = probes

    def start(self, link: str, latency_s: float, transfer_s: float) -> Event:
        """Send over the resource `link`: wait for `latency_s`, then move what alone takes `transfer_s`."""
        self._probes.on_kernel_start(self._clock.now_fs, self.activity)
        # Work is counted as the share of the transfer.
        flow = Flow(self, 1.0 / transfer_s, {link: transfer_s}, [Stretch(1.0)]) if transfer_s > 0.0 else None

        def go() -> None:
            if flow is None:
                self._arrive()
            else:
                self._network.join(flow)

        self._clock.alarm(go).set(self._clock.now_fs + to_fs(latency_s))
        return self.done

    def wave_ended(self, _: Flow) -> None:
        """A transfer has no waves."""

    def stretch_ended(self, _: Flow) -> None:
        """A transfer is one stretch."""

    def flow_ended(self, _: Flow) -> None:
        """The last byte has arrived."""
        self._arrive()

    def _arrive(self) -> None:
        self._probes.on_kernel_end(self._clock.now_fs, self.activity)
        self.done.succeed()
