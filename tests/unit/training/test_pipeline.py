"""Pipelines of stages: the order of work, the closed form of equal stages, and what unequal ones cost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.sim.training.parts import pipelined_step
from simexplore.sim.training.pipeline import play_pipeline
from simexplore.workloads.training.pipeline import Job, Pipeline

TIMES = st.floats(0.1, 10.0)


def test_a_stage_fills_the_pipeline_then_takes_turns() -> None:
    jobs = Pipeline(stages=3, chunks=1, micro_batches=4).jobs(1)
    words = [f"{'f' if job.forward else 'b'}{job.micro_batch}" for job in jobs]
    assert words == ["f0", "f1", "b0", "f2", "b1", "f3", "b2", "b3"]
    last = Pipeline(stages=3, chunks=1, micro_batches=4).jobs(2)
    assert [job.forward for job in last] == [True, False] * 4


def test_interleaved_stages_go_round_their_chunks() -> None:
    jobs = Pipeline(stages=2, chunks=2, micro_batches=2).jobs(1)
    assert jobs == (
        Job(True, 0, 0), Job(True, 0, 1), Job(True, 1, 0), Job(False, 1, 0), Job(True, 1, 1), Job(False, 1, 1),
        Job(False, 0, 0), Job(False, 0, 1),
    )  # fmt: skip


def test_interleaved_stages_need_micro_batches_for_all() -> None:
    with pytest.raises(SimexploreError, match="expected a multiple of 4 micro-batches, found 6"):
        Pipeline(stages=4, chunks=2, micro_batches=6)


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4))
def test_every_stage_does_everything_once(stages: int, chunks: int, rounds: int) -> None:
    pipeline = Pipeline(stages, chunks, rounds * stages)
    for stage in range(stages):
        counts = Counter(pipeline.jobs(stage))
        assert set(counts.values()) == {1}
        assert len(counts) == 2 * chunks * rounds * stages


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4), TIMES, TIMES)
def test_equal_stages_take_the_closed_form(
    stages: int, chunks: int, rounds: int, forward: float, backward: float
) -> None:
    """(m + (p - 1) / v) (t_f + t_b): Narayanan et al., arXiv:2104.04473, section 2.2."""
    micro_batches, count = rounds * stages, stages * chunks
    played = play_pipeline(
        Pipeline(stages, chunks, micro_batches), [forward / chunks] * count, [backward / chunks] * count, 0.0
    )
    assert played.time_s == pytest.approx((micro_batches + (stages - 1) / chunks) * (forward + backward))
    assert played.busy_s == pytest.approx([micro_batches * (forward + backward)] * stages)
    assert played.bubble == pytest.approx(1.0 - played.busy_s[0] / played.time_s, abs=1e-12)


@given(st.lists(TIMES, min_size=8, max_size=8), TIMES, st.integers(0, 3))
def test_a_slower_stage_or_link_is_never_faster(times: list[float], more: float, which: int) -> None:
    pipeline = Pipeline(stages=4, chunks=1, micro_batches=5)
    forward, backward = times[:4], times[4:]
    before = play_pipeline(pipeline, forward, backward, 0.1).time_s
    slower = [time + more * (index == which) for index, time in enumerate(forward)]
    assert play_pipeline(pipeline, slower, backward, 0.1).time_s >= before - 1e-9
    assert play_pipeline(pipeline, forward, backward, 0.1 + more).time_s >= before
    slowest = max(one + other for one, other in zip(forward, backward, strict=True))
    assert before >= 5 * slowest


def test_two_stages_by_hand() -> None:
    """Stage 0: f0 f1 b0 b1; stage 1: f0 b0 f1 b1, each waiting for a transfer of 1; forward 2, backward 3."""
    played = play_pipeline(Pipeline(2, 1, 2), [2.0, 2.0], [3.0, 3.0], 1.0)
    # Stage 0: 0-2, 2-4. Stage 1: f0 2-5, b0 5-8, f1 8-11, b1 11-14. Stage 0: b0 8-12, b1 14-18.
    assert played.time_s == 18.0
    assert played.busy_s == (2 + 2 + 4 + 4, 3 + 3 + 3 + 3)


def test_a_step_is_its_passes_and_the_slowest_update() -> None:
    parts = {"layer1": (1.0, 2.0, 0.5), "embedding": (0.25, 0.5, 4.0), "head": (0.75, 1.0, 1.0)}
    took = {
        f"{group} {phase}": seconds
        for group, times in parts.items()
        for phase, seconds in zip(("forward", "backward", "update"), times, strict=True)
    }
    alone = pipelined_step(took, ("layer1",) * 6, Pipeline(1, 1, 2), 0.0)
    assert alone.passes.time_s == 2 * (6 * 3.0 + 0.75 + 1.75)
    assert alone.update_s == 6 * 0.5 + 5.0
    assert alone.time_s == alone.passes.time_s + alone.update_s
    divided = pipelined_step(took, ("layer1",) * 6, Pipeline(2, 1, 2), 0.0)
    assert divided.update_s == 3 * 0.5 + 4.0
    with pytest.raises(SimexploreError, match="as many layers in each of 4 chunks, found 6"):
        pipelined_step(took, ("layer1",) * 6, Pipeline(2, 2, 2), 0.0)
