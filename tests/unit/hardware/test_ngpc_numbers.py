"""A field in an NFP's number formats, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simexplore.sim.hardware.ngpc import numbers
from simexplore.sim.hardware.ngpc.nfp import Level


def floats(*values: Any) -> numbers.Floats:
    return np.array(values, np.float32)


def test_int8_has_one_scale_for_all() -> None:
    """The largest is 254, so a step is 2: 3 rounds to the even step."""
    assert numbers.quantized(floats(254.0, 3.1, -253.0, 0.9), "int8").tolist() == [254.0, 4.0, -252.0, 0.0]
    assert numbers.quantized(floats(0.0, 0.0), "int8").tolist() == [0.0, 0.0]
    assert numbers.quantized(floats(), "int8").tolist() == []
    assert numbers.quantized(floats(-508.0, 5.0), "int8").tolist() == [-508.0, 4.0]


def test_fp16_keeps_eleven_bits() -> None:
    assert numbers.quantized(floats(2049.0, 0.5), "fp16").tolist() == [2048.0, 0.5]
    assert numbers.quantized(floats(2049.0, 0.5), "fp32").tolist() == [2049.0, 0.5]


def field(levels: int, *weights: Any) -> numbers.TrainedField:
    """Levels of two by two points: entries hold 0, 1, 2, 3, and ten times as much beside it."""
    table = floats(*[(entry, 10 * entry) for entry in range(4)])
    return numbers.TrainedField((Level(3, 4, False),) * levels, (table,) * levels, tuple(floats(*w) for w in weights))


INSIDE = np.array([[0.375, 0.0]])
"""Of three points along an axis: at 2 x 0.375 + 0.5 = 1.25 along x and at 0.5 along y."""


def test_features_are_those_of_the_corners_by_nearness() -> None:
    """Corners (1, 0), (2, 0), (1, 1), (2, 1) are entries x + 3 y = 1, 2, 4, 5, the last two 0 and 1 of four."""
    value = 0.5 * (0.75 * 1 + 0.25 * 2) + 0.5 * (0.75 * 0 + 0.25 * 1)
    assert numbers.encode(INSIDE, field(2), "fp32").tolist() == [[value, 10 * value] * 2]


def test_networks_are_cut_off_at_zero_between_layers_and_not_after_the_last() -> None:
    """Features 0.75 and 7.5, as above: 0.75 - 7.5 is cut off, 0.75 + 7.5 goes on, and the last sum may be negative."""
    trained = field(1, [(1, 1), (-1, 1)], [(5,), (-2,)])
    assert numbers.evaluate(INSIDE, trained, numbers.NumberFormats()).tolist() == [[-2 * 8.25]]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        # 1, 2, 10 and 20 in steps of 30 / 127 are 4, 8, 42 and 85 of them; the corners' shares are those above.
        ("features", (0.5 * 4 + 0.125 * 8 + 0.31 * (0.5 * 42 + 0.125 * 85)) * 30 / 127),
        ("weights", 0.75 + 7.5 * 39 / 127),  # 0.31 in steps of 1 / 127
        ("activations", 13 * 7.5 / 127 + 0.31 * 7.5),  # 0.75 in steps of 7.5 / 127; the result is its own scale
    ],
)
def test_each_part_has_its_own_format(part: str, expected: float) -> None:
    formats = numbers.NumberFormats(**{part: "int8"})  # type: ignore[arg-type]
    assert numbers.evaluate(INSIDE, field(1, [(1.0,), (0.31,)]), formats).item() == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(0.75 + 0.31 * 7.5, rel=1e-4)


def test_psnr_in_decibels() -> None:
    assert numbers.psnr(floats(0.1, 0.1), floats(0.0, 0.2)) == pytest.approx(20.0, abs=1e-5)
    assert numbers.psnr(floats(0.1, 0.0), floats(0.0, 0.0)) == pytest.approx(10 * np.log10(200.0), abs=1e-5)
