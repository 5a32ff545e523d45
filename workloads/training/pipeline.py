"""Pipeline stages: in which order each does its micro-batches, one forward, one backward (1F1B), plain or interleaved.

Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters", arXiv:2104.04473, section 2.2;
Megatron-LM, megatron/core/pipeline_parallel/schedules.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from simexplore.errors import SimexploreError


class Job(NamedTuple):
    """A forward or backward pass of one micro-batch through one chunk of layers on one stage."""

    forward: bool
    chunk: int
    """Of the stage's own chunks, in the order of the model's layers."""
    micro_batch: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How a model's layers and a batch are divided.

    Args:
        stages: groups of GPUs one after the other.
        chunks: parts of the layers that each stage has (interleaving); 1: each has one run of layers.
        micro_batches: parts of the batch, one after the other.

    Raises:
        SimexploreError: interleaved stages need micro-batches in multiples of the stages.
    """

    stages: int
    chunks: int
    micro_batches: int

    def __post_init__(self) -> None:
        if self.chunks > 1 and self.micro_batches % self.stages:
            raise SimexploreError(
                f"interleaved stages: expected a multiple of {self.stages} micro-batches, found {self.micro_batches}"
            )

    def jobs(self, stage: int) -> tuple[Job, ...]:
        """What a stage does, in order: forward passes that fill the pipeline, one of each in turn, the rest."""
        total = self.micro_batches * self.chunks
        first = min(self._ahead(stage), total)
        forward, backward = ([self._job(index, way) for index in range(total)] for way in (True, False))
        turns = [job for pair in zip(forward[first:], backward, strict=False) for job in pair]
        return (*forward[:first], *turns, *backward[total - first :])

    def in_flight(self, stage: int) -> int:
        """The most chunks of micro-batches whose forward pass a stage has done and whose backward pass it has not."""
        return min(self._ahead(stage) + 1, self.micro_batches * self.chunks)

    def _ahead(self, stage: int) -> int:
        """Forward passes of a stage before its first backward pass, but for the one just before it."""
        after = self.stages - stage - 1
        return after if self.chunks == 1 else 2 * after + (self.chunks - 1) * self.stages

    def _job(self, index: int, forward: bool) -> Job:
        """The n-th pass: rounds of as many micro-batches as stages go through a chunk, then through the next one."""
        if self.chunks == 1:
            return Job(forward, 0, index)
        rounds, within = divmod(index, self.stages * self.chunks)
        chunk = within // self.stages
        return Job(forward, chunk if forward else self.chunks - chunk - 1, rounds * self.stages + within % self.stages)
