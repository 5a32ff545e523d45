"""How long a pipeline of stages takes: the longest path through what each stage does in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simexplore.workloads.training.pipeline import Job, Pipeline


@dataclass(frozen=True, slots=True)
class Played:
    """A pipeline in time."""

    time_s: float
    """From the first pass to the last [s]."""
    busy_s: tuple[float, ...]
    """Of each stage, passes and what it waits for transfers [s]."""

    @property
    def bubble(self) -> float:
        """Share of the time in which a stage has nothing to do, in the mean."""
        return 1.0 - sum(self.busy_s) / (len(self.busy_s) * self.time_s)


def play_pipeline(
    pipeline: Pipeline, forward_s: Sequence[float], backward_s: Sequence[float], transfer_s: float
) -> Played:
    """The forward and backward passes of all micro-batches.

    A stage does its jobs in order. A job begins when the stage is free and its input is there, from the stage before,
    or for backward passes from the one after; it waits for the transfer, as schedules do that overlap nothing.

    Args:
        pipeline: stages, chunks and micro-batches.
        forward_s: time of a micro-batch's forward pass through each chunk, in the order of the model's layers [s].
        backward_s: that of its backward pass [s].
        transfer_s: time of a transfer between two chunks [s].
    """
    ends: dict[tuple[int, Job], float] = {}
    free, busy = [0.0] * pipeline.stages, [0.0] * pipeline.stages
    for stage, job, before in in_order(pipeline):
        arrives = 0.0 if before is None else ends[before]
        apart = transfer_s if before is not None and before[0] != stage else 0.0
        own = (forward_s if job.forward else backward_s)[job.chunk * pipeline.stages + stage]
        free[stage] = ends[stage, job] = max(free[stage], arrives) + apart + own
        busy[stage] += apart + own
    return Played(max(free), tuple(busy))


def in_order(pipeline: Pipeline) -> Iterator[tuple[int, Job, tuple[int, Job] | None]]:
    """All passes, each after what it needs: its stage, itself, and the pass that makes its input, None for tokens."""
    jobs = [pipeline.jobs(stage) for stage in range(pipeline.stages)]
    ended: set[tuple[int, Job]] = set()
    done = [0] * pipeline.stages
    moved = True
    while moved:
        moved = False
        for stage in range(pipeline.stages):
            while done[stage] < len(jobs[stage]):
                job = jobs[stage][done[stage]]
                before = _before(pipeline, stage, job)
                if before is not None and before not in ended:
                    break
                yield stage, job, before
                ended.add((stage, job))
                done[stage] += 1
                moved = True


def _before(pipeline: Pipeline, stage: int, job: Job) -> tuple[int, Job] | None:
    """Where a job's input comes from: the chunk before its own, for a backward pass the one after, or the loss."""
    place, last = job.chunk * pipeline.stages + stage, pipeline.chunks * pipeline.stages - 1
    if job.forward:
        if place == 0:
            return None
        chunk, source = divmod(place - 1, pipeline.stages)
        return source, job._replace(chunk=chunk)
    if place == last:
        return stage, job._replace(forward=True)
    chunk, source = divmod(place + 1, pipeline.stages)
    return source, job._replace(chunk=chunk)
