"""Operands' activity: what it takes of each energy, and what a GPU at its limit makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import NORMAL_ACTIVITY, Conditions
from simexplore.sim.demand import Grid, KernelDemand, Work
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.operators import at_boost, kernels_of, predict
from simexplore.sim.hardware.power import kernel_energies
from simexplore.sim.play.execute import execute
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Gemm, parse_operator

CUBE = Gemm(m=8192, n=8192, k=8192, dtype="fp16")
SETTLED = float("inf")
NUMPY = {"fp64": np.float64, "fp32": np.float32, "fp16": np.float16}


def a(*numbers: float) -> Any:
    return np.array(numbers)


def switching(values: Any) -> float:
    """Bits that differ between neighbours, over half of all."""
    words = values.view(f"u{values.itemsize}")
    differ = np.unpackbits((words[1:] ^ words[:-1]).view(np.uint8)).sum()
    return float(differ / len(words[1:]) / (4 * values.itemsize))


@pytest.mark.parametrize("dtype", ["fp64", "fp32", "fp16", "bf16"])
def test_values_of_a_normal_distribution_switch_less_than_random_bits(dtype: str) -> None:
    drawn = np.random.default_rng(0).standard_normal(400_001)
    if dtype == "bf16":  # the upper half of fp32, rounded
        values: Any = ((drawn.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
    else:
        values = drawn.astype(NUMPY[dtype])
    assert NORMAL_ACTIVITY[dtype] == pytest.approx(switching(values), abs=2e-3)


def test_the_share_that_follows_operands_is_taken_from_every_energy() -> None:
    """Of a share of 0.4 at an activity of 0.5 a fifth is saved; what SMs load passes L1, here 30 B a CTA."""
    gpu = round_gpu({"energy.operand_share": 0.4})
    grid = Grid(a(7.0), a(1.0), a(1.0), a(0.0))
    work = Work(
        tensor_ops=a(100.0), fma_ops=a(100.0), special_ops=a(100.0), shared_bytes=a(10.0), l2_read_bytes=a(30.0),
        dram_write_bytes=a(100.0),
    )  # fmt: skip
    random, half = (
        {name: joules.item() * 1e12 for name, joules in kernel_energies(KernelDemand("mine", grid, each), gpu).items()}
        for each in (work, replace(work, activity=0.5))
    )
    expected = {"tensor": 700, "fma": 2800, "special": 5600, "shared": 2100, "l2": 8400, "dram": 70_000}
    assert random == pytest.approx(expected)
    assert half == pytest.approx({name: 0.8 * joules for name, joules in expected.items()})


def test_zeros_that_fill_a_tile_up_take_what_does_not_follow_operands() -> None:
    gpu = round_gpu({"energy.operand_share": 0.4})
    work = Work(tensor_ops=a(100.0), padding_ops=a(75.0), activity=0.5)
    demand = KernelDemand("mine", Grid(a(1.0), a(1.0), a(1.0), a(0.0)), work)
    assert kernel_energies(demand, gpu)["tensor"].item() == pytest.approx((25 * 0.8 + 75 * 0.6) * 1e-12)


def test_a_gemm_of_few_rows_is_mostly_padding() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    few, many = (kernels_of(Gemm(m=m, n=4096, k=4096), gpu, Conditions())[-1] for m in (1, 4096))
    ops = (few.grid.ctas * few.work.tensor_ops).item()
    assert ops - (few.grid.ctas * few.work.padding_ops).item() == pytest.approx(2 * 4096**2)
    assert ops >= 8 * 2 * 4096**2
    assert many.work.padding_ops.item() == pytest.approx(0.0, abs=1e-6 * many.work.tensor_ops.item())


def test_operands_are_normal_unless_conditions_tell() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    for op, conditions, activity in (
        ("gemm(m=64,n=64,k=64,dtype=bf16)", Conditions(), NORMAL_ACTIVITY["bf16"]),
        ("softmax(rows=64,cols=64,dtype=fp32)", Conditions(), NORMAL_ACTIVITY["fp32"]),
        ("gemm(m=64,n=64,k=64,dtype=int8)", Conditions(), 1.0),
        ("gemm(m=64,n=64,k=64,dtype=bf16)", Conditions(activity=0.2), 0.2),
    ):
        assert kernels_of(parse_operator(op), gpu, conditions)[-1].work.activity == activity  # type: ignore[union-attr]


def test_a_machine_whose_file_says_nothing_draws_the_same_whatever_the_operands() -> None:
    gpu = round_gpu()
    told = [at_boost(CUBE, gpu, Conditions(activity=activity)).energies_j for activity in (0.0, 1.0)]
    assert told[0] == pytest.approx(told[1])


def test_zeros_on_an_a100_run_as_much_faster_as_was_measured() -> None:
    """257 and 295 TFLOPS of 8192 cubed at 400 W (H. He, thonking.ai/p/strangely-matrix-multiplications), not fitted."""
    gpu = load_arch("nvidia/a100-sxm-80gb").physics_only()
    speeds = [
        CUBE.flops / predict(CUBE, gpu, Conditions(runs_before=SETTLED, activity=activity)).time_s[0] / 1e12
        for activity in (None, 0.0)
    ]
    assert speeds == pytest.approx([257.0, 295.0], rel=0.09)


def test_events_and_closed_form_agree_on_quiet_operands() -> None:
    gpu = load_arch("nvidia/h100-sxm").physics_only()
    graph = Graph("one", (Node("cube", CUBE),))
    quiet = Conditions(activity=0.3)
    closed, played = estimate_graph(graph, gpu, quiet), execute(graph, gpu, quiet)
    assert played.energy_j == pytest.approx(closed.energy_j, rel=0.01)
    assert played.energy_j < 0.95 * execute(graph, gpu, Conditions()).energy_j
