"""Operators on arrays: work and bytes by hand, what contradicts itself, and the same counted element by element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.workloads.operators.tensors.elements import elements_read, elements_written, fit
from simexplore.workloads.operators.tensors.operands import operand_bytes
from simexplore.workloads.ops import (
    Conv,
    ConvDilated,
    ConvTranspose,
    EncoderAttention,
    Gather,
    GroupNorm,
    Operator,
    Pool,
    Reduce,
    Relu,
    Resample,
    Scan,
    Scatter,
    Sort,
    TopK,
    parse_operator,
)


@pytest.mark.parametrize(
    ("op", "flops", "min_bytes"),
    [
        (Pool(6, 8, 4, 10, cols=2, rows=2, out_height=5), 6 * 20 * 4, 2 * 6 * (80 + 20)),
        (Pool(6, 8, 3, cols=2), 6 * 3 * 2, 2 * 6 * (6 + 3)),  # two elements are under no window
        (Pool(6, 7, 4, cols=3, indices=1, dtype="fp32"), 6 * 4 * 3, 4 * 6 * (7 + 4) + 8 * 24),
        (Resample(6, 25, 100), 0, 2 * 6 * 125),
        (Resample(6, 100, 25), 0, 2 * 6 * 50),  # three of four elements are not looked at
        (Resample(6, 25, 100, 4, 2, 3, "fp32"), 6 * 100 * 6, 4 * (6 * 125 + 3 * 100 * 2)),
        (GroupNorm(2, 12, 5, 3), 7 * 120, 2 * (240 + 24)),
        (Reduce(3, 5), 15, 2 * (15 + 3)),
        (Reduce(3, 5, 7, 2, dtype="fp16", output_dtype="fp32"), 210, 2 * 105 + 4 * 21),
        (Reduce(3, 5, values=0, indices=1), 15, 2 * 15 + 8 * 3),
        (Reduce(3, 5, values=2), 15, 2 * 15 + 2 * 2 * 3),
        (Scan(3, 5, 7), 105, 2 * 2 * 105),
        (Sort(3, 5, "fp32"), 0, 15 * (4 + 4 + 8)),
        (TopK(3, 5, 2, "fp32"), 0, 15 * 4 + 6 * (4 + 8)),
        (Gather(4, 100, 10), 0, 4 * 8 + 2 * 40 + 2 * 40),
        (Gather(40, 100, 10), 0, 40 * 8 + 2 * 100 + 2 * 400),  # each element of the table once
        (Scatter(4, 100, 10), 0, 4 * 8 + 2 * 40 + 2 * 40),
        (Scatter(40, 100, 10, 1), 400, 40 * 8 + 2 * 400 + 2 * 2 * 100),  # what is added to is read
        (ConvTranspose(2, 6, 4, 5, 10, groups=2, cols=3, stride=2), 2 * 2 * 5 * 4 * 3 * 3, 2 * (60 + 36 + 80)),
        (EncoderAttention(2, 4, 2, 8, 6, 9, mask_elements=54), 4 * 8 * 8 * 54, 2 * (2 * 384 + 2 * 288 + 54)),
    ],
    ids=lambda value: value.op if isinstance(value, Operator) else "",
)
def test_work_and_bytes(op: Operator, flops: float, min_bytes: float) -> None:
    op.validate()
    assert (op.flops, op.min_bytes) == (flops, min_bytes)


SIZES = st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60)
@given(SIZES, SIZES, st.integers(0, 2))
def test_a_dilated_convolution_has_the_positions_that_fit(
    rows: tuple[int, int, int, int], cols: tuple[int, int, int, int], end: int
) -> None:
    dilation = rows[3]
    sizes = {"height": rows[0], "rows": rows[1], "width": cols[0], "cols": cols[1]}
    op = ConvDilated(1, 2, 3, **sizes, stride=cols[2], row_stride=rows[2], dilation=dilation, end_cols=end, pad_rows=1)
    counted = [
        sum(1 for at in range(0, size + more, stride) if at + (taps - 1) * dilation < size + more)
        for size, more, taps, stride in ((rows[0], 2, rows[1], rows[2]), (cols[0], end, cols[1], cols[2]))
    ]
    if 0 in counted:
        with pytest.raises(SimexploreError, match="expected at most the padded image's"):
            op.validate()
        return
    assert op.out == (1, *counted)
    assert op.flops == 2 * 3 * 2 * rows[1] * cols[1] * counted[0] * counted[1]


def test_a_dilated_convolution_without_holes_is_a_convolution() -> None:
    fields = {"width": 9, "height": 8, "cols": 3, "rows": 3, "pad_rows": 1, "stride": 2}
    plain, same = Conv(2, 4, 6, **fields), ConvDilated(2, 4, 6, **fields)  # type: ignore[arg-type]
    assert (same.out, same.flops, same.min_bytes) == (plain.out, plain.flops, plain.min_bytes)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4))
def test_products_of_a_transposed_convolution_are_those_of_each_voxel(size: int, taps: int, stride: int) -> None:
    out = (size - 1) * stride + taps
    op = ConvTranspose(1, 2, 3, size, out, cols=taps, stride=stride)
    op.validate()
    result = np.zeros(out)
    for voxel in range(size):
        result[voxel * stride : voxel * stride + taps] += 2 * 2 * 3  # every tap, for each pair of channels
    assert op.flops == result.sum()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool(planes=1,width=8,out_width=4,indices=2)", "indices: expected 0 or 1, found 2"),
        (
            "resample(planes=3,in_elements=4,out_elements=4,images=2)",
            "images: expected a divisor of planes = 3, found 2",
        ),
        ("group_norm(batch=1,channels=10,pixels=4,groups=3)", "groups: expected a divisor of channels = 10, found 3"),
        ("reduce(rows=1,cols=2,values=0)", "values: expected a number or an index as each result, found neither"),
        ("top_k(rows=1,cols=2,k=3)", "k: expected at most cols = 2, found 3"),
        ("gather(indices=1,table=4,run=5)", "run: expected at most table = 4, found 5"),
        ("scatter(indices=1,table=4,run=5)", "run: expected at most table = 4, found 5"),
        ("scatter(indices=1,table=4,adds=2)", "adds: expected 0 or 1, found 2"),
        ("conv_transpose(batch=1,cin=3,cout=4,width=2,out_width=2,groups=2)", "a divisor of cin = 3, found 2"),
        (
            "conv_transpose(batch=1,cin=4,cout=4,width=2,out_width=7,cols=3,stride=2)",
            r"out_width: expected at most \(size - 1\) stride \+ taps \+ stride - 1 = 6, found 7",
        ),
        ("conv_dilated(batch=1,cin=4,cout=4,width=4,cols=3,dilation=2)", "cols: .* padded image's 4, found 5"),
    ],
)
def test_what_contradicts_itself_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SimexploreError, match=message) as error:
        parse_operator(text)
    assert "\n" not in str(error.value)


def test_a_columns_contradictions_are_found_in_any_row() -> None:
    for op, name in (
        (TopK(np.array([1, 1]), np.array([4, 4]), np.array([4, 5])), "k"),
        (Reduce(np.array([1, 1]), np.array([2, 2]), values=np.array([1, 0]), indices=np.array([0, 0])), "values"),
        (Pool(np.array([1, 1]), np.array([2, 2]), np.array([2, 2]), indices=np.array([1, 2])), "indices"),
    ):
        with pytest.raises(SimexploreError, match=f"{op.op}: {name}: "):
            op.validate()


@pytest.mark.parametrize(
    ("op", "read", "written"),
    [
        (Pool(6, 8, 4, 10, cols=2, rows=2, out_height=5), (480,), (120,)),
        (Resample(6, 25, 100), (150,), (600,)),
        (GroupNorm(2, 12, 5, 3), (120,), (120,)),
        (Reduce(3, 5, 7), (105,), (21,)),
        (Scan(3, 5, 7), (105,), (105,)),
        (Sort(3, 5), (15,), (15,)),
        (TopK(3, 5, 2), (15,), (6,)),
        (Gather(4, 100, 10), (100,), (40,)),
        (Scatter(4, 100, 10), (40, 100), (100,)),
        (ConvTranspose(2, 6, 4, 5, 10, groups=2, cols=3, stride=2), (60, 36), (80,)),
        (ConvDilated(2, 4, 6, 8, cols=3, dilation=2, groups=2), (64, 36), (48,)),
    ],
    ids=lambda value: value.op if isinstance(value, Operator) else "",
)
def test_edges_know_their_sizes(op: Operator, read: tuple[float, ...], written: tuple[float, ...]) -> None:
    assert (elements_read(op), elements_written(op)) == (read, written)
    assert fit(op, Relu(int(written[0])))
    assert not fit(op, Relu(int(sum(written)) + 1))


def test_filters_and_masks_are_in_memory() -> None:
    up = ConvTranspose(2, 6, 4, 5, 10, groups=2, cols=3, stride=2)
    assert operand_bytes(up) == {"images": 120, "filters": 72}
    attention = EncoderAttention(2, 4, 2, 8, 6, 9, mask_elements=54)
    assert operand_bytes(attention) == {"queries": 768, "keys_and_values": 1152, "mask": 108}
    assert "mask" not in operand_bytes(EncoderAttention(2, 4, 2, 8, 6, 9))
