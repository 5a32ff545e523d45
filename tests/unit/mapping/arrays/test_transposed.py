"""Transposed and dilated convolutions, and masks of attention: against the operators that they come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from round_gpu import flat, round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping import algorithms_of, demands_of
from simexplore.sim.mapping.conv.implicit import patch_voxels
from simexplore.sim.mapping.conv.transposed import side_by_side
from simexplore.workloads.ops import Conv, ConvDilated, ConvTranspose, EncoderAttention, Operator

CONDITIONS = Conditions(cache=COLD, activity=1.0)


def kernel(op: Operator, dtype: str = "bf16") -> KernelDemand:
    ways = algorithms_of(replace(op, dtype=dtype), round_gpu(), CONDITIONS)  # type: ignore[type-var]
    last = ways[0].kernels[-1]
    assert isinstance(last, KernelDemand)
    return last


def total(demand: KernelDemand, name: str) -> float:
    """Of all CTAs, with the first candidate."""
    return float((demand.grid.ctas * getattr(demand.work, name))[0, 0])


def test_a_filter_that_the_stride_divides_is_a_convolution_with_all_phases_side_by_side() -> None:
    up = ConvTranspose(2, 64, 16, 20, 40, 10, cols=4, rows=4, out_height=20, stride=2)
    conv = side_by_side(up)
    assert conv.out == (1, 10, 20)
    assert (conv.cout.tolist(), conv.taps.tolist(), conv.flops.tolist()) == ([64], [4], [up.flops])  # type: ignore[union-attr]
    assert (conv.min_bytes.tolist(), conv.width.tolist(), conv.end_cols.tolist()) == ([up.min_bytes], [20], [1])  # type: ignore[union-attr]
    found, expected = flat(kernel(up)), flat(kernel(conv))
    assert found == expected


def test_phases_with_fewer_taps_multiply_less() -> None:
    """Of three taps by stride 2 one phase has two and the other one; the convolution side by side has two each."""
    up = ConvTranspose(1, 64, 64, 32, 64, 32, cols=3, rows=3, out_height=64, stride=2)
    conv = side_by_side(up)
    for dtype, work in (("bf16", "tensor_ops"), ("fp32", "fma_ops")):
        found, whole = kernel(up, dtype), kernel(conv, dtype)
        assert total(found, work) == pytest.approx(total(whole, work) * 9 / 16)
        bytes_of_conv = conv.image_bytes + conv.filter_bytes
        assert total(found, "dram_read_bytes") == pytest.approx(
            total(whole, "dram_read_bytes") * float(up.image_bytes + up.filter_bytes) / float(bytes_of_conv[0])  # type: ignore[index]
        )
        assert total(found, "dram_write_bytes") == pytest.approx(total(whole, "dram_write_bytes"))


@pytest.mark.parametrize(
    ("sizes", "conv"),
    [
        ({"width": 5, "out_width": 13, "cols": 3, "stride": 3}, (3, 5, 1, 0)),  # no filters overlap
        ({"width": 5, "out_width": 9, "cols": 5, "stride": 1}, (1, 5, 5, 8)),
        ({"width": 5, "out_width": 1, "cols": 5, "stride": 1}, (1, 5, 5, 0)),
        ({"width": 5, "out_width": 3, "cols": 2, "stride": 1}, (1, 4, 2, 0)),  # some voxels reach no result
        ({"width": 1, "out_width": 2, "cols": 2, "stride": 4}, (2, 1, 1, 0)),
    ],
)
def test_an_axis_by_phases(sizes: dict[str, int], conv: tuple[int, int, int, int]) -> None:
    found = side_by_side(ConvTranspose(1, 1, 1, **sizes))
    told = (found.cout, found.width, found.cols, found.end_cols)
    assert tuple(int(np.ravel(each)[0]) for each in told) == conv
    assert np.ravel(found.out[2])[0] == -(-sizes["out_width"] // conv[0])


def test_a_depthwise_one_is_on_the_fma_pipes() -> None:
    op = ConvTranspose(1, 32, 32, 20, 40, 20, cols=4, rows=4, out_height=40, stride=2, groups=32)
    demand = kernel(op)
    assert demand.kernel == "depthwise"
    assert total(demand, "fma_ops") == pytest.approx(float(op.flops))


def test_a_dilated_filter_reaches_over_more_of_the_image() -> None:
    sizes = {"width": 40, "height": 40, "cols": 3, "rows": 3}
    dense, holes = Conv(1, 64, 64, **sizes), ConvDilated(1, 64, 64, **sizes, dilation=4)
    ten = np.full((1, 1), 10.0)
    assert patch_voxels(dense, ten).item() == (10 + 2) * (1 + 2)
    assert patch_voxels(holes, ten).item() == min((10 + 8) * (1 + 8), 10 * 9)  # no more than all taps
    apart = ConvDilated(1, 64, 64, **sizes, stride=2, row_stride=1)
    assert patch_voxels(apart, ten).item() == (10 * 2 + 1) * (1 + 2)
    same = ConvDilated(1, 64, 64, **sizes)
    assert flat(kernel(same)) == flat(kernel(dense))


def test_transposed_and_dilated_convolutions_take_no_less_than_their_products() -> None:
    gpu = load_arch("nvidia/h100-sxm")
    rate = gpu.sm.count * gpu.clock.top_hz * gpu.sm.tensor_ops_per_clk["bf16"]
    up = ConvTranspose(8, 512, 256, 64, 128, 64, cols=3, rows=3, out_height=128, stride=2)
    holes = ConvDilated(8, 512, 512, 64, 64, cols=3, rows=3, pad_cols=4, pad_rows=4, dilation=4)
    for op in (up, holes):
        took = predict(op, gpu).time_s.item() * rate / float(op.flops)
        assert 1.0 < took < 3.0


def test_a_mask_is_read_by_tiles_and_from_dram_once() -> None:
    gpu = load_arch("nvidia/h100-sxm")
    plain = EncoderAttention(2, 8, 8, 64, 1024, 2048)
    masked = replace(plain, mask_elements=2 * 1024 * 2048)
    (bare,), (told,) = demands_of(plain, gpu, CONDITIONS), demands_of(masked, gpu, CONDITIONS)
    assert isinstance(bare, KernelDemand)
    assert isinstance(told, KernelDemand)
    assert bare.choice.label is not None
    queries = bare.choice.label[0].item()
    more = (told.work.l2_read_bytes - bare.work.l2_read_bytes).item()
    assert more == pytest.approx(queries * 2048 * 2)
    fetched = (told.grid.ctas * (told.work.dram_read_bytes - bare.work.dram_read_bytes)).item()
    assert fetched == pytest.approx(2 * masked.mask_elements, rel=1e-6)
    row = replace(plain, mask_elements=2048)  # one row for all queries: no more than there is
    (narrow,) = demands_of(row, gpu, CONDITIONS)
    assert isinstance(narrow, KernelDemand)
    assert (narrow.work.l2_read_bytes - bare.work.l2_read_bytes).item() == pytest.approx(2 * 2048)
