"""Which GEMM kernel the library takes: by what it can know, not by what the cache holds; and what results cost DRAM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ruled import ruled

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, WARM, CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping import demands_of
from simexplore.sim.mapping.choice import choose_kernel
from simexplore.workloads.ops import Gemm

ADA, HOPPER = "nvidia/l40s@facts", "nvidia/h200-sxm@facts"


def library(gpu: Gpu, **values: float) -> Gpu:
    """The machine with other values in `library.gemm`, named as in `split__min_products`."""
    gemm = gpu.library.gemm
    for name, value in values.items():
        section, _, leaf = name.rpartition("__")
        inner = getattr(gemm, section).model_copy(update={leaf: value}) if section else value
        gemm = gemm.model_copy(update={section or leaf: inner})
    return gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})


def chosen(op: Gemm, gpu: Gpu, cache: CacheState = COLD) -> KernelDemand:
    conditions = Conditions(cache=cache)
    (kernel,) = demands_of(op, gpu, conditions)
    assert isinstance(kernel, KernelDemand)
    return choose_kernel(kernel, gpu, conditions)


def splits(op: Gemm, gpu: Gpu, cache: CacheState = COLD) -> int:
    return int(chosen(op, gpu, cache).choice.label[2].item())


@pytest.mark.parametrize("name", [ADA, HOPPER, "nvidia/a100-sxm-80gb@facts"])
@pytest.mark.parametrize("shape", [(8, 1024, 4096), (8, 4096, 4096), (512, 2048, 2048), (64, 256, 8192)])
def test_the_choice_does_not_depend_on_what_is_in_the_cache(name: str, shape: tuple[int, int, int]) -> None:
    gpu, op = load_arch(name), Gemm(*shape, dtype="bf16")
    assert [x.item() for x in chosen(op, gpu, COLD).choice.label] == [
        x.item() for x in chosen(op, gpu, WARM).choice.label
    ]


def test_few_products_are_not_split_on_ada() -> None:
    gpu = ruled("nvidia/l40s")
    assert gpu.library.gemm.split.min_products == 2**21
    assert splits(Gemm(4, 128, 4096, dtype="bf16"), gpu) > 1  # 2^21 products
    assert splits(Gemm(4, 128, 4095, dtype="bf16"), gpu) == 1
    assert splits(Gemm(1, 32, gpu.library.gemm.split.always_depth, dtype="bf16"), gpu) > 1
    assert splits(Gemm(4, 128, 4095, dtype="bf16"), library(gpu, split__min_products=1)) > 1


def test_an_unsplit_kernel_of_few_rows_takes_time_for_each_element_of_k() -> None:
    gpu = load_arch("nvidia/l40s")
    few = Gemm(3, 32, np.array([2048, 4096, 8192]), dtype="bf16")
    times = predict(few, gpu.physics_only(), Conditions(cache=WARM)).time_s
    assert np.diff(times)[1] == pytest.approx(2 * np.diff(times)[0], rel=0.05)


def test_a_reluctant_library_splits_less() -> None:
    gpu, op = load_arch(HOPPER), Gemm(8, 512, 8192, dtype="bf16")
    assert splits(op, gpu) > splits(op, library(gpu, split__reluctance_cycles=1e6)) == 1


def test_a_library_that_reckons_with_bandwidth_alone_splits_less() -> None:
    gpu = library(ruled("nvidia/l40s"), pipeline__flight_share=0.3)  # as fitted: few CTAs would wait for DRAM
    op = Gemm(8, 2048, 5120, dtype="bf16")
    assert gpu.library.gemm.reckoned_latency_share == 0.0
    assert splits(op, library(gpu, reckoned_latency_share=1.0)) > splits(op, gpu)


def test_what_the_library_reckons_with_is_not_in_the_time() -> None:
    gpu, op = ruled("nvidia/l40s"), Gemm(4096, 4096, 4096, dtype="bf16")
    other = library(gpu, reckoned_latency_share=1.0)
    assert [x.item() for x in chosen(op, gpu).choice.label] == [x.item() for x in chosen(op, other).choice.label]
    assert predict(op, other).time_s == predict(op, gpu).time_s


def test_dram_traffic_that_overlaps_less_takes_longer_unless_there_is_none() -> None:
    gpu, op = ruled("nvidia/l40s"), Gemm(512, 4096, 4096, dtype="bf16")
    worse = library(gpu, tensor__dram_overlap_exponent=1.0)
    cold, warm = (
        [float(predict(op, one, Conditions(cache=cache)).time_s[0]) for one in (gpu, worse)] for cache in (COLD, WARM)
    )
    dram_s = (op.output_bytes + 2.0 * 4096 * 4096) / gpu.dram.bandwidth_bytes_per_s
    assert cold[1] - cold[0] > 0.3 * dram_s
    assert warm[1] - warm[0] < 0.1 * dram_s


def test_reluctance_is_not_in_the_time() -> None:
    gpu, op = load_arch(HOPPER), Gemm(4096, 4096, 4096, dtype="bf16")
    assert splits(op, gpu) == 1
    reluctant = library(gpu, split__reluctance_cycles=1e6)
    assert predict(op, reluctant).time_s == predict(op, gpu).time_s


def test_results_are_written_back_where_they_no_longer_fit() -> None:
    gpu = ruled("nvidia/l40s")
    op = Gemm(4096, 8192, 64, dtype="bf16")  # 64 MiB of results beside 1.5 MiB of operands; the L2 has 96
    written = [
        float((kernel.grid.ctas * kernel.work.dram_write_bytes).item())
        for share in (0.9, 0.3)
        for kernel in [chosen(op, library(gpu, memory__dirty_share=share), WARM)]
    ]
    assert written[0] < 0.1 * op.output_bytes
    assert written[1] > 0.9 * op.output_bytes


def test_dram_serves_a_cold_kernel_after_its_first_accesses() -> None:
    gpu, op = load_arch(HOPPER), Gemm(16, 4096, 4096, dtype="bf16")
    slower = library(gpu, memory__cold_round_trips=gpu.library.gemm.memory.cold_round_trips + 10)
    cold, warm = (
        [float(predict(op, one, Conditions(cache=cache)).time_s[0]) for one in (gpu, slower)] for cache in (COLD, WARM)
    )
    most_s = 10 * gpu.dram_latency_cycles / gpu.clock.boost_hz
    assert 0.5 * most_s < cold[1] - cold[0] <= 1.001 * most_s
    assert warm[1] - warm[0] < 0.2 * most_s


def test_a_pace_stretches_the_time_and_idles_meanwhile() -> None:
    gpu, op = load_arch(HOPPER), Gemm(256, 256, 256, dtype="bf16")
    usual, slow = (predict(op, gpu, replace(Conditions(), pace=pace)) for pace in (1.0, 1.25))
    assert slow.time_s == pytest.approx(1.25 * usual.time_s)
    assert slow.energy_j - usual.energy_j == pytest.approx(0.25 * usual.time_s * gpu.power.idle_w)
