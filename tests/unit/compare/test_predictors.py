"""Predictors beside the simulator: the roofline by hand, and a forest that is never asked about its own rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import ASSUMED
from simexplore.kernels.records import OperatorColumn
from simexplore.sim.compare.predictors import PREDICTORS, held_out_rows, roofline
from simexplore.sim.conditions import Conditions
from simexplore.workloads.ops import Add, AllReduce, Gemm, Operator

HEAD = "source,device,op,dtype,m,n,k,elements,time_us\n"


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch("nvidia/h200-sxm")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two hundred GEMMs and a hundred additions whose time is what they multiply and move."""
    rng = np.random.default_rng(1)
    lines = []
    for _ in range(200):
        m, n, k = (int(side) for side in rng.choice([256, 512, 1024, 2048, 4096], 3))
        lines.append(f"mine,H200,gemm,bf16,{m},{n},{k},,{5 + m * n * k * 4e-9}")
    lines += [f"mine,H200,add,bf16,,,,{size},{3 + size * 2e-6}" for size in rng.integers(1_000, 9_000_000, 100)]
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def roofline_s(op: Operator, gpu: Gpu) -> tuple[float, str]:
    forecast = roofline(gpu)(OperatorColumn(np.arange(1), op, ASSUMED), Conditions(launch="stream"))
    assert np.isnan(forecast.low_s).all()
    assert np.isnan(forecast.high_s).all()
    return float(forecast.time_s[0]) - gpu.launch.stream_s, forecast.bound[0]


def test_roofline_by_hand(gpu: Gpu) -> None:
    cube = Gemm(m=8192, n=8192, k=8192)
    assert roofline_s(cube, gpu) == (pytest.approx(2 * 8192**3 / gpu.tensor_peak_ops_per_s("bf16")), "tensor")
    assert roofline_s(Gemm(8192, 8192, 8192, dtype="fp32"), gpu)[1] == "fma"
    add = Add(elements=10**8, dtype="bf16")
    assert roofline_s(add, gpu) == (pytest.approx(6e8 / gpu.dram.bandwidth_bytes_per_s), "dram")
    assert gpu.links.nvlink is not None
    reduce = AllReduce(elements=10**8, num_gpus=8)
    assert roofline_s(reduce, gpu) == (pytest.approx(3.5e8 / gpu.links.nvlink.bandwidth_bytes_per_s), "link")


def test_the_roofline_of_profiled_rows_at_base_clocks(gpu: Gpu) -> None:
    cube = OperatorColumn(np.arange(1), Gemm(4096, 4096, 4096, dtype="fp32"), ASSUMED)
    boost, base = (
        float(roofline(gpu)(cube, Conditions(launch="profiled", base_clocks=locked)).time_s[0])
        for locked in (False, True)
    )
    assert boost == pytest.approx(2 * 4096**3 / gpu.fma_peak_ops_per_s("fp32"))
    assert gpu.clock.base_hz is not None
    assert base / boost == pytest.approx(gpu.clock.boost_hz / gpu.clock.base_hz)


@pytest.mark.parametrize(("count", "held"), [(1, 1), (10, 2), (11, 3), (1000, 200)])
def test_a_fifth_is_held_out_by_seed(count: int, held: int) -> None:
    first = held_out_rows(count, 0)
    assert first.sum() == held
    np.testing.assert_array_equal(first, held_out_rows(count, 0))
    if count > 100:
        assert (held_out_rows(count, 1) != first).any()


def test_every_predictor_is_held_against_the_same_rows(gpu: Gpu, rows: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra [forest] is not installed")
    tables = read_measurements(rows)
    results = {name: simexplore.compare(gpu, tables, predictor=name, held_out_seed=3) for name in PREDICTORS}
    held_out = np.flatnonzero(held_out_rows(300, 3))
    expected = tables.frame["time_us"].to_numpy()[held_out]
    for name, result in results.items():
        assert result.predictor == name
        np.testing.assert_array_equal(result.table["time_us"], expected)
    assert results["roofline"].total.interval_coverage is None
    assert results["physics"].total.interval_coverage is not None


def test_the_forest_learns_and_knows_nothing_of_the_rows_it_is_asked_about(gpu: Gpu, rows: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra [forest] is not installed")
    tables = read_measurements(rows)
    result = simexplore.compare(gpu, tables, predictor="random-forest")
    assert result.total.rows == 60
    assert result.by_op["gemm"].median_ape < 0.2
    changed = tables.frame.copy()
    changed.loc[held_out_rows(300, 0), "time_us"] *= 100.0
    again = simexplore.compare(gpu, type(tables)(changed, tables.conditions_of), predictor="random-forest")
    np.testing.assert_array_equal(again.table["predicted_us"], result.table["predicted_us"])


def test_mistakes(gpu: Gpu, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(SimexploreError, match=r"predictor: expected full, .*did you mean 'roofline'"):
        simexplore.compare(gpu, rows, predictor="rooflin")
    pytest.importorskip("sklearn", reason="the extra [forest] is not installed")
    one = tmp_path / "one.csv"
    one.write_text(HEAD + "mine,H200,gemm,bf16,8,8,8,,5\n", encoding="utf-8")
    with pytest.raises(SimexploreError, match="expected rows of gemm to be fitted on, found none"):
        simexplore.compare(gpu, one, predictor="random-forest")
