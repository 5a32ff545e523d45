"""Rows are known again: by what they are, not by where they lie or how they were rounded."""

from __future__ import annotations

import numpy as np
import pandas as pd

from simexplore.kernels.fingerprints import Fingerprints, fingerprints
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns


def prints(frame: pd.DataFrame) -> Fingerprints:
    """Of each row of a table, in its order."""
    measurements = Measurements(frame)
    found = np.zeros(len(frame), dtype=np.uint64)
    for column in operator_columns(measurements)[0]:
        found[column.rows] = fingerprints(column, measurements)
    return found


def gemms(count: int = 500, source: str = "a") -> pd.DataFrame:
    random = np.random.default_rng(0)
    sizes = random.integers(1, 40, size=(count, 3)).astype(np.float64)
    text = {"source": source, "device": "X", "op": "gemm", "dtype": "bf16"}
    return pd.DataFrame({**text, **dict(zip("mnk", sizes.T, strict=True)), "time_us": random.uniform(1, 9, count)})


def test_different_kernels_differ_and_equal_ones_are_equal() -> None:
    frame = gemms()
    distinct = len(frame[["m", "n", "k"]].drop_duplicates())
    assert 100 < distinct < len(frame)
    assert len(np.unique(prints(frame))) == distinct


def test_order_time_and_device_do_not_matter() -> None:
    frame = gemms().drop_duplicates(["m", "n", "k"]).reset_index(drop=True)
    turned = frame[::-1].reset_index(drop=True).assign(time_us=1.0, device="Y")
    np.testing.assert_array_equal(prints(turned)[::-1], prints(frame))


def test_sources_dtypes_and_exchanged_sizes_do() -> None:
    frame = gemms(3)
    for other in (gemms(3, "b"), frame.assign(dtype="fp16"), frame.rename(columns={"m": "n", "n": "m"})):
        assert not set(prints(other)) & set(prints(frame))


def test_a_parameter_at_its_default_is_as_if_it_were_not_there() -> None:
    frame = gemms(5)
    np.testing.assert_array_equal(prints(frame.assign(batch=1.0)), prints(frame))
    assert not set(prints(frame.assign(batch=2.0))) & set(prints(frame))


def test_they_are_the_same_in_every_version() -> None:
    """Stored calibrations hold them: this number never changes."""
    row = {"source": "a", "device": "X", "op": "gemm", "dtype": "bf16", "m": 64.0, "n": 128.0, "k": 256.0, "time_us": 1}
    assert int(prints(pd.DataFrame([row]))[0]) == 6230636297232251456
