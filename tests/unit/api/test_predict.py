"""Tables of operators: rows come out as they went in, as `estimate` has each of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import simexplore
from simexplore.workloads.ops import Gemm

ARCH = "nvidia/h200-sxm"
MIXED = [
    "gemm(m=16,n=4096,k=4096,dtype=bf16)",
    "rmsnorm(rows=64,cols=4096,dtype=bf16)",
    "gemm(m=4096,n=4096,k=4096,dtype=fp8)",
    "gemm(m=1,n=4096,k=4096,dtype=bf16)",
]


def test_rows_of_several_families_come_out_in_their_order() -> None:
    table = simexplore.predict(MIXED, ARCH)
    assert table.columns.tolist() == [
        "time_s", "time_low_s", "time_high_s", "energy_j", "energy_low_j", "energy_high_j", "mean_power_w",
        "correction", "bound",
    ]  # fmt: skip
    for text, (_, row) in zip(MIXED, table.iterrows(), strict=True):
        alone = simexplore.estimate(text, ARCH)
        assert row["time_s"] == pytest.approx(alone.time_s, rel=1e-9)
        assert row["energy_j"] == pytest.approx(alone.energy_j, rel=1e-9)
        assert row["time_low_s"] == pytest.approx(alone.time_low_s, rel=1e-9)
        assert row["time_high_s"] == pytest.approx(alone.time_high_s, rel=1e-9)
        assert row["energy_high_j"] == pytest.approx(alone.energy_high_j, rel=1e-9)
        assert row["mean_power_w"] == pytest.approx(alone.mean_power_w, rel=1e-9)
        assert row["bound"] == alone.bound


@pytest.mark.parametrize("power", ["sustained", "burst"])
def test_states_of_the_board_are_those_of_estimate(power: str) -> None:
    text = "gemm(m=8192,n=8192,k=8192,dtype=bf16)"
    told = simexplore.predict([text], ARCH, power=power, launch="stream", cache=simexplore.WARM)  # type: ignore[arg-type]
    alone = simexplore.estimate(text, ARCH, power=power, launch="stream", cache=simexplore.WARM)  # type: ignore[arg-type]
    assert told["time_s"][0] == pytest.approx(alone.time_s, rel=1e-9)
    assert told["energy_j"][0] == pytest.approx(alone.energy_j, rel=1e-9)


def test_a_frame_keeps_its_index_and_its_other_columns_are_left_alone() -> None:
    frame = pd.DataFrame(
        {"op": ["rmsnorm", "gemm"], "rows": [64, np.nan], "cols": [4096, np.nan], "m": [np.nan, 16],
         "n": [np.nan, 4096], "k": [np.nan, 4096], "batch": np.nan, "dtype": "bf16", "measured_us": 1.0},
        index=["b", "a"],
    )  # fmt: skip
    table = simexplore.predict(frame, ARCH)
    assert table.index.tolist() == ["b", "a"]
    expected = simexplore.predict([MIXED[1], MIXED[0]], ARCH)
    assert table["time_s"].tolist() == expected["time_s"].tolist()


def test_columns_and_records_are_the_same_rows() -> None:
    m = np.array([1, 16, 4096])
    columns = simexplore.predict({"op": "gemm", "m": m, "n": 4096, "k": 4096, "dtype": "bf16"}, ARCH)
    record = simexplore.predict(Gemm(m=m, n=4096, k=4096, dtype="bf16"), ARCH)
    one_by_one = simexplore.predict([Gemm(m=int(size), n=4096, k=4096, dtype="bf16") for size in m], ARCH)
    pd.testing.assert_frame_equal(columns, record)
    pd.testing.assert_frame_equal(columns, one_by_one)
    assert len(simexplore.predict([], ARCH)) == 0


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"op": "gem", "m": 1}, "did you mean 'gemm'"),
        ({"m": 1}, "expected a column 'op'"),
        ({"op": "gemm", "m": 1, "n": 1}, "expected a column 'k'"),
        ({"op": "gemm", "m": 1, "n": 1, "k": 1, "kk": 1}, "unknown column 'kk'"),
        ({"op": "gemm", "m": 1.5, "n": 1, "k": 1}, "m: expected a positive integer, found 1.5"),
        ({"op": "gemm", "m": [1, 0], "n": 1, "k": 1}, "m: expected a positive integer, found 0"),
        ({"op": "gemm", "m": "one", "n": 1, "k": 1}, "m: expected a positive integer, found 'one'"),
        ({"op": "gemm", "m": [1, 2], "n": [1, 2, 3], "k": 1}, "expected a column of"),
        ({"op": "gemm", "m": 1, "n": 1, "k": 1, "dtype": "bf61"}, "dtype"),
        ([3], "row 0: expected an operator"),
        (["gemm(m=1)"], "expected"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_a_line(table: object, told: str) -> None:
    with pytest.raises(simexplore.SimexploreError, match=told) as caught:
        simexplore.predict(table, ARCH)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
