"""Operands' activity: what it takes of each energy, and what a GPU at its limit makes of it."""

from __future__ import annotations

import pytest
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.operators import at_boost, predict
from simexplore.sim.hardware.power import with_operands
from simexplore.sim.play.execute import execute
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Gemm

CUBE = Gemm(m=8192, n=8192, k=8192, dtype="fp16")
SETTLED = float("inf")


def test_the_share_that_follows_operands_is_taken_from_every_energy_on_the_chip() -> None:
    gpu = round_gpu({"energy.operand_share": 0.4, "power.clocked_share": 0.25})
    still = with_operands(gpu, 0.0).energy
    assert still.fma_j_per_op["fp32"] == pytest.approx(0.6 * 4e-12)
    assert still.tensor_j_per_op["fp8"] == pytest.approx(0.6 * 0.5e-12)
    assert still.dram_j_per_byte == pytest.approx(0.6 * 100e-12)
    assert still.special_function_j_per_op == pytest.approx(0.6 * 8e-12)
    assert still.link_j_per_byte == gpu.energy.link_j_per_byte
    half = with_operands(gpu, 0.5).energy
    assert half.l2_j_per_byte == pytest.approx(0.8 * 40e-12)
    assert half.shared_j_per_byte == pytest.approx(0.8 * 10e-12)
    assert half.spread == gpu.energy.spread
    assert with_operands(gpu, 1.0) is gpu


def test_a_machine_whose_file_says_nothing_draws_the_same_whatever_the_operands() -> None:
    gpu = round_gpu({"power.clocked_share": 0.25})
    told = [at_boost(CUBE, gpu, Conditions(activity=activity)).energies_j for activity in (0.0, 1.0)]
    assert told[0] == pytest.approx(told[1])


def test_zeros_on_an_a100_run_as_much_faster_as_was_measured() -> None:
    """257 and 295 TFLOPS of 8192 cubed at 400 W (H. He, thonking.ai/p/strangely-matrix-multiplications), not fitted."""
    gpu = load_arch("nvidia/a100-sxm-80gb").physics_only()
    speeds = [
        CUBE.flops / predict(CUBE, gpu, Conditions(runs_before=SETTLED, activity=activity)).time_s[0] / 1e12
        for activity in (1.0, 0.0)
    ]
    assert speeds == pytest.approx([257.0, 295.0], rel=0.06)


def test_events_and_closed_form_agree_on_quiet_operands() -> None:
    gpu = load_arch("nvidia/h100-sxm").physics_only()
    graph = Graph("one", (Node("cube", CUBE),))
    quiet = Conditions(activity=0.3)
    closed, played = estimate_graph(graph, gpu, quiet), execute(graph, gpu, quiet)
    assert played.energy_j == pytest.approx(closed.energy_j, rel=0.01)
    assert played.energy_j < 0.95 * execute(graph, gpu, Conditions()).energy_j
