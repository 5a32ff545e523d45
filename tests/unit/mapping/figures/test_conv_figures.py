"""Demands of convolutions, against figures worked out by hand on the round machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, CacheState, Conditions
from simexplore.sim.demand import Algorithm, KernelDemand
from simexplore.sim.mapping.conv.algorithms import conv_algorithms
from simexplore.sim.mapping.conv.implicit import on_fma_pipes, on_tensor_cores
from simexplore.workloads.ops import Conv2d

COPIES = CacheState(weight_copies=2.0, activation_copies=3.0)
OP = Conv2d(batch=20, cin=4, cout=100, ksize=3, hw=16, pad=1, dtype="fp32")
"""m = 20 x 256 = 5120 pixels, n = 100, k = 4 x 9 = 36."""
IMAGE, FILTERS, RESULT = 81_920, 14_400, 2_048_000


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    """One tile, so one candidate, on the FMA pipes and on the tensor cores."""
    return round_gpu(
        {
            "library.conv.implicit.simt_tiles": "[128x64]",
            "library.gemm.tensor.tiles": "[64x64]",
            "library.gemm.split.counts": "[1]",
        }
    )


def missing(*megabytes: float) -> float:
    """Share that L2 does not hold when so many MB were touched."""
    return sum(megabytes) / (1.0 + sum(megabytes))


COLD_IMAGE = missing(3 * 0.08192, 0.0144, 2.048)
COLD_FILTERS = missing(2 * 0.0144, 0.08192, 2.048)
SPILLED = missing(0.08192, 0.0144, 2.048)
AGAIN = missing(0.08192, 0.0144)


def test_implicit_gemm_on_the_fma_pipes(gpu: Gpu) -> None:
    """40 x 2 CTAs of 128 x 64; four and a half steps of 8 along k are five.

    128 pixels are eight rows of 16: with the overhang ten of 18. Filters would be passed over seven times more, by
    five rows of CTAs at a time; the image only once more, for its second column.
    """
    assert_demand(
        on_fma_pipes(OP.general, gpu, COPIES),
        {
            "kernel": "implicit_gemm",
            "grid.ctas": 80,
            "grid.warps_per_cta": 4,
            "grid.registers_per_thread": 64 + 4 * 8 + 32,
            "grid.shared_bytes_per_cta": 2 * 6144,
            "work.tensor_dtype": "fp32",
            "work.fma_ops": 2 * 128 * 64 * 5 * 8 / 0.75,
            "work.shared_bytes": (4 * 32 * 2 * 8 + 192) * 4 * 40,
            "work.l2_read_bytes": 10 * 18 * 4 * 4 + 50 * 36 * 4,
            "work.l2_write_bytes": RESULT / 80,
            "work.dram_read_bytes": (IMAGE * COLD_IMAGE + FILTERS * COLD_FILTERS + IMAGE * AGAIN) / 80,
            "work.dram_write_bytes": RESULT * SPILLED / 80,
            "work.epilogue_bytes": RESULT / 80,
            "latency.bytes_in_flight": 6144,
            "latency.chain_cycles": 36 / 16 * (2 * 50 + 16 * 5),
            "latency.exposed_cycles": 200 + 30,
            "latency.setup_cycles": 9 * 200,
            "overlap.within_sm": 2,
            "overlap.wave_exposure": 0.25,
            "choice.label": (128, 64),
        },
    )


def test_implicit_gemm_on_tensor_cores(gpu: Gpu) -> None:
    """80 x 2 CTAs of 64 x 64; nine taps of 8 channels, a step of 64 B along k each, and four stages.

    100 filters are filled up to 104. 64 pixels are four rows of 16: with the overhang six of 18.
    """
    demand = on_tensor_cores(replace(OP, cin=8, dtype="fp16").general, gpu, Conditions(cache=COPIES))
    assert demand.kernel == "implicit_gemm"
    assert demand.grid.ctas.item() == 160
    assert demand.grid.shared_bytes_per_cta.item() == 4 * 128 * 64
    work = demand.work
    assert (work.tensor_dtype, work.fma_dtype, work.fma_ops.item()) == ("fp16", "fp32", 0)
    assert work.tensor_ops.item() == 2 * 64 * 64 * 9 * 32
    assert work.padding_ops.item() == pytest.approx(2 * 64 * 64 * 9 * 32 - 2 * 5120 * 100 * 72 / 160)
    assert work.shared_bytes.item() == (4 * 64 + 128) * 9 * 64
    # A GEMM draws 64 rows and, shared in a cluster of two, half of 52 columns; here of 288 elements of k only these:
    share = (6 * 18 * 8 + 52 * 72) / ((64 + 52) * 288)
    assert work.l2_read_bytes.item() == pytest.approx(2 * (64 + 52 / 2) * 288 * share)
    assert work.epilogue_bytes.item() == work.l2_write_bytes.item() == 5120 * 104 * 2 / 160
    assert demand.overlap.within_sm is None
    assert demand.overlap.tensor_efficiency == gpu.library.gemm.tensor.efficiency


def test_filters_are_read_again_for_each_wave_of_pixels(gpu: Gpu) -> None:
    """Of one column of CTAs ten run at once: 40 rows pass over the filters three times more, over the image never."""
    one = replace(OP, cout=64)
    filters, result = FILTERS * 0.64, RESULT * 0.64
    read = IMAGE * missing(0.08192, 0.009216, 1.31072) + filters * missing(0.08192, 0.009216, 1.31072)
    assert result == 1_310_720
    assert on_fma_pipes(one.general, gpu, WARM).work.dram_read_bytes.item() * 40 == pytest.approx(read)
    # With four columns, two and a half rows at once: fifteen times more over filters, three over a larger image.
    deep = replace(OP, cout=256, ksize=1, pad=0, cin=64)  # image 1.31072 MB, filters 0.065536 MB, result 5.24288 MB
    cold = missing(1.31072, 0.065536, 5.24288)
    read = 1_376_256 * cold + 15 * 65_536 * missing(1.376256)
    assert on_fma_pipes(deep.general, gpu, WARM).work.dram_read_bytes.item() * 160 == pytest.approx(read)


@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        ({"ksize": 1, "pad": 0, "stride": 2}, 128),  # 32 rows of 16 lie around them, of which each needs one pixel
        ({"hw": 4, "pad": 0, "batch": 32 * 64}, 66 * 4),  # 64 rows of two, with the overhang
        ({"hw": 2, "pad": 2, "batch": 8 * 64}, 8 * 4),  # eight whole images and their padding
        ({"hw": 200, "batch": 16}, 3 * 130),  # a part of a row
        ({"stride": 2, "hw": 32, "batch": 20}, 17 * 33),  # eight rows of 16, two apart, and an overhang of one
        ({"hw": 10, "batch": 32, "pad": 1}, (12.8 + 2) * 12),  # 1.28 images of ten rows
        ({"hw": 8, "ksize": 5, "pad": 4, "batch": 8}, 64),  # all 128 results lie in one image of 8 x 8
    ],
)
def test_pixels_under_128_results(gpu: Gpu, changes: dict[str, Any], pixels: float) -> None:
    op = replace(OP, cout=64, **changes)
    m = op.batch * op.out**2
    assert m % 128 == 0
    fetched = on_fma_pipes(op.general, gpu, WARM).work.l2_read_bytes.item() - 64 * op.ksize**2 * 4 * 4
    assert fetched == pytest.approx(pixels * 4 * 4)


# --- transforms -------------------------------------------------------------------------------------------------------

SMALL = Conv2d(batch=8, cin=20, cout=40, ksize=3, hw=24, pad=1, dtype="fp32")
"""0.36864 MB of images, 0.0288 MB of filters, 0.73728 MB of results."""
STREAM = {
    "grid.warps_per_cta": 8,
    "grid.registers_per_thread": 32,
    "grid.shared_bytes_per_cta": 0,
    "latency.exposed_cycles": 200,
    "latency.setup_cycles": 100,
    "overlap.l2_rate": 1.25,
}


def ways(op: Conv2d, **changes: object) -> tuple[Algorithm, ...]:
    gpu = round_gpu({key.replace("__", "."): value for key, value in changes.items()})
    return conv_algorithms(op, gpu, Conditions(cache=COPIES))


def kernels(way: Algorithm) -> list[KernelDemand]:
    assert all(isinstance(kernel, KernelDemand) for kernel in way.kernels)
    return list(way.kernels)  # type: ignore[arg-type]


def assert_transform(demand: KernelDemand, what: str, moved: tuple[float, float], use: float, copies: float) -> None:
    """It moves `moved` bytes, of each of which a share `use` is of use."""
    read, write = moved
    ctas = np.ceil(max(read, write) / use / 8192)
    cold, spilled = missing(copies * read / 1e6, write / 1e6), missing(read / 1e6, write / 1e6)
    assert_demand(
        demand,
        {
            **STREAM,
            "kernel": f"transform_{what}",
            "grid.ctas": ctas,
            "work.l2_read_bytes": read / use / ctas,
            "work.l2_write_bytes": write / use / ctas,
            "work.dram_read_bytes": read / use / ctas * cold,
            "work.dram_write_bytes": write / use / ctas * spilled,
            "latency.bytes_in_flight": min(read / use / ctas, 8192),
        },
    )


def test_which_algorithms_there_are() -> None:
    """On the FMA pipes Winograd's, in one kernel and in four, and transforms of 16 and 32 pixels."""
    found = ways(SMALL)
    assert [[kernel.kernel for kernel in kernels(way)][-1] for way in found] == [
        "implicit_gemm",
        "winograd",
        *["transform_back"] * 3,
    ]
    assert [way.serves.tolist() for way in found] == [[True]] * 5
    assert [way.serves.tolist() for way in ways(replace(SMALL, stride=2))] == [[True]] + [[False]] * 4
    assert len(ways(replace(SMALL, dtype="fp16"))) == 1


