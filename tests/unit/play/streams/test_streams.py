"""Streams of frames, event by event: queues, the filter's rule, what sleeps and idles, and the energy of it all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.sim.play.streams.pipeline import FrameRun, Pipeline, StreamRun, Work, play_stream
from simexplore.sim.play.streams.similarity import Filtering, SimilarityFilter

WORK = Work(gpu_s=0.5, energy_j=50.0, idle_w=20.0, host_s=0.25)
STILL = SimilarityFilter(threshold=0.9, most=2)


def test_frames_follow_one_another_through_the_queues() -> None:
    """The camera fills the queue's one place again as soon as the worker takes a frame."""
    run = play_stream(WORK, Pipeline(show_s=0.125), (0.0,) * 4)
    assert run.frames == (
        FrameRun(0.0, "worked", 0.0, 0.75, 0.875),
        FrameRun(0.0, "worked", 0.75, 1.5, 1.625),
        FrameRun(0.75, "worked", 1.5, 2.25, 2.375),
        FrameRun(1.5, "worked", 2.25, 3.0, 3.125),
    )
    assert run.time_s == 3.125
    assert run.energy_j == 4 * 50.0 + 20.0 * (3.125 - 4 * 0.5)
    assert run.mean_power_w == run.energy_j / 3.125
    assert (run.frames_per_s, run.between_s) == (4 / 3.125, 0.75)
    assert run.frames[3].latency_s == 3.125 - 1.5


def test_a_camera_that_is_too_fast_throws_frames_away() -> None:
    run = play_stream(WORK, Pipeline(every_s=0.31), (0.0,) * 7)  # the worker takes frames at 0, 0.75 and 1.5 s
    assert " ".join(frame.fate for frame in run.frames) == "worked worked dropped worked dropped worked dropped"
    assert [frame.arrived_s for frame in run.frames] == pytest.approx([0.31 * index for index in range(7)])
    dropped = run.frames[2]
    assert (dropped.begun_s, dropped.done_s, dropped.shown_s, dropped.latency_s) == (None, None, None, None)
    wide = play_stream(WORK, Pipeline(every_s=0.31, input_room=7), (0.0,) * 7)
    assert wide.count("dropped") == 0


def test_a_viewer_that_is_too_slow_makes_the_worker_wait() -> None:
    run = play_stream(WORK, Pipeline(show_s=2.0), (0.0,) * 4)
    assert [frame.shown_s for frame in run.frames] == [2.75, 4.75, 6.75, 8.75]
    assert [frame.begun_s for frame in run.frames] == [0.0, 0.75, 1.5, 2.75]  # the fourth waits for room
    roomy = play_stream(WORK, Pipeline(show_s=2.0, output_room=4), (0.0,) * 4)
    assert [frame.begun_s for frame in roomy.frames] == [0.0, 0.75, 1.5, 2.25]


def test_a_static_scene_is_worked_on_once_in_a_round() -> None:
    run = play_stream(WORK, Pipeline(rule=STILL), (1.0,) * 9)
    fates = [frame.fate for frame in run.frames]
    assert fates == ["worked", *["skipped"] * 3, "worked", *["skipped"] * 3, "worked"]  # `most` and one more
    assert run.sleeps_s == (0.75,) * 6
    assert run.between_s == 4 * 0.75
    assert run.energy_j == pytest.approx(3 * 50.0 + 20.0 * (run.time_s - 3 * 0.5))
    assert run.count("skipped") == 6
    every = play_stream(WORK, Pipeline(), (1.0,) * 9)
    assert every.count("worked") == 9
    assert every.mean_power_w > run.mean_power_w > 20.0


def test_frames_that_differ_are_worked_on_and_the_count_goes_on() -> None:
    rule = Filtering(SimilarityFilter(0.9, 1), seed=0)
    told = [rule.skips(similarity) for similarity in (1.0, 1.0, 0.5, 1.0, 1.0, 1.0)]
    assert told == [False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("similarity", "probability"), [(1.0, 1.0), (0.99, 0.5), (0.98, 0.0), (0.5, 0.0), (0.985, 0.25)]
)
def test_the_probability_grows_with_the_similarity(similarity: float, probability: float) -> None:
    assert SimilarityFilter().skip_probability(similarity) == pytest.approx(probability)
    assert SimilarityFilter(threshold=1.0).skip_probability(similarity) == 0.0


def test_draws_follow_the_probability_and_repeat() -> None:
    pipeline = Pipeline(rule=SimilarityFilter(0.98, 1000))
    run = play_stream(WORK, pipeline, (0.99,) * 2000, seed=1)
    assert run.count("skipped") / 2000 == pytest.approx(0.5, abs=0.05)
    assert play_stream(WORK, pipeline, (0.99,) * 2000, seed=1) == run
    assert play_stream(WORK, pipeline, (0.99,) * 2000, seed=2) != run


STREAMS = st.builds(
    lambda every, show, room, out, rule: Pipeline(every, rule, room, out, show),
    st.sampled_from([0.0, 0.1, 0.75, 2.0]),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([None, STILL, SimilarityFilter()]),
)


@settings(max_examples=40)
@given(STREAMS, st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(0, 9))
def test_no_frame_is_lost_and_none_overtakes_another(pipeline: Pipeline, scene: list[float], seed: int) -> None:
    run = play_stream(WORK, pipeline, scene, seed)
    assert len(run.frames) == len(scene) == sum(run.count(fate) for fate in ("worked", "skipped", "dropped"))
    shown = [frame for frame in run.frames if frame.fate != "dropped"]
    for before, after in pairwise(shown):
        assert before.done_s <= after.begun_s  # type: ignore[operator]
        assert before.shown_s + pipeline.show_s <= after.shown_s  # type: ignore[operator]
    assert all(frame.arrived_s <= frame.begun_s < frame.done_s <= frame.shown_s for frame in shown)  # type: ignore[operator]
    assert _energy(run) == pytest.approx(run.energy_j)
    assert run.energy_j >= 20.0 * run.time_s * (1 - 1e-9)


def _energy(run: StreamRun) -> float:
    """The board's energy frame by frame: idle until it begins, and then the frame's; at the end idle again."""
    energy_j, now_s = 0.0, 0.0
    for frame in run.frames:
        if frame.fate == "worked":
            assert frame.done_s is not None
            idle_s = frame.done_s - WORK.gpu_s - now_s
            assert idle_s > -1e-9  # one frame at a time
            energy_j, now_s = energy_j + WORK.idle_w * idle_s + WORK.energy_j, frame.done_s
    assert run.time_s >= now_s
    return energy_j + WORK.idle_w * (run.time_s - now_s)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimilarityFilter(threshold=1.5), "threshold of similarity from 0 to 1, found 1.5"),
        (lambda: SimilarityFilter(most=-1), "no fewer than 0 frames left out in a row, found -1"),
        (lambda: Pipeline(input_room=0), "queues with room for a frame, found 0"),
        (lambda: Pipeline(output_room=0), "queues with room for a frame, found 0"),
        (lambda: Pipeline(every_s=-1.0), "times of camera and viewer from 0 s"),
        (lambda: Work(0.0, 1.0, 1.0), "work of some time"),
        (lambda: Work(1.0, -1.0, 1.0), "energies and powers from 0"),
        (lambda: play_stream(WORK, Pipeline(), ()), "a stream of at least one frame, found none"),
    ],
)
def test_a_mistake_is_one_line(make: object, message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        make()  # type: ignore[operator]
