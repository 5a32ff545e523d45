"""gpu-benches' loops with watts: what becomes of a row, and which rows are a device's or a board's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import conditions_of, read_measurements
from simexplore.kernels.datasets.gpubenches import ELEMENTS
from simexplore.kernels.measurement import ASSUMED
from simexplore.kernels.records import operator_columns
from simexplore.workloads.ops import StreamFma

HEAD = "source,device,op,dtype,gpu_index,ai_flop_per_byte,gbps,gflops,clock_mhz,power_w,temp_c"
ROWS = [
    "gpu-benches,one,stream_fma_roofline,fp32,0,0.25,1000,250,1400,200,50",
    "gpu-benches,two,stream_fma_roofline,fp32,0,2.25,500,1125,1300,300,60",
    "gpu-benches,two,stream_fma_roofline,fp32,1,10.25,250,2562,,310,61",
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "roofline.csv"
    path.write_text("\n".join([HEAD, *ROWS]) + "\n", encoding="utf-8")
    return path


def test_a_row_is_one_pass_at_the_loops_own_rate(table: Path) -> None:
    columns, refused = operator_columns(read_measurements(table))
    assert not refused
    (column,) = columns
    assert isinstance(column.record, StreamFma)
    assert np.asarray(column.record.flops_per_element).tolist() == [1, 9, 41]
    frame = read_measurements(table).frame
    assert frame["time_us"].tolist() == pytest.approx([4.0 * ELEMENTS / rate / 1e3 for rate in (1000, 500, 250)])
    assert frame["clock_mhz"].tolist()[:2] == [1400.0, 1300.0]
    assert np.isnan(frame["clock_mhz"].iloc[2])


def test_the_loops_rates_are_their_own_and_their_clocks_have_settled() -> None:
    loops = conditions_of("gpu-benches", "stream_fma_roofline")
    assert (loops.own_rate, loops.runs_before) == (True, np.inf)
    assert conditions_of("gpu-benches", "copy") == ASSUMED


@pytest.mark.parametrize(("wanted", "watts"), [("one", [200]), ("two", [300, 310]), ("two/1", [310])])
def test_rows_of_a_device_or_of_a_board(table: Path, wanted: str, watts: list[float]) -> None:
    assert read_measurements(f"gpubenches:{table}:{wanted}").frame["power_w"].tolist() == watts


def test_what_is_not_there_is_one_line_with_what_is(table: Path) -> None:
    with pytest.raises(SimexploreError, match="expected one of one, one/0, two, two/0, two/1, found 'two/7'"):
        read_measurements(f"gpubenches:{table}:two/7")
    with pytest.raises(SimexploreError, match="expected FILE:DEVICE"):
        read_measurements("gpubenches:roofline")


def test_a_rate_that_is_no_number_is_told_with_its_line(table: Path) -> None:
    table.write_text(table.read_text(encoding="utf-8").replace(",500,", ",fast,"), encoding="utf-8")
    with pytest.raises(SimexploreError, match=r"roofline\.csv:3: gbps: expected a rate above 0 in GB/s, found 'fast'"):
        read_measurements(table)


def test_a_table_with_times_is_left_as_it_is(table: Path) -> None:
    text = table.read_text(encoding="utf-8").splitlines()
    timed = [f"{text[0]},time_us,elements", *(f"{row},7,64" for row in text[1:])]
    table.write_text("\n".join(timed) + "\n", encoding="utf-8")
    frame = read_measurements(table).frame
    assert frame["time_us"].tolist() == [7.0, 7.0, 7.0]
    assert frame["elements"].tolist() == [64.0, 64.0, 64.0]