def test_winograd_in_one_kernel() -> None:
    """Patches of 1 x 8 x 16 (8 x 3 x 2 of them) or 4 x 8 x 4 (2 x 3 x 6) outputs, two times 32 channels each.

    16 points for each 2 x 2 outputs: 512 a channel; 20 input channels in three steps of eight.
    """
    transform, kernel = kernels(ways(SMALL)[1])
    assert_transform(transform, "filters", (28_800, 51_200), 0.9, copies=2)
    ctas = np.array([96.0, 72.0])
    touched = 0.36864 + 0.0512 + 0.73728
    cold, spilled = missing(3 * 0.36864, 0.0512, 0.73728), missing(touched)
    stage = (512 + 16 * 32) * 8 * 4
    assert_demand(
        kernel,
        {
            "kernel": "winograd",
            "grid.ctas": ctas,
            "grid.warps_per_cta": 8,
            "grid.registers_per_thread": 255,
            "grid.shared_bytes_per_cta": 2 * stage,
            "work.fma_ops": 2 * 512 * 32 * 24 / 0.64,
            "work.shared_bytes": (512 + 512) * 2 * 24 * 4,
            "work.l2_read_bytes": np.array([10 * 18 + 512, 4 * 10 * 6 + 512]) * 24 * 4.0,
            "work.l2_write_bytes": 737_280 / ctas,
            "work.dram_read_bytes": (368_640 * cold + 51_200 * spilled) / ctas,
            "work.dram_write_bytes": 737_280 * spilled / ctas,
            "work.epilogue_bytes": 737_280 / ctas,
            "latency.bytes_in_flight": stage,
            "latency.chain_cycles": 3 * (30 + 20),
            "latency.exposed_cycles": 5 * 200,
            "latency.setup_cycles": 9 * 200,
            "choice.offered": [True, True],
        },
    )


