"""Row-wise kernels: how often a row is read and from where, and what an eager call adds; measured on a V100."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import Measurements
from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping import demands_of
from simexplore.workloads.ops import parse_operator

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "measured"


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch("nvidia/v100-pcie-32gb")


def kernel(text: str, gpu: Gpu) -> KernelDemand:
    (demand,) = demands_of(parse_operator(text), gpu, Conditions(cache=COLD))
    assert isinstance(demand, KernelDemand)
    return demand


def dram_reads(text: str, gpu: Gpu) -> float:
    """Times that a row is read from DRAM."""
    demand, op = kernel(text, gpu), parse_operator(text)
    return (demand.ctas * demand.dram_read_bytes).item() / float(op.output_bytes)


@pytest.mark.parametrize(("name", "passes"), [("softmax", 3.0), ("layernorm", 2.0), ("rmsnorm", 2.0)])
def test_rows_that_no_cache_holds_are_read_in_every_pass(gpu: Gpu, name: str, passes: float) -> None:
    assert dram_reads(f"{name}(rows=65536,cols=32768,dtype=fp32)", gpu) == pytest.approx(passes, rel=0.01)


@pytest.mark.parametrize(("name", "vectors"), [("softmax", 0), ("layernorm", 2), ("rmsnorm", 1)])
def test_a_few_rows_are_read_again_from_l2(gpu: Gpu, name: str, vectors: int) -> None:
    text = f"{name}(rows=8,cols=8192,dtype=fp32)"
    assert dram_reads(text, gpu) == pytest.approx(1.0 + vectors / 8, rel=0.01)
    assert kernel(text, gpu).l2_read_bytes.item() >= 2 * 8192 * 4


def test_a_softmax_of_short_rows_reads_them_once(gpu: Gpu) -> None:
    once, again = (kernel(f"softmax(rows=100000,cols={cols},dtype=fp32)", gpu) for cols in (1024, 1025))
    np.testing.assert_allclose(once.l2_read_bytes, 4 * 1024)
    np.testing.assert_allclose(again.l2_read_bytes, 3 * 4 * 1025)
    np.testing.assert_array_equal((once.warps_per_cta, again.warps_per_cta), (np.ones((1, 1)), np.full((1, 1), 8.0)))


def test_more_rows_in_flight_miss_more(gpu: Gpu) -> None:
    reads = [dram_reads(f"layernorm(rows=65536,cols={cols},dtype=fp32)", gpu) for cols in (256, 1024, 4096)]
    assert 1.0 < reads[0] < 1.1 < reads[1] < reads[2] < 2.0


def test_a_machine_whose_l1_holds_rows_reads_dram_once() -> None:
    cpu = load_arch("cpu/lavapipe")
    demand = kernel("layernorm(rows=4096,cols=2048,dtype=fp32)", cpu)
    np.testing.assert_allclose(demand.dram_read_bytes, 2048 * 4, rtol=0.01)
    scale = cpu.sm.shared_bandwidth_bytes_per_clk / cpu.sm.l1_bandwidth_bytes_per_clk
    np.testing.assert_allclose(demand.shared_bytes, (2 + 2) * 2048 * 4 * scale)  # two more passes, two vectors


def test_an_eager_call_waits_for_the_host(gpu: Gpu) -> None:
    op = parse_operator("gelu(elements=1048576,dtype=fp32)")
    eager, launched = (
        predict(op, gpu, Conditions(launch="stream", eager=eager)).time_s.item() for eager in (True, False)
    )
    assert eager - launched == pytest.approx(gpu.launch.eager_s, rel=1e-6)


@pytest.mark.parametrize(
    ("file", "bounds"),
    [("elementwise", {"add": 0.05, "gelu": 0.03}), ("softmax_layernorm", {"layernorm": 0.08, "softmax": 0.11})],
)
def test_measured_kernels_of_a_v100(gpu: Gpu, file: str, bounds: dict[str, float]) -> None:
    path = SHARED / f"neusight_V100-PCIE-32GB_{file}.csv"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the checkout")
    table = read_measurements(path)
    long = table.frame[table.frame["time_us"] > 150].reset_index(drop=True)
    result = simexplore.compare(gpu, Measurements(long, table.conditions_of))
    for op, bound in bounds.items():
        assert result.by_op[op].rows > 200
        assert result.by_op[op].mape <= bound
