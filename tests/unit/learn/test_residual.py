"""The learned correction as arrays: how trees are walked, how it fades, what its file holds and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.archs.schema.calibration import Calibration
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction, Hull, Trees, from_bytes, to_bytes
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, CacheState, Conditions
from simexplore.sim.estimate.correction import (
    LENGTH,
    NORMAL_80,
    UNCALIBRATED_SIGMA_LOG,
    corrected,
    group_of,
    half_width,
    octaves_outside,
    sum_of_trees,
)
from simexplore.sim.estimate.operators import physics, predict
from simexplore.workloads.ops import AttentionDecode, Gemm, Softmax

SIZES = ("m", "n", "k")
FAR = 0.5
GROUP = "gemm bf16 graph"


def stump(threshold: float, below: float, above: float, start: float = 0.0) -> Trees:
    """One tree that asks its only feature once."""
    return Trees(
        root=np.array([0], dtype=np.int32),
        feature=np.array([0, -1, -1], dtype=np.int16),
        value=np.array([threshold, below, above], dtype=np.float32),
        left=np.array([1, 1, 2], dtype=np.int32),
        start=np.array([start]),
    )


def hull(low: float = 5.0, high: float = 13.0) -> Hull:
    """All three sizes between 2^low and 2^high."""
    directions = np.eye(3, dtype=np.float32)
    return Hull(directions, np.full(3, low, dtype=np.float32), np.full(3, high, dtype=np.float32))


def correction(shift: Trees | None = None) -> Correction:
    """Rows of m <= 256 are 10 % slower, the others 20 % faster; half of the interval is 0.05."""
    return Correction(
        group=GROUP,
        features=("m",),
        shift=shift or stump(8.0, np.log(1.1), np.log(0.8)),
        spread=stump(8.0, np.log(0.1), np.log(0.1)),
        half_width=np.array([0.5]),
        coordinates=SIZES,
        hull=hull(),
    )


def columns(m: float, n: float = 10.0, k: float = 10.0) -> dict[str, npt.NDArray[np.float64]]:
    return {"m": np.array([m]), "n": np.array([n]), "k": np.array([k])}


def machine(**calibration: Any) -> Gpu:
    """An H100 with a calibration made here."""
    data = to_bytes({GROUP: correction()}, np.array([3, 1, 3], dtype=np.uint64))
    gpu = load_arch("nvidia/h100-sxm")
    told = {"residual": from_bytes(data), **calibration}
    return gpu.model_copy(update={"calibration": Calibration.model_validate(told)})


def test_a_row_at_the_threshold_goes_left() -> None:
    x = np.array([[7.9], [8.0], [8.1]], dtype=np.float32)
    np.testing.assert_allclose(sum_of_trees(stump(8.0, 1.0, 2.0, start=10.0), x), [11.0, 11.0, 12.0])


def test_trees_of_unequal_depth_add_up_whatever_the_batch() -> None:
    trees = Trees(
        root=np.array([0, 1], dtype=np.int32),
        feature=np.array([-1, 1, -1, 0, -1, -1], dtype=np.int16),
        value=np.array([100.0, 0.5, 1.0, 0.5, 10.0, 20.0], dtype=np.float32),
        left=np.array([0, 2, 2, 4, 4, 5], dtype=np.int32),
        start=np.array([0.0]),
    )
    x = np.array([[0, 0], [1, 0], [0, 1], [1, 1]] * 200, dtype=np.float32)
    expected = np.array([101.0, 101.0, 110.0, 120.0] * 200)
    np.testing.assert_array_equal(sum_of_trees(trees, x), expected)
    np.testing.assert_array_equal([sum_of_trees(trees, row[None])[0] for row in x[:4]], expected[:4])


def test_distance_is_in_octaves_and_nothing_inside() -> None:
    rows = np.array([[5, 5, 5], [13, 9, 5], [14.5, 9, 9], [9, 3, 16]], dtype=np.float32)
    np.testing.assert_allclose(octaves_outside(hull(), rows), [0.0, 0.0, 1.5, 3.0], atol=1e-6)


@settings(max_examples=60)
@given(direction=st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda d: max(map(abs, d)) > 0.1))
def test_outside_its_rows_the_correction_fades_and_the_interval_widens(direction: tuple[float, float, float]) -> None:
    """Along any ray out of the middle, in steps of a hundredth of an octave."""
    always = correction(stump(8.0, 0.3, 0.3))
    steps = np.arange(0.0, 40.0, 0.01)
    rows = {name: 9.0 + steps * along for name, along in zip(SIZES, direction, strict=True)}
    shift, width = corrected(always, rows, FAR)
    assert np.all(np.diff(shift) <= 1e-6)
    assert np.all(np.diff(width) >= -1e-6)
    assert np.all(np.abs(np.diff(shift)) < 0.01)
    assert np.all(np.abs(np.diff(width)) < 0.02)
    assert shift[0] == pytest.approx(0.3, abs=1e-6)
    assert width[0] == pytest.approx(0.05, abs=1e-6)
    if octaves_outside(hull(), np.array([[rows[name][-1] for name in SIZES]], dtype=np.float32))[0] > 6.0:
        assert shift[-1] == pytest.approx(0.0, abs=1e-6)
        assert width[-1] > 2.0 * FAR


def test_far_away_no_interval_is_narrower_than_that_of_the_physics() -> None:
    _, width = corrected(correction(), columns(30.0), 0.02)
    assert width[0] >= 0.05


def test_a_prediction_takes_the_correction_and_its_energy_follows() -> None:
    gpu = machine()
    op = Gemm(m=np.array([128, 1024]), n=np.array([4096, 4096]), k=np.array([4096, 4096]))
    alone, full = physics(op, gpu, Conditions()), predict(op, gpu)
    np.testing.assert_allclose(full.time_s / alone.time_s, [1.1, 0.8], rtol=1e-6)
    np.testing.assert_allclose(full.high_s / full.time_s, np.exp(0.05), rtol=1e-6)
    np.testing.assert_allclose(full.time_s / full.low_s, np.exp(0.05), rtol=1e-6)
    np.testing.assert_allclose(full.energy_j / alone.energy_j, [1.1, 0.8], rtol=1e-6)  # the power is the physics'
    np.testing.assert_array_equal(predict(op, gpu.physics_only()).time_s, alone.time_s)


def test_other_dtypes_and_conditions_have_no_correction() -> None:
    gpu = machine(sigma_log={"gemm": 0.2, "default": 0.4})
    for op, conditions in (
        (Gemm(m=128, n=4096, k=4096, dtype="fp16"), Conditions()),
        (Gemm(m=128, n=4096, k=4096), Conditions(launch="stream")),
    ):
        assert predict(op, gpu, conditions).correction[0] == 1.0
        assert half_width(op, gpu, conditions) == pytest.approx(0.2 * NORMAL_80)
    assert half_width(Softmax(rows=8, cols=8), gpu, Conditions()) == pytest.approx(0.4 * NORMAL_80)


def test_the_nearest_name_tells_the_spread() -> None:
    gpu = machine(sigma_log={"gemm": 0.2, "gemm bf16": 0.1, GROUP: 0.05})
    op = Gemm(m=128, n=4096, k=4096)
    assert half_width(op, gpu, Conditions()) == pytest.approx(0.05 * NORMAL_80)
    assert half_width(op, gpu, Conditions(launch="stream")) == pytest.approx(0.1 * NORMAL_80)
    assert half_width(Softmax(rows=8, cols=8), gpu, Conditions()) == pytest.approx(UNCALIBRATED_SIGMA_LOG * NORMAL_80)


def test_a_group_is_what_changes_the_kernels_not_what_is_warm() -> None:
    op = AttentionDecode(batch=1, heads=8, kv_heads=8, head_dim=128, seq_kv=9, kv_dtype="fp8")
    assert (
        group_of(op, Conditions(attention_module=True)) == "attention_decode bf16 kv_dtype=fp8 graph attention_module"
    )
    gemm = Gemm(m=1, n=1, k=1)
    warm = Conditions(cache=CacheState(1.0, 1.0))
    assert group_of(gemm, Conditions(cache=COLD)) == group_of(gemm, warm) == GROUP


def test_the_file_gives_back_every_array() -> None:
    data = to_bytes({GROUP: correction(), "other": correction()}, np.array([3, 1, 3], dtype=np.uint64))
    assert data == to_bytes({GROUP: correction(), "other": correction()}, np.array([1, 3], dtype=np.uint64))
    read = from_bytes(data)
    assert list(read.corrections) == [GROUP, "other"]
    np.testing.assert_array_equal(read.fingerprints, [1, 3])
    x = np.array([[2.0], [9.0]], dtype=np.float32)
    np.testing.assert_array_equal(sum_of_trees(read.corrections[GROUP].shift, x), sum_of_trees(correction().shift, x))
    assert read == from_bytes(data)
    assert read != from_bytes(to_bytes({}, np.array([1], dtype=np.uint64)))


def test_half_widths_follow_how_long_the_physics_says_a_kernel_takes() -> None:
    """Half of them at the knots, in proportion between, and level beyond; the local scale is 0.1."""
    longer = replace(correction(), half_width=np.array([0.5, 1.0]), knots=np.array([-20.0, -10.0]))
    read = from_bytes(to_bytes({GROUP: longer}, np.zeros(0, dtype=np.uint64))).corrections[GROUP]
    times = {-30.0: 0.05, -20.0: 0.05, -15.0: 0.075, -10.0: 0.1, 0.0: 0.1}
    rows = {**columns(10.0), LENGTH: np.array(list(times))}
    rows = {name: np.broadcast_to(column, len(times)) for name, column in rows.items()}
    for one in (longer, read):
        np.testing.assert_allclose(corrected(one, rows, 0.0)[1], list(times.values()), rtol=1e-6)


def test_a_file_that_tells_no_knots_has_one_width_for_all() -> None:
    data = to_bytes({GROUP: correction()}, np.zeros(0, dtype=np.uint64))
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files if not name.endswith("knots")}
    target = io.BytesIO()
    np.savez(target, **kept)
    read = from_bytes(target.getvalue()).corrections[GROUP]
    np.testing.assert_array_equal(
        corrected(read, columns(10.0), FAR)[1], corrected(correction(), columns(10.0), FAR)[1]
    )


def rewritten(data: bytes, **arrays: Any) -> bytes:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files}
    target = io.BytesIO()
    np.savez(target, **{**kept, **arrays})
    return target.getvalue()


@pytest.mark.parametrize(
    "arrays",
    [
        {"version": np.array(2)},
        {"groups": np.array([GROUP, "more"])},
        {"0/shift/left": np.array([0, 0, 0], dtype=np.int16)},
        {"0/shift/left": np.array([2, 0, 0], dtype=np.int16)},
        {"0/shift/feature": np.array([7, -1, -1], dtype=np.int16)},
        {"0/shift/root": np.array([3], dtype=np.int32)},
        {"0/shift/value": np.array([0.0], dtype=np.float32)},
        {"0/half_width": np.array([0.5, 0.6])},
        {"0/half_width": np.array([0.0])},
        {"0/half_width": np.array([0.5, 0.6]), "0/knots": np.array([1.0, 1.0])},
        {"0/half_width": np.zeros(0), "0/knots": np.zeros(0)},
        {"groups": np.array([GROUP], dtype=object)},
    ],
    ids=[
        *("version", "group", "loop", "beyond", "feature", "root", "lengths"),
        *("knots missing", "no width", "knots level", "no knots", "pickle"),
    ],
)
def test_a_file_that_is_not_one_of_ours_is_refused(arrays: dict[str, Any]) -> None:
    data = to_bytes({GROUP: correction()}, np.zeros(0, dtype=np.uint64))
    assert from_bytes(rewritten(data)).corrections
    with pytest.raises(ValueError, match=r"an\b|a\b|trees|version"):
        from_bytes(rewritten(data, **arrays))


def test_a_correction_of_features_that_no_operator_has_is_a_mistake_in_one_line() -> None:
    with pytest.raises(SimexploreError, match="asks for 'moon', which its operators do not have"):
        corrected(replace(correction(), features=("moon",)), columns(10.0), FAR)