def test_winograds_kernel_takes_no_part_of_a_group_of_images() -> None:
    """And no more shared memory than a CTA may have."""
    kernel = kernels(ways(replace(SMALL, batch=6), library__conv__winograd__fused__channels=128)[1])[1]
    assert kernel.choice.offered.tolist() == [[True, False]]
    assert set(kernel.grid.shared_bytes_per_cta.ravel()) == {96_000}


def test_winograd_with_transforms_of_their_own() -> None:
    """Eight images are filled up to sixteen: 576 patches of 4 x 4 outputs, 36 points of 4 B each."""
    filters, image, products, back = kernels(ways(SMALL)[2])
    assert_transform(filters, "filters", (28_800, 144 * 800), 0.9, copies=2)
    assert_transform(image, "image", (368_640, 144 * 576 * 20), 0.9, copies=3)
    assert_transform(back, "back", (144 * 576 * 40, 737_280), 0.9, copies=1)
    assert products.grid.ctas.item() == 36 * 5  # tiles of 128 x 64
    assert products.work.fma_ops.item() == pytest.approx(2 * 128 * 64 * 2 * 16 / 0.8)
    assert products.work.l2_write_bytes.item() == pytest.approx(576 / 5 * 40 * 4)
    assert [x.item() for x in products.choice.label] == [128, 64, 1]
    # Operands were just written: 36 x (576 x 20 + 20 x 40 + 576 x 40) x 4 B of 0.8 of the L2, not of several copies.
    assert products.work.dram_read_bytes.item() < products.work.l2_read_bytes.item()


