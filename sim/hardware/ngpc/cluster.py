"""The cluster beside its GPU: how long each side takes for a batch, and how batches follow one another.

With g the GPU's time for a batch, n the cluster's, h the doorbell between them and B batches in flight,

    G_i = max(G_(i-1), N_(i-B) + h) + g_i        the GPU uses results of batch i-B and makes queries of batch i
    N_i = max(N_(i-1), G_i + h) + n_i            the cluster evaluates batch i

so a batch comes every max(g, n, (g + n + 2 h) / B). `schedule` plays this recurrence; `pipeline` plays it as events, in
which both sides also share L2 and DRAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_PLAYED = 1024
"""Batches that are played one by one; of more, the middle repeats, at the period that those show."""


@dataclass(frozen=True)
class Stages:
    """Times of a full batch [s], and shares of shared resources that a batch takes [s of the whole resource]."""

    gpu_s: float
    ngpc_s: float
    doorbell_s: float
    launch_s: float
    last_share: float
    """Size of the last batch over the others'."""
    gpu_takes: dict[str, float]
    ngpc_takes: dict[str, float]


def phase_share(phase: int, batches: int, in_flight: int, last_share: float) -> float:
    """Work of a GPU phase over a full one: half makes queries, half uses results."""
    makes = 0.0 if phase >= batches else (last_share if phase == batches - 1 else 1.0)
    used = phase - in_flight
    uses = 0.0 if used < 0 or used >= batches else (last_share if used == batches - 1 else 1.0)
    return 0.5 * (makes + uses)


def period_of(marks: Sequence[float]) -> float:
    """Mean time between the GPU's phases in the steady state, by when each of them ended."""
    middle, late = len(marks) // 2, len(marks) * 3 // 4
    return (marks[late] - marks[middle]) / (late - middle) if late > middle else 0.0


def schedule(stages: Stages, batches: int, in_flight: int) -> float:
    """Time from launch to the last result used [s], without contention for L2 and DRAM beyond their totals."""
    played = min(batches, LONGEST_PLAYED)
    gpu_end, ngpc_end, marks = 0.0, [0.0] * played, [0.0] * played
    for phase in range(played + in_flight):
        if phase >= in_flight and phase - in_flight < played:
            gpu_end = max(gpu_end, ngpc_end[phase - in_flight] + stages.doorbell_s)
        gpu_end += phase_share(phase, played, in_flight, stages.last_share) * stages.gpu_s
        if phase < played:
            before = ngpc_end[phase - 1] if phase else 0.0
            share = stages.last_share if phase == played - 1 else 1.0
            ngpc_end[phase] = max(before, gpu_end + stages.doorbell_s) + share * stages.ngpc_s
            marks[phase] = gpu_end
    total = stages.launch_s + gpu_end + (batches - played) * period_of(marks)
    shared = max(stages.gpu_takes[name] + stages.ngpc_takes[name] for name in ("l2", "dram"))
    return max(total, batches * shared)
