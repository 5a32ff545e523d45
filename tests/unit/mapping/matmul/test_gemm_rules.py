"""Rules of a library by the sizes of a GEMM: two-stage kernels, tiles that are not large, and how YAML says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruled import ruled

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import ShapeRange
from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import Demand, KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.libraries.cublas import MODEST_TILE, takes_two_stages
from simexplore.sim.mapping.choice import choose_kernel
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.workloads.ops import Gemm

ADA, AMPERE = "nvidia/l40s", "nvidia/a100-sxm-80gb"
SIZES = st.integers(1, 20_000)


def without_rules(gpu: Gpu) -> Gpu:
    gemm = gpu.library.gemm
    two_stage = gemm.two_stage.model_copy(update={"sizes": ()})
    tensor = gemm.tensor.model_copy(update={"modest_tiles": ()})
    gemm = gemm.model_copy(update={"two_stage": two_stage, "tensor": tensor})
    return gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("k 1-128", ShapeRange(k=(1.0, 128.0))),
        ("m 8-16 n 2048- k 512-768", ShapeRange((8.0, 16.0), (2048.0, np.inf), (512.0, 768.0))),
        ("mnk 2097153-", ShapeRange(mnk=(2097153.0, np.inf))),
    ],
)
def test_ranges_are_read(text: str, meant: ShapeRange) -> None:
    assert ShapeRange.parse(text) == meant == ShapeRange.parse(meant)


@pytest.mark.parametrize("text", ["", "k", "k 128", "k 9-5", "k 1-2 k 3-4", "q 1-2", "k 1-2  m 1-2", "k 1-2 ", 7, None])
def test_what_is_no_range_is_told_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="expected sizes of m, n, k and mnk from least to most, such as 'm 8-16 n"):
        ShapeRange.parse(text)


def test_two_stage_kernels_are_taken_where_the_machine_says() -> None:
    m = np.array([1, 16, 17, 17, 8, 7, 8, 4096, 4096])
    n = np.array([64, 64, 64, 4096, 2048, 2048, 1024, 4096, 4096])
    k = np.array([128, 64, 64, 64, 512, 512, 512, 128, 192])
    expected = [True, True, False, True, True, False, False, True, False]
    assert takes_two_stages(Gemm(m, n, k, dtype="bf16"), ruled(AMPERE)).tolist() == expected
    assert not takes_two_stages(Gemm(m, n, k, dtype="bf16"), ruled(ADA)).any()
    assert not takes_two_stages(Gemm(m, n, k, dtype="fp64"), ruled(AMPERE)).any()


def test_each_step_of_k_takes_longer_in_two_stages() -> None:
    gpu, conditions = ruled(AMPERE), Conditions(cache=COLD)
    shallow = Gemm(1024, 1024, np.array([64, 128]), dtype="bf16")
    slow = np.diff(predict(shallow, gpu, conditions).time_s)
    assert slow > 1.3 * np.diff(predict(shallow, without_rules(gpu), conditions).time_s)
    few = Gemm(8, 256, 32, dtype="bf16")
    assert predict(few, gpu, conditions).time_s < predict(few, without_rules(gpu), conditions).time_s


@given(rows=st.lists(st.tuples(SIZES, SIZES, st.sampled_from([32, 128, 129, 512, 600, 4096])), min_size=2, max_size=6))
def test_a_column_of_many_kernels_is_its_rows(rows: list[tuple[int, int, int]]) -> None:
    rows.append((1, 4096, 64))  # three algorithms serve it
    gpu = ruled(AMPERE)
    m, n, k = np.array(rows).T
    together = predict(Gemm(m, n, k, dtype="bf16"), gpu)
    alone = [predict(Gemm(*row, dtype="bf16"), gpu) for row in rows]
    np.testing.assert_allclose(together.time_s, [one.time_s.item() for one in alone], rtol=1e-12)
    np.testing.assert_allclose(together.energy_j, [one.energy_j.item() for one in alone], rtol=1e-12)
    assert together.bound == [one.bound[0] for one in alone]


@pytest.mark.parametrize(("k", "modest"), [(128, True), (512, True), (768, False), (4096, False)])
def test_tiles_are_modest_where_the_machine_says(k: int, modest: bool) -> None:
    gpu, conditions = ruled(ADA), Conditions(cache=COLD)
    (kernel,) = gemm_demands(Gemm(8192, 8192, k, dtype="bf16"), gpu, conditions)
    assert isinstance(kernel, KernelDemand)
    high, wide = (x.item() for x in choose_kernel(kernel, gpu, conditions).choice.label[:2])
    assert (high * wide <= MODEST_TILE) == modest


def test_tcgen05_reads_columns_half_as_often_as_wgmma() -> None:
    gpu, conditions = load_arch("nvidia/b200@facts"), Conditions(cache=COLD)
    assert gpu.library.gemm.tensor.instruction == "tcgen05"
    tensor = gpu.library.gemm.tensor.model_copy(update={"instruction": "wgmma"})
    gemm = gpu.library.gemm.model_copy(update={"tensor": tensor})
    older = gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})
    large = Gemm(8192, 8192, 8192, dtype="bf16")
    now, before = (_large_tile(gemm_demands(large, machine, conditions)[0]) for machine in (gpu, older))
    assert now.work.tensor_ops == before.work.tensor_ops
    assert now.work.shared_bytes * (2 * 64 + 2 * 256) == before.work.shared_bytes * (128 + 256)
    assert predict(large, gpu, conditions).time_s < predict(large, older, conditions).time_s


def _large_tile(kernel: Demand) -> KernelDemand:
    """The unsplit 128 x 256 candidate."""
    assert isinstance(kernel, KernelDemand)
    high, wide, splits = np.broadcast_arrays(*kernel.choice.label)
    index = int(np.flatnonzero((high[0] == 128) & (wide[0] == 256) & (splits[0] == 1))[0])
    return kernel.take(np.array([index]))
