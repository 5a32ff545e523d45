"""NeuSight's tables: conditions of their rows, and the order of the sweep of convolutions drawn again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import conditions_of, neusight, read_measurements
from simexplore.kernels.measurement import EARLIER_SHAPES
from simexplore.kernels.records import operator_columns
from simexplore.sim.compare.comparison import conditions_in

PUBLISHED = {
    0: (38, 893, 326, 3, 5, 1, 1),
    1: (55, 1701, 569, 3, 5, 1, 1),
    2: (47, 187, 1622, 3, 8, 1, 1),
    4999: (21, 103, 778, 3, 21, 1, 1),
}
"""Lines of scripts/asplos/data/dataset/dims/train_cnn.csv in the authors' repository."""
HEADER = "source,device,op,dtype,batch,cin,cout,ksize,hw,stride,pad,time_us"


def table(tmp_path: Path, *rows: str, header: str = HEADER) -> pd.DataFrame:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return read_measurements(path).frame


def test_the_order_of_the_sweep_is_the_published_one() -> None:
    order = neusight.sweep()
    assert {place: shape for shape, place in order.items() if place in PUBLISHED} == PUBLISHED
    assert len(order) == neusight.SWEEP_SHAPES


def test_rows_learn_what_ran_before_them(tmp_path: Path) -> None:
    frame = table(
        tmp_path,
        "neusight/train,A100,conv2d,fp32,21,103,778,3,21,1,1,500",
        "neusight/train,A100,conv2d,fp32,38,893,326,3,5,1,1,500",
        "neusight/train,A100,conv2d,fp32,7,7,7,3,7,1,1,500",
        "mine,A100,conv2d,fp32,21,103,778,3,21,1,1,500",
    )
    np.testing.assert_array_equal(frame[EARLIER_SHAPES], [4999.0, 0.0, np.nan, np.nan])


def test_a_table_that_tells_them_is_believed(tmp_path: Path) -> None:
    row = "neusight/train,A100,conv2d,fp32,21,103,778,3,21,1,1,500,17"
    assert table(tmp_path, row, header=f"{HEADER},{EARLIER_SHAPES}")[EARLIER_SHAPES].tolist() == [17.0]


def test_other_tables_get_no_column(tmp_path: Path) -> None:
    assert EARLIER_SHAPES not in table(tmp_path, "mine,A100,conv2d,fp32,21,103,778,3,21,1,1,500")


def test_a_count_of_shapes_is_a_whole_number(tmp_path: Path) -> None:
    row = "mine,A100,conv2d,fp32,21,103,778,3,21,1,1,500,-1"
    with pytest.raises(SimexploreError, match=f"rows.csv:2: {EARLIER_SHAPES}: expected a whole number"):
        table(tmp_path, row, header=f"{HEADER},{EARLIER_SHAPES}")


def test_columns_carry_them_to_the_conditions(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = ("21,103,778,3,21,1,1,500", "38,893,326,3,5,1,1,500")
    path.write_text("\n".join((HEADER, *(f"neusight/train,A100,conv2d,fp32,{row}" for row in rows))), encoding="utf-8")
    (column,), refused = operator_columns(read_measurements(path))
    assert not refused
    gpu = load_arch("nvidia/a100-pcie-80gb")
    np.testing.assert_array_equal(conditions_in(column, gpu).cache.earlier_shapes, [4999.0, 0.0])
    np.testing.assert_array_equal(conditions_in(column.part(1, 2), gpu).cache.earlier_shapes, [0.0])
    assert conditions_in(column, gpu).eager
    assert not conditions_of("mine", "conv2d").eager
