"""GPU and cluster as events: batches handed back and forth, both sides' traffic in the shared flow network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from simexplore.sim.hardware.ngpc.cluster import Stages, phase_share
from simexplore.sim.play.engine import Clock, Event, seconds, to_fs
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import Activity, Probes

GPU_STREAM, NGPC_STREAM = 0, 1


class Pipeline:
    """The state of one frame on its way."""

    def __init__(
        self, clock: Clock, network: FlowNetwork, probes: Probes, stages: Stages, batches: int, in_flight: int
    ) -> None:
        self._clock, self._network, self._probes = clock, network, probes
        self._stages, self._batches, self._in_flight = stages, batches, in_flight
        self._doorbell_fs = to_fs(stages.doorbell_s)
        self._made = [clock.event() for _ in range(batches)]
        self._answered = [clock.event() for _ in range(batches)]
        self.marks: list[float] = []
        """When the GPU's phases that make queries ended [s]."""

    def start(self) -> None:
        """Begin; the frame has ended when no event is left."""
        self._clock.process(self._gpu())
        self._clock.process(self._ngpc())

    def _gpu(self) -> Generator[Event, Any, None]:
        stages = self._stages
        yield self._clock.sleep(stages.launch_s)
        for phase in range(self._batches + self._in_flight):
            if 0 <= phase - self._in_flight < self._batches:
                yield self._answered[phase - self._in_flight]
            share = phase_share(phase, self._batches, self._in_flight, stages.last_share)
            if share > 0.0:
                activity = Activity(f"rest {phase}", GPU_STREAM, "rest_fused")
                yield self._work(share, stages.gpu_s, stages.gpu_takes, activity)
            if phase < self._batches:
                self._ring(self._made[phase])
                self.marks.append(seconds(self._clock.now_fs))

    def _ngpc(self) -> Generator[Event, Any, None]:
        stages = self._stages
        for batch in range(self._batches):
            yield self._made[batch]
            share = stages.last_share if batch == self._batches - 1 else 1.0
            activity = Activity(f"encode and mlp {batch}", NGPC_STREAM, "ngpc")
            yield self._work(share, stages.ngpc_s, stages.ngpc_takes, activity)
            self._ring(self._answered[batch])

    def _ring(self, event: Event) -> None:
        """Let the other side know, a doorbell later."""

        def ring() -> None:
            event.succeed()

        self._clock.alarm(ring).set(self._clock.now_fs + self._doorbell_fs)

    def _work(self, share: float, full_s: float, takes: Mapping[str, float], activity: Activity) -> Event:
        return _Work(self._clock, self._network, self._probes, activity).start(share, full_s, takes)


class _Work:
    """One side's work on one batch, as a flow."""

    def __init__(self, clock: Clock, network: FlowNetwork, probes: Probes, activity: Activity) -> None:
        self._clock, self._network, self._probes, self._activity = clock, network, probes, activity
        self._done = clock.event()

    def start(self, share: float, full_s: float, takes: Mapping[str, float]) -> Event:
        """Work is counted in full batches; `takes` is what one takes of each shared resource."""
        self._probes.on_kernel_start(self._clock.now_fs, self._activity)
        self._network.join(Flow(self, 1.0 / full_s, takes, [Stretch(share)]))
        return self._done

    def wave_ended(self, _: Flow) -> None:
        """A batch is one wave."""

    def stretch_ended(self, _: Flow) -> None:
        """A batch is one stretch."""

    def flow_ended(self, _: Flow) -> None:
        """The batch is done."""
        self._probes.on_kernel_end(self._clock.now_fs, self._activity)
        self._done.succeed()
