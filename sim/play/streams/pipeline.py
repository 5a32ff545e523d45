"""A stream of frames played as events: camera, queue, filter and worker, queue, viewer.

The camera puts a frame into the input queue whenever one is due, and throws it away where there is no room. The worker
takes frames one by one. Those that the filter leaves out cost it a sleep, as long as frames have taken of late; what
was shown last is shown again. Results wait in the output queue until the viewer takes them (Kodaira et al.,
arXiv:2312.12491, sections 3.3 and 3.4; `pipeline.py` of cumulo-autumn/StreamDiffusion, `inference_time_ema`). The
board draws what the frame needs while it works, and idles at every other time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from simexplore.errors import SimexploreError
from simexplore.sim.play.engine import Clock, Event, Store, seconds
from simexplore.sim.play.streams.similarity import Filtering, SimilarityFilter

Process = Generator[Event, Any, None]
Fate = Literal["worked", "skipped", "dropped"]
EMA_SHARE = 0.1
"""Of the last frame in the mean time that a skipped one sleeps."""


@dataclass(frozen=True)
class Work:
    """What a frame that is worked on costs.

    Raises:
        SimexploreError: times or energies below nothing, or no time at all.
    """

    gpu_s: float
    """Time of the board [s]."""
    energy_j: float
    """Energy of the board in that time, idle included [J]."""
    idle_w: float
    """Power of the board at other times [W]."""
    host_s: float = 0.0
    """Time of the host beside it, in which the board idles [s]."""

    def __post_init__(self) -> None:
        if min(self.energy_j, self.idle_w, self.host_s) < 0.0 or self.gpu_s <= 0.0:
            raise SimexploreError("expected work of some time, and energies and powers from 0, found others")


@dataclass(frozen=True)
class Pipeline:
    """What frames go through.

    Raises:
        SimexploreError: a queue without room, or times below nothing.
    """

    every_s: float = 0.0
    """From one frame of the camera to the next [s]; 0: the next is there as soon as the queue has room."""
    rule: SimilarityFilter | None = None
    """None: every frame is worked on."""
    input_room: int = 1
    """Frames that wait for the worker."""
    output_room: int = 1
    """Results that wait for the viewer; where there is no room the worker waits."""
    show_s: float = 0.0
    """Time that the viewer needs for a result [s]."""

    def __post_init__(self) -> None:
        if min(self.every_s, self.show_s) < 0.0:
            raise SimexploreError("expected times of camera and viewer from 0 s, found less")
        if min(self.input_room, self.output_room) < 1:
            raise SimexploreError("expected queues with room for a frame, found 0")


@dataclass(frozen=True)
class FrameRun:
    """What became of a frame; times from the start of the stream [s], None where it came to none."""

    arrived_s: float
    fate: Fate = "dropped"
    begun_s: float | None = None
    done_s: float | None = None
    shown_s: float | None = None

    @property
    def latency_s(self) -> float | None:
        """From the camera to the viewer [s]."""
        return None if self.shown_s is None else self.shown_s - self.arrived_s


@dataclass(frozen=True)
class StreamRun:
    """A played stream."""

    frames: tuple[FrameRun, ...]
    """In the order in which they came."""
    time_s: float
    """Until the last result was shown [s]."""
    energy_j: float
    """Of the board in that time [J]."""
    sleeps_s: tuple[float, ...] = field(default=(), repr=False)
    """What each frame that was left out slept [s]."""

    def count(self, fate: Fate) -> int:
        """How many frames came to that end."""
        return sum(frame.fate == fate for frame in self.frames)

    @property
    def mean_power_w(self) -> float:
        """Of the board [W]."""
        return self.energy_j / self.time_s

    @property
    def frames_per_s(self) -> float:
        """Results that were shown, repeated ones among them [1/s]."""
        return sum(frame.shown_s is not None for frame in self.frames) / self.time_s

    @property
    def between_s(self) -> float:
        """From the beginning of one frame that was worked on to that of the next, in the mean [s]."""
        begun = [frame.begun_s for frame in self.frames if frame.fate == "worked" and frame.begun_s is not None]
        return (begun[-1] - begun[0]) / (len(begun) - 1) if len(begun) > 1 else self.time_s


def play_stream(work: Work, pipeline: Pipeline, similarities: Sequence[float], seed: int = 0) -> StreamRun:
    """Play a stream to its end.

    Args:
        work: what a frame costs.
        pipeline: what frames go through.
        similarities: of each frame, to the last one that was worked on (0 to 1).
        seed: of the filter's draws.

    Raises:
        SimexploreError: no frames.
    """
    if not similarities:
        raise SimexploreError("expected a stream of at least one frame, found none")
    return _Playback(work, pipeline, tuple(similarities), seed).run()


class _Playback:
    """The state of one stream."""

    def __init__(self, work: Work, pipeline: Pipeline, similarities: tuple[float, ...], seed: int) -> None:
        self._work, self._pipeline, self._similarities = work, pipeline, similarities
        self._clock = Clock()
        self._input = Store(self._clock, capacity=pipeline.input_room)
        self._output = Store(self._clock, capacity=pipeline.output_room)
        self._filter = None if pipeline.rule is None else Filtering(pipeline.rule, seed)
        self._frames: dict[int, FrameRun] = {}
        self._sleeps: list[float] = []
        self._mean_s = work.gpu_s + work.host_s  # as after a warm-up

    def run(self) -> StreamRun:
        self._clock.process(self._camera())
        self._clock.process(self._worker())
        self._clock.process(self._viewer())
        self._clock.run()
        time_s = max(frame.shown_s or frame.arrived_s for frame in self._frames.values())
        worked = sum(frame.fate == "worked" for frame in self._frames.values())
        energy = worked * self._work.energy_j + self._work.idle_w * (time_s - worked * self._work.gpu_s)
        frames = tuple(self._frames[index] for index in sorted(self._frames))
        return StreamRun(frames, time_s, energy, tuple(self._sleeps))

    def _now_s(self) -> float:
        return seconds(self._clock.now_fs)

    def _camera(self) -> Process:
        for index in range(len(self._similarities)):
            if not self._pipeline.every_s:
                yield self._input.put(index)
                self._frames[index] = FrameRun(self._now_s())
                continue
            self._frames[index] = FrameRun(self._now_s())
            if len(self._input.items) < self._pipeline.input_room:
                yield self._input.put(index)
            yield self._clock.sleep(self._pipeline.every_s)
        yield self._input.put(None)

    def _worker(self) -> Process:
        while (index := (yield self._input.get())) is not None:
            begun_s = self._now_s()
            skips = self._filter is not None and self._filter.skips(self._similarities[index])
            if skips:
                self._sleeps.append(self._mean_s)
                yield self._clock.sleep(self._mean_s)
            else:
                took_s = self._work.host_s + self._work.gpu_s
                yield self._clock.sleep(took_s)
                self._mean_s += EMA_SHARE * (took_s - self._mean_s)
            fate: Fate = "skipped" if skips else "worked"
            self._frames[index] = replace(self._frames[index], fate=fate, begun_s=begun_s, done_s=self._now_s())
            yield self._output.put(index)
        yield self._output.put(None)

    def _viewer(self) -> Process:
        while (index := (yield self._output.get())) is not None:
            yield self._clock.sleep(self._pipeline.show_s)
            self._frames[index] = replace(self._frames[index], shown_s=self._now_s())