@pytest.mark.parametrize(
    ("number", "points", "patches", "ctas"), [(3, 16, 32, [288, 144]), (4, 32, 8, [17 * 32 * 2, 17 * 32])]
)
def test_fourier_transforms(number: int, points: int, patches: int, ctas: list[float]) -> None:
    """16 x 9 or 32 x 17 complex points; of 16 pixels 14 are results, so four patches an image, and of 32 one."""
    filters, image, products, back = kernels(ways(SMALL)[number])
    size = points * (points // 2 + 1) * 2 * 4
    assert_transform(filters, "filters", (28_800, size * 800), 0.4, copies=2)
    assert_transform(image, "image", (368_640, size * patches * 20), 0.4, copies=3)
    assert_transform(back, "back", (size * patches * 40, 737_280), 0.4, copies=1)
    assert products.grid.ctas.ravel().tolist() == ctas  # 80 columns in tiles of 32 x 64 and 64 x 128
    per_tile = np.array([32 * 64, 64 * 128])
    np.testing.assert_allclose(products.work.fma_ops.ravel(), 2 * per_tile * 3 * 16 / 0.95)  # k = 40: three steps


def test_filters_as_wide_as_a_tile_leave_one_result_and_wider_ones_none() -> None:
    """Of 16 pixels; the algorithm that cannot serve them has some grid all the same."""
    op = Conv2d(batch=1, cin=1, cout=1, ksize=15, hw=24, dtype="fp32")  # 10 x 10 results
    images = [kernels(ways(replace(op, ksize=ksize))[3])[1] for ksize in (15, 16, 17)]
    moved = [(demand.work.l2_write_bytes * demand.grid.ctas).item() for demand in images]
    assert moved == pytest.approx([1152 * count / 0.4 for count in (5**2, 9**2, 8**2)])


def test_rows_of_several_convolutions_are_alike_in_all_kernels() -> None:
    """Every kernel has both rows, and the second is what it is alone."""
    two = replace(SMALL, batch=np.array([8, 20]))
    for number, way in enumerate(ways(two)):
        for kernel, alone in zip(kernels(way), kernels(ways(replace(SMALL, batch=20))[number]), strict=True):
            assert kernel.shape[0] == 2
            np.testing.assert_allclose(kernel.work.l2_read_bytes[-1], alone.work.l2_read_bytes[-1])
