"""Convolution: counts by hand, what each algorithm asks for, and which one is picked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Patch
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import conditions_of, read_measurements
from simexplore.kernels.measurement import Measurements
from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.operators import kernels_of, learned_factor, predict
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import algorithms_of
from simexplore.sim.mapping.choice import choose_kernel
from simexplore.sim.mapping.conv.implicit import on_fma_pipes
from simexplore.sim.play.execute import execute
from simexplore.workloads.ops import Conv2d, Gemm, parse_operator

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "measured"
VGG = Conv2d(batch=32, cin=256, cout=256, ksize=3, hw=56, pad=1, dtype="fp32")


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch("nvidia/a100-pcie-80gb")


def picked(op: Conv2d, gpu: Gpu) -> list[str]:
    return [demand.kernel for demand in kernels_of(op, gpu, Conditions())]


def test_counts_by_hand() -> None:
    op = Conv2d(batch=2, cin=3, cout=5, ksize=3, hw=8, stride=2, pad=1, dtype="fp32")
    assert op.out == 4  # rows 0, 2, 4, 6
    assert op.flops == 2 * 2 * 16 * 5 * 3 * 9
    assert op.min_bytes == 4 * (2 * 3 * 64 + 5 * 3 * 9 + 2 * 5 * 16)
    assert op.output_bytes == 4 * 2 * 5 * 16


def test_a_filter_of_one_pixel_is_a_gemm(gpu: Gpu) -> None:
    conv, gemm = Conv2d(batch=4, cin=64, cout=96, ksize=1, hw=10), Gemm(m=400, n=96, k=64)
    assert (conv.flops, conv.min_bytes) == (gemm.flops, gemm.min_bytes)


def test_a_filter_larger_than_the_image_is_a_mistake() -> None:
    with pytest.raises(SimexploreError, match="ksize: expected at most hw \\+ 2 pad = 6, found 7"):
        parse_operator("conv2d(batch=1,cin=1,cout=1,ksize=7,hw=4,pad=1)")


def test_dram_brings_the_image_and_not_its_patches(gpu: Gpu) -> None:
    op = Conv2d(batch=8, cin=64, cout=64, ksize=3, hw=56, pad=1, dtype="fp32")  # 6.4 MB each: fits L2
    demand = on_fma_pipes(op.general, gpu, COLD)
    read = demand.grid.ctas * demand.work.dram_read_bytes
    np.testing.assert_allclose(read, op.image_bytes + op.filter_bytes, rtol=1e-3)
    patches = op.image_bytes * op.ksize**2
    assert np.all(demand.grid.ctas * demand.work.l2_read_bytes < patches + demand.grid.ctas * op.filter_bytes)


def test_k_is_filled_up_to_the_step_of_the_main_loop(gpu: Gpu) -> None:
    ops = [replace(VGG, cin=cin, ksize=1, pad=0) for cin in (1, 8, 9, 16)]
    work = [on_fma_pipes(op.general, gpu, COLD).work.fma_ops for op in ops]
    np.testing.assert_array_equal(work[0], work[1])
    np.testing.assert_array_equal(work[2], work[3])
    assert np.all(work[2] == 2 * work[1])


def test_fp32_filters_of_three_take_winograd_and_beat_the_peak(gpu: Gpu) -> None:
    assert picked(VGG, gpu) == ["transform_filters", "transform_image", "gemm", "transform_back"]
    rate = VGG.flops / predict(VGG, gpu).time_s.item()
    assert gpu.fma_peak_ops_per_s("fp32") < rate < 4 * gpu.fma_peak_ops_per_s("fp32")


@pytest.mark.parametrize("change", [{"stride": 2}, {"ksize": 1}, {"ksize": 5, "pad": 2}])
def test_winograd_serves_no_other_filters_and_no_stride(gpu: Gpu, change: dict[str, int]) -> None:
    served = [bool(way.serves.all()) for way in algorithms_of(replace(VGG, **change), gpu, Conditions())]
    assert served[:3] == [True, False, False]
    assert ("stride" in change) != served[3]


def test_tensor_cores_take_the_implicit_gemm_alone(gpu: Gpu) -> None:
    assert picked(replace(VGG, dtype="bf16"), gpu) == ["implicit_gemm"]


def test_separate_transforms_fill_the_batch_up_to_a_group(gpu: Gpu) -> None:
    def products(batch: int) -> KernelDemand:
        (_, _, winograd, *_) = algorithms_of(replace(VGG, batch=batch), gpu, Conditions())
        demand = winograd.kernels[2]
        assert isinstance(demand, KernelDemand)
        return demand

    np.testing.assert_array_equal(products(17).grid.ctas, products(32).grid.ctas)
    assert np.all(products(33).grid.ctas > products(32).grid.ctas)


def test_images_are_taken_in_groups_only_where_they_fill_them(gpu: Gpu) -> None:
    """5 x 5 outputs fill a patch of one image to a fifth, of four images to two fifths: half of the CTAs."""

    def fused(batch: int) -> KernelDemand:
        demand = algorithms_of(replace(VGG, batch=batch, hw=5), gpu, Conditions())[1].kernels[1]
        assert isinstance(demand, KernelDemand)
        return choose_kernel(demand, gpu, Conditions())

    channels = VGG.cout / gpu.conv_kernels.winograd.fused.channels
    np.testing.assert_array_equal(fused(64).grid.ctas, 64 / 4 * 2 * channels)
    np.testing.assert_array_equal(fused(63).grid.ctas, 63 * channels)


@pytest.mark.parametrize("text", ["8x16", "0x8x16", "1x8x16x2", "1xax2", 4, None])
def test_a_patch_has_three_sides(text: object) -> None:
    with pytest.raises(ValueError, match="images x rows x columns such as '4x8x4'"):
        Patch.parse(text)
    assert Patch.parse("4x8x4") == Patch(4, 8, 4)


def test_a_column_is_predicted_as_its_rows_are(gpu: Gpu) -> None:
    rows = [
        replace(VGG, ksize=k, stride=s, batch=b, cin=c) for k, s, b, c in ((3, 1, 32, 256), (5, 1, 2, 3), (3, 2, 1, 64))
    ]
    column = replace(
        VGG,
        ksize=np.array([op.ksize for op in rows]),
        stride=np.array([op.stride for op in rows]),
        batch=np.array([op.batch for op in rows]),
        cin=np.array([op.cin for op in rows]),
    )
    alone = [predict(op, gpu).time_s.item() for op in rows]
    np.testing.assert_allclose(predict(column, gpu).time_s, alone, rtol=1e-12)


def test_an_eager_call_waits_for_the_host(gpu: Gpu) -> None:
    """By hand: t_call without earlier shapes, twice that with as many as double it, five times with twice as many."""
    conv = gpu.conv_kernels

    def waited_s(earlier: float) -> float:
        state = replace(COLD, earlier_shapes=earlier)
        eager, replayed = (predict(VGG, gpu, Conditions(cache=state, eager=eager)) for eager in (True, False))
        return (eager.time_s - replayed.time_s).item()

    waits = [waited_s(times * conv.call_doubling) for times in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(waits, np.array([1.0, 2.0, 5.0]) * conv.call_s, rtol=1e-6)
    assert conditions_of("neusight/train", "conv2d").eager


def test_events_play_an_eager_call_as_the_closed_form_does(gpu: Gpu) -> None:
    graph = simexplore.load_workload("conv2d(batch=32,cin=256,cout=256,ksize=3,hw=28,pad=1,dtype=fp32)")
    eager = Conditions(cache=replace(COLD, earlier_shapes=3000.0), eager=True)
    played = execute(graph, gpu, conditions=eager).time_s
    assert played == pytest.approx(estimate_graph(graph, gpu, eager).time_s, rel=0.01)
    assert played > estimate_graph(graph, gpu, Conditions(cache=COLD)).time_s + gpu.conv_kernels.call_s


@settings(max_examples=100)
@given(
    st.sampled_from(["nvidia/a100-pcie-80gb", "nvidia/h200-sxm", "nvidia/v100-sxm", "nvidia/rtx-4090"]),
    st.sampled_from(["fp16", "fp32"]),
    st.builds(
        Conv2d,
        batch=st.integers(1, 64),
        cin=st.integers(1, 512),
        cout=st.integers(1, 512),
        ksize=st.sampled_from([1, 3, 5, 7]),
        hw=st.integers(7, 64),
        stride=st.integers(1, 2),
        pad=st.integers(0, 3),
    ),
)
def test_no_less_work_than_the_algorithm_has(name: str, dtype: str, op: Conv2d) -> None:
    """The implicit GEMM multiplies everything, F(4x4,3x3) a quarter; a Fourier transform of 32 a ksize**2 / 4 th."""
    machine, op = load_arch(name), replace(op, dtype=dtype)
    prediction = predict(op, machine)
    rate, fewer = machine.sm.fma_ops_per_clk["fp32"], max(4.0, op.ksize**2 / 4.0 * 1.2)
    if dtype in machine.sm.tensor_ops_per_clk:
        rate, fewer = machine.sm.tensor_ops_per_clk["fp16"], 1.0
    peak = machine.sm.count * rate * machine.clock.boost_hz
    # with padding, some of the counted products are with zeros: they are not left out by any of these kernels
    assert prediction.time_s.item() >= op.flops / (fewer * peak)
    assert prediction.time_s.item() >= (op.image_bytes + op.filter_bytes) / machine.dram.bandwidth_bytes_per_s * 0.999
    assert prediction.energy_j.item() > 0


@pytest.mark.parametrize(
    "text",
    [
        "conv2d(batch=32,cin=256,cout=256,ksize=3,hw=28,pad=1,dtype=fp32)",
        "conv2d(batch=8,cin=64,cout=128,ksize=5,hw=30,stride=2,pad=2,dtype=fp16)",
    ],
)
def test_events_and_closed_form_agree(gpu: Gpu, text: str) -> None:
    played = simexplore.simulate(text, gpu).time_s
    assert played == pytest.approx(simexplore.estimate(text, gpu).time_s, rel=0.01)


def test_products_that_a_transform_saves_are_no_bound(gpu: Gpu) -> None:
    """Winograd's kernels are faster than all products at the peak: 108 SMs, 64 multiply-adds a clock, 1.41 GHz."""
    products_s = VGG.flops / (108 * 128 * 1.41e9)
    read_s = (VGG.min_bytes - VGG.output_bytes) / gpu.dram.bandwidth_bytes_per_s
    assert least_seconds(VGG, gpu, COLD).item() == pytest.approx(read_s)
    assert read_s < predict(VGG, gpu, Conditions(cache=COLD)).time_s.item() < products_s
    assert learned_factor(np.array([-0.1]), np.array([0.9 * products_s]), VGG, gpu, Conditions(cache=COLD)) < 0.91
    for direct in (replace(VGG, stride=2), replace(VGG, ksize=1, pad=0), VGG.general):
        assert least_seconds(direct, gpu, COLD).item() == pytest.approx(direct.flops / (108 * 128 * 1.41e9))


