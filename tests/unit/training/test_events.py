"""Pipelines as events: the closed form of equal stages, what waits and what overlaps, and what stages hold."""

from __future__ import annotations

from functools import cache

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.training.events import Passes, activations_held, play_stages, same_link
from simexplore.sim.training.pipeline import play_pipeline
from simexplore.workloads.training.pipeline import Pipeline


@cache
def gpu() -> Gpu:
    return load_arch("nvidia/a100-sxm-80gb")


def link(bandwidth_bytes_per_s: float = 25e9, latency_s: float = 0.0) -> Link:
    return Link.model_construct(bandwidth_bytes_per_s=bandwidth_bytes_per_s, latency_s=latency_s)


@pytest.mark.parametrize(("stages", "micro_batches"), [(2, 3), (4, 4), (4, 12)])
def test_of_equal_stages_and_free_links_the_bubble_is_p_less_one_over_m(stages: int, micro_batches: int) -> None:
    """Narayanan et al., arXiv:2104.04473, section 2.2.1: idle time over the time of all work is (p - 1) / m."""
    passes = Passes([0.01] * stages, [0.02] * stages)
    played, _ = play_stages(Pipeline(stages, 1, micro_batches), passes, gpu(), same_link(link()))
    work = micro_batches * 0.03
    assert (played.time_s - work) / work == pytest.approx((stages - 1) / micro_batches, rel=1e-9)
    assert played.busy_s == pytest.approx((work,) * stages, rel=1e-9)


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("latency_s", [0.0, 1e-3])
def test_stages_that_wait_for_transfers_take_the_closed_form(chunks: int, latency_s: float) -> None:
    pipeline, count = Pipeline(4, chunks, 8), 4 * chunks
    forward, backward = [0.01 + 0.001 * index for index in range(count)], [0.02] * count
    passes = Passes(forward, backward, sent_bytes=25e6, arrival_s=0.002)
    played, run = play_stages(pipeline, passes, gpu(), same_link(link(latency_s=latency_s)), waits=True)
    closed = play_pipeline(pipeline, forward, backward, 0.001 + latency_s + 0.002)
    assert played.time_s == pytest.approx(closed.time_s, rel=1e-9)
    assert played.busy_s == pytest.approx(closed.busy_s, rel=1e-9)
    sent = [op for op in run.ops if "->" in op.name]
    assert len(sent) == 2 * 8 * (count - 1)


def test_transfers_beside_passes_cost_what_fills_the_pipeline() -> None:
    """Two stages by hand: the second begins after a forward pass and a transfer, and the last gradient comes back."""
    passes = Passes([0.02, 0.02], [0.03, 0.03], sent_bytes=25e6)  # a transfer of 1 ms
    played, _ = play_stages(Pipeline(2, 1, 2), passes, gpu(), same_link(link()))
    # Stage 1: f0 21-41, b0 41-71, f1 71-91, b1 91-121 ms. Stage 0 has b0 at 72-102 and b1 at 122-152.
    assert played.time_s == pytest.approx(0.152, rel=1e-9)
    assert played.busy_s == pytest.approx((0.1, 0.1), rel=1e-9)


def test_a_slower_link_is_never_faster_and_never_slower_than_waiting() -> None:
    pipeline, passes = Pipeline(4, 1, 6), Passes([0.01] * 4, [0.02] * 4, sent_bytes=1e8)
    times = [play_stages(pipeline, passes, gpu(), same_link(link(rate)))[0].time_s for rate in (1e9, 1e10, 1e11)]
    waited = [play_stages(pipeline, passes, gpu(), same_link(link(rate)), waits=True)[0].time_s for rate in (1e9, 1e10)]
    assert times == sorted(times, reverse=True)
    assert all(beside < apart for beside, apart in zip(times, waited, strict=False))


@pytest.mark.parametrize("chunks", [1, 2])
def test_stages_hold_the_activations_of_their_passes_in_flight(chunks: int) -> None:
    pipeline, count = Pipeline(4, chunks, 8), 4 * chunks
    passes = Passes([0.01] * count, [0.02] * count, kept_bytes=[1e9] * count)
    _, run = play_stages(pipeline, passes, gpu(), same_link(link()))
    assert activations_held(run) == {f"stage{stage}": 1e9 * pipeline.in_flight(stage) for stage in range(4)}


def test_two_pairs_of_stages_have_links_of_their_own() -> None:
    asked: list[tuple[int, int]] = []

    def link_of(one: int, other: int) -> Link:
        asked.append((one, other))
        return link(1e9 if (one, other) == (1, 2) else 1e11)

    passes = Passes([0.01] * 4, [0.02] * 4, sent_bytes=1e7)
    slow = play_stages(Pipeline(4, 1, 2), passes, gpu(), link_of)[0].time_s
    assert asked == [(0, 1), (1, 2), (2, 3)]
    assert slow > play_stages(Pipeline(4, 1, 2), passes, gpu(), same_link(link(1e11)))[0].time_s + 0.015
    asked.clear()
    play_stages(Pipeline(3, 2, 3), Passes([0.01] * 6, [0.02] * 6, 1e7), gpu(), link_of)
    assert asked == [(0, 1), (0, 2), (1, 2)], "chunks go round to the first stage"
