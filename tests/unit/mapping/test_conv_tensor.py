"""Convolutions on tensor cores: the library's GEMM with an image's traffic; groups, depthwise, and sums in FP16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import kernels_of, predict
from simexplore.sim.hardware.accumulate import accumulate_rate
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import algorithms_of
from simexplore.sim.mapping.conv.implicit import on_tensor_cores, patch_voxels
from simexplore.workloads.ops import Conv, Conv2d, Gemm, parse_operator

UNET = Conv2d(batch=8, cin=320, cout=320, ksize=3, hw=64, pad=1, dtype="fp16")


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch("nvidia/rtx-4090")


def seconds(op: Conv2d | Conv | Gemm, gpu: Gpu) -> float:
    return predict(op, gpu).time_s.item()


def picked(op: Conv2d | Conv, gpu: Gpu) -> list[str]:
    return [demand.kernel for demand in kernels_of(op, gpu, Conditions())]


def test_counts_of_a_general_convolution_by_hand() -> None:
    op = Conv(2, 8, 12, width=9, height=7, depth=5, cols=3, rows=1, layers=2, pad_cols=1, stride=2, groups=4)
    assert op.out == (2, 4, 5)
    assert op.flops == 2 * 2 * 40 * 12 * 2 * 6
    assert op.min_bytes == 2 * (2 * 8 * 5 * 7 * 9 + 12 * 2 * 6 + 2 * 12 * 40)
    assert op.output_bytes == 2 * 2 * 12 * 40


def test_a_square_convolution_is_the_same_in_general() -> None:
    general = replace(UNET, stride=2, accumulate="fp16").general
    assert (general.flops, general.min_bytes) == (replace(UNET, stride=2).flops, replace(UNET, stride=2).min_bytes)
    assert (general.stride, general.accumulate, general.dtype) == (2, "fp16", "fp16")


def test_the_same_image_takes_the_same_time_however_it_is_written(gpu: Gpu) -> None:
    assert seconds(UNET, gpu) == seconds(UNET.general, gpu)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv(batch=1,cin=6,cout=8,width=9,groups=4)", "groups: expected a divisor of cin = 6"),
        ("conv(batch=1,cin=8,cout=6,width=9,groups=4)", "groups: expected a divisor of cout = 6"),
        (
            "conv(batch=1,cin=8,cout=8,width=9,height=2,rows=5,pad_rows=1)",
            "rows: expected at most the padded",
        ),
        ("conv2d(batch=1,cin=8,cout=8,ksize=1,hw=4,dtype=bf16,accumulate=fp16)", "fp32 or none, since dtype is bf16"),
        ("gemm(m=1,n=1,k=1,dtype=fp16,accumulate=bf16)", "accumulate: expected fp16, fp32 or none, found 'bf16'"),
    ],
)
def test_a_mistake_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        parse_operator(text)


def test_gemms_efficiency_counts(gpu: Gpu) -> None:
    """Convolutions once ran at 161 TFLOPS where no GEMM comes over 142."""
    efficiency = gpu.library.gemm.tensor.efficiency
    demand = on_tensor_cores(UNET.general, gpu, Conditions())
    assert demand.overlap.tensor_efficiency == efficiency < 1
    peak = gpu.tensor_peak_ops_per_s("fp16") * gpu.clock.top_hz / gpu.clock.boost_hz
    assert UNET.flops / seconds(UNET, gpu) < efficiency * peak


def test_each_tap_walks_through_the_channels_in_whole_steps(gpu: Gpu) -> None:
    step = int(gpu.library.gemm.pipeline.k_tile_bytes / 2)
    operations = []
    for cin in (8, step, step + 8):
        demand = on_tensor_cores(replace(UNET, cin=cin).general, gpu, Conditions())
        one = demand.choice.label is not None and np.flatnonzero(demand.choice.label[2][0] == 1)
        operations.append(demand.work.tensor_ops[:, one])
        useful = demand.grid.ctas * (demand.work.tensor_ops - demand.work.padding_ops)
        np.testing.assert_allclose(useful, replace(UNET, cin=cin).flops)
    np.testing.assert_array_equal(operations[0], operations[1])
    np.testing.assert_array_equal(operations[2], 2 * operations[1])


def test_a_patch_embedding_is_slow_for_its_few_channels(gpu: Gpu) -> None:
    embedding = Conv2d(batch=64, cin=3, cout=768, ksize=16, hw=224, stride=16, dtype="fp16")
    dense = Gemm(m=64 * 14 * 14, n=768, k=3 * 256, dtype="fp16")
    assert 8 < seconds(embedding, gpu) / seconds(dense, gpu) < 16


@pytest.mark.parametrize(("cin", "kernels"), [(320, 1), (8, 1), (3, 2), (12, 2)])
def test_channels_that_fill_no_vectors_are_filled_up_by_a_kernel(cin: int, kernels: int, gpu: Gpu) -> None:
    op = replace(UNET, cin=cin)
    assert picked(op, gpu) == ["pad_channels", "implicit_gemm"][-kernels:]
    (way,) = algorithms_of(op, gpu, Conditions())
    filled = -(-cin // 8) * 8
    *before, kernel = way.kernels
    assert isinstance(kernel, KernelDemand)
    for pad in before:
        assert isinstance(pad, KernelDemand)
        assert (pad.grid.ctas * pad.work.l2_write_bytes).item() == pytest.approx(op.image_bytes * filled / cin)
        assert (pad.grid.ctas * pad.work.l2_read_bytes).item() == pytest.approx(op.image_bytes)
    useful = kernel.grid.ctas * (kernel.work.tensor_ops - kernel.work.padding_ops)
    np.testing.assert_allclose(useful, op.flops)


def test_dram_brings_the_image_once_and_l2_its_patches(gpu: Gpu) -> None:
    demand = on_tensor_cores(UNET.general, gpu, Conditions(cache=COLD))
    assert demand.choice.label is not None
    read = demand.grid.ctas * demand.work.dram_read_bytes
    np.testing.assert_allclose(read, UNET.image_bytes + UNET.filter_bytes, rtol=1e-3)
    as_gemm = Gemm(m=8 * 64 * 64, n=320, k=320 * 9, dtype="fp16")
    (way, *_) = algorithms_of(as_gemm, gpu, Conditions(cache=COLD))
    (plain,) = way.kernels
    assert isinstance(plain, KernelDemand)
    np.testing.assert_array_equal(plain.grid.ctas, demand.grid.ctas)
    gathered, copied = (each.grid.ctas * each.work.l2_read_bytes for each in (demand, plain))
    assert np.all(gathered < copied)


def test_few_pixels_are_split_along_k(gpu: Gpu) -> None:
    small = replace(UNET, batch=1, cin=1280, cout=1280, hw=8)
    (kernel,) = kernels_of(small, gpu, Conditions())
    assert isinstance(kernel, KernelDemand)
    assert kernel.choice.label is not None
    assert kernel.choice.label[2].item() > 1


def test_voxels_under_neighbouring_results_by_hand() -> None:
    op = Conv(1, 8, 8, width=12, height=12, depth=12, cols=3, rows=3, layers=3)  # 10 results along each axis
    outputs = np.array([[1.0, 10.0, 100.0, 200.0, 1000.0]])
    np.testing.assert_array_equal(patch_voxels(op, outputs), [[27, 108, 432, 576, 1728]])
    image = Conv(4, 8, 8, width=12, height=7, cols=3, rows=3)  # 10 x 5 results
    np.testing.assert_array_equal(patch_voxels(image, np.array([[1.0, 10.0, 50.0]])), [[9, 36, 84]])


def test_groups_are_products_of_their_own(gpu: Gpu) -> None:
    whole, parts = replace(UNET.general, cin=256, cout=256), replace(UNET.general, cin=256, cout=256, groups=4)
    assert parts.flops == whole.flops / 4
    demand = on_tensor_cores(parts, gpu, Conditions())
    alone = on_tensor_cores(replace(whole, cin=64, cout=64), gpu, Conditions())
    np.testing.assert_array_equal(demand.grid.ctas, 4 * alone.grid.ctas)
    assert seconds(whole, gpu) / 4 < seconds(parts, gpu) < seconds(whole, gpu)


def test_depthwise_streams_on_the_fma_pipes(gpu: Gpu) -> None:
    op = Conv(1, 96, 96, width=64, height=64, cols=7, rows=7, pad_cols=3, pad_rows=3, groups=96, dtype="fp16")
    (kernel,) = kernels_of(op, gpu, Conditions(cache=COLD))
    assert isinstance(kernel, KernelDemand)
    assert kernel.kernel == "depthwise"
    ctas = kernel.grid.ctas
    assert (ctas * kernel.work.fma_ops).item() == pytest.approx(op.flops)
    assert (ctas * kernel.work.dram_read_bytes).item() == pytest.approx(op.image_bytes + op.filter_bytes)
    assert (ctas * kernel.work.l2_read_bytes).item() > 1.5 * op.image_bytes
    assert (ctas * kernel.work.shared_bytes).item() == pytest.approx(49 * op.output_bytes)


def test_a_column_of_all_kinds_is_predicted_as_its_rows_are(gpu: Gpu) -> None:
    base = Conv(1, 64, 64, width=20, height=30, cols=3, rows=3, pad_cols=1, pad_rows=1, dtype="fp16")
    rows = [base, replace(base, groups=64), replace(base, groups=4), replace(base, cin=3), replace(base, depth=4)]
    names = ("cin", "groups", "depth")
    column = replace(base, **{name: np.array([getattr(row, name) for row in rows]) for name in names})  # type: ignore[arg-type]
    np.testing.assert_allclose(predict(column, gpu).time_s, [seconds(row, gpu) for row in rows], rtol=1e-12)


def test_sums_in_fp16_run_at_twice_the_rate_on_geforce_and_at_the_same_elsewhere(gpu: Gpu) -> None:
    l40s = load_arch("nvidia/l40s")
    for op in (UNET, Gemm(8192, 8192, 8192, dtype="fp16")):
        narrow = replace(op, accumulate="fp16")
        assert (accumulate_rate(narrow, gpu), accumulate_rate(op, gpu), accumulate_rate(narrow, l40s)) == (2, 1, 1)
        assert 1.3 < seconds(op, gpu) / seconds(narrow, gpu) <= 2
        assert seconds(op, l40s) == seconds(narrow, l40s)
        assert seconds(op, gpu) == seconds(replace(op, accumulate="fp32"), gpu)
        least = [least_seconds(each, gpu, SERVING).item() for each in (op, narrow)]
        assert least[0] == 2 * least[1]
        assert least[1] < seconds(narrow, gpu)


def test_a_correction_does_not_ask_for_the_rate_of_sums_in_fp16(gpu: Gpu) -> None:
    tensor = gpu.library.gemm.tensor.model_copy(update={"fp16_accumulate_rate": 1.0})
    gemm = gpu.library.gemm.model_copy(update={"tensor": tensor})
    plain = gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})
    assert plain.digest() == gpu.digest()
