"""The event model of a neural-field processor against the clock-by-clock reference: throughput within 5 %."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from nfp_clock import play_clock_by_clock
from numpy.typing import NDArray

from simexplore.archs.load import load_arch
from simexplore.archs.schema.ngpc import EncodingEngines, MlpEngine, Ngpc
from simexplore.sim.hardware.ngpc.nfp import Field, bank_trace, inputs_in_parallel, level_banks, play
from simexplore.sim.mapping.frames import frame_of
from simexplore.workloads import catalog
from simexplore.workloads.families import neural_scene

TOLERANCE = 0.05
SLICES = 4
SLICE = 64
"""Queries of a slice in these tests: the reference plays every clock."""


@cache
def cluster() -> Ngpc:
    ngpc = load_arch("ngpc/rtx-3090-ngpc-8@facts").ngpc
    assert ngpc is not None
    return ngpc


def engines(**changes: object) -> EncodingEngines:
    return cluster().encoding.model_copy(update=changes)


def array(**changes: object) -> MlpEngine:
    return cluster().mlp.model_copy(update={"slice": SLICE, **changes})


@cache
def field_of(workload: str) -> Field:
    frame = frame_of(catalog.build(workload), cluster())
    assert frame is not None
    return frame.asked.field


@cache
def ray_points(dims: int, count: int) -> NDArray[np.float64]:
    """Points that neighbouring rays look up in the same round, warp after warp, as a renderer asks them."""
    if dims == 2:
        number = np.arange(count)
        return np.stack([(number % 1920 + 0.5) / 1920, (number // 1920 + 300.5) / 1920], axis=1)
    origins, directions = neural_scene.camera_rays(1920, inside=False)
    enter, leave = neural_scene.enter_box(origins, directions)
    hit = np.flatnonzero(enter < leave)[: count // 4]
    at = [origins[hit] + (enter[hit] + step * 0.02)[:, None] * directions[hit] for step in range(1, 5)]
    return np.clip(np.stack(at).reshape(-1, 3), 0.0, 1.0 - 1e-9)


def random_points(dims: int, count: int) -> NDArray[np.float64]:
    return np.random.default_rng(7).random((count, dims))


def requests(points: NDArray[np.float64], field: Field, units: EncodingEngines) -> list[list[list[int]]]:
    """Banks of every request by step and engine, in the order of `bank_trace`'s engines."""
    side_by_side = inputs_in_parallel(field, units)
    by_level = [level_banks(points, level, field, units) for level in field.levels]
    steps = len(points) // side_by_side
    return [
        [banks[step * side_by_side + place].tolist() for banks in by_level for place in range(side_by_side)]
        for step in range(steps)
    ]


def ratio(points: NDArray[np.float64], field: Field, units: EncodingEngines, mlp: MlpEngine) -> float:
    """Clocks of the event model over those of the reference, from the second slice's end to the last one's."""
    model = play(bank_trace(points, field, units), field, units, mlp).slice_ends
    reference = play_clock_by_clock(
        requests(points, field, units), inputs_in_parallel(field, units), field.layers, units, mlp
    )
    assert len(model) == len(reference) == SLICES
    assert model[0] == pytest.approx(reference[0], rel=2 * TOLERANCE)
    return float((model[-1] - model[0]) / (reference[-1] - reference[0]))


WORKLOADS = [
    "ngp/nerf/hashgrid", "ngp/nsdf/hashgrid", "ngp/gia/hashgrid", "ngp/nsdf/densegrid", "ngp/nvr/lowres-densegrid",
]  # fmt: skip
MACHINES = {
    "as shipped": ({}, {}),
    "by index": ({"interleave": "index"}, {}),
    "sixteen banks by index": ({"interleave": "index", "banks": 16}, {}),
    "few banks": ({"interleave": "index", "banks": 4}, {}),
    "one bank": ({"banks": 1}, {}),
    "two ports": ({"interleave": "index", "ports": 2}, {}),
    "short FIFOs": ({"interleave": "index", "bank_fifo": 2, "output_fifo": 2}, {}),
    "whole passes": ({}, {"packing": "whole"}),
}


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("kind", ["rays", "random"])
def test_throughput_agrees_on_every_kind_of_field(workload: str, kind: str) -> None:
    field = field_of(workload)
    count = SLICES * SLICE
    points = ray_points(field.dims, count) if kind == "rays" else random_points(field.dims, count)
    assert ratio(points, field, engines(), array()) == pytest.approx(1.0, abs=TOLERANCE)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", ["rays", "random"])
def test_throughput_agrees_on_other_machines(machine: str, kind: str) -> None:
    of_engines, of_array = MACHINES[machine]
    field = field_of("ngp/nsdf/hashgrid")
    points = ray_points(3, SLICES * SLICE) if kind == "rays" else random_points(3, SLICES * SLICE)
    assert ratio(points, field, engines(**of_engines), array(**of_array)) == pytest.approx(1.0, abs=TOLERANCE)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", ["rays", "random"])
def test_the_engines_alone_agree(machine: str, kind: str) -> None:
    """With next to no network, so that banks and FIFOs are what limits."""
    shape = field_of("ngp/nsdf/hashgrid")
    field = Field(shape.dims, shape.levels, shape.entry_bytes, layers=((1, 1),))
    points = ray_points(3, SLICES * SLICE) if kind == "rays" else random_points(3, SLICES * SLICE)
    of_engines, of_array = MACHINES[machine]
    assert ratio(points, field, engines(**of_engines), array(**of_array)) == pytest.approx(1.0, abs=TOLERANCE)


def test_neighbouring_rays_meet_at_banks_more_than_random_points() -> None:
    """In a dense level neighbours share a cell, and its corners lie in few banks."""
    field = field_of("ngp/nsdf/densegrid")
    network, by_index = (
        Field(field.dims, field.levels, field.entry_bytes, layers=((1, 1),)),
        engines(interleave="index"),
    )
    clocks = [
        play(bank_trace(points, network, by_index), network, by_index, array()).cycles
        for points in (ray_points(3, 512), random_points(3, 512))
    ]
    assert clocks[0] > 1.02 * clocks[1]