TWIN = """source,device,op,dtype,batch,cin,cout,ksize,hw,stride,pad,time_us
neusight/twin,A100-PCIE-80GB,conv2d,fp32,32,256,256,3,56,1,1,3000
neusight/twin,A100-PCIE-80GB,conv2d,fp32,32,3,64,3,224,1,1,3000
"""


def test_rows_of_a_table_become_operators(tmp_path: Path, gpu: Gpu) -> None:
    path = tmp_path / "twin.csv"
    path.write_text(TWIN, encoding="utf-8")
    table = simexplore.compare(gpu, path).table
    cold = Conditions(launch="stream", eager=True)
    assert table["predicted_us"][0] == pytest.approx(predict(VGG, gpu, cold).time_s.item() * 1e6, rel=0.1)


def test_measured_convolutions_of_an_a100(gpu: Gpu) -> None:
    """Rows over 150 us, of which the host's calls (61 us and more) are a part."""
    file = SHARED / "neusight_A100-PCIE-80GB_conv2d.csv"
    if not file.is_file():
        pytest.skip(f"no {file.name} beside the checkout")
    table = read_measurements(file)
    long = Measurements(table.frame[table.frame["time_us"] > 150].reset_index(drop=True), table.conditions_of)
    result = simexplore.compare(gpu, long)
    assert result.total.rows > 4500
    assert not result.refused
    assert result.total.mape <= 0.08
