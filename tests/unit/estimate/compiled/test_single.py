"""One operator in the shortest way is what a graph of it is."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import WARM, Conditions, PowerState
from simexplore.sim.estimate.compiled import rows as compiling
from simexplore.sim.estimate.compiled import single as alone
from simexplore.sim.estimate.compiled.one_kernel import OneKernel, clock_alone
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.hardware.power import Board, Draw, Repeated, clock_within, steady_w
from simexplore.workloads.graph import single
from simexplore.workloads.ops import Gemm

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install 'simexplore[fast]'")

WITHIN = 1e-9
SHAPES = [(1, 4096, 4096), (16, 4096, 4096), (4096, 4096, 4096), (8192, 16384, 8192), (300, 1001, 777)]
MACHINES = ["nvidia/h200-sxm", "nvidia/a100-pcie-40gb", "nvidia/rtx-4090", "nvidia/a100-sxm-80gb@facts"]
"""Calibrated; lent a correction by kin; of a family; with nothing fitted."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = compiling.Memory()
    for module in (compiling, alone):
        monkeypatch.setattr(module, "MEMORY", memory)
        monkeypatch.setattr(module, "WORTH", 0.0)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("power", ["serving", "sustained", "burst"])
def test_an_operator_alone_is_a_graph_of_one(machine: str, power: PowerState) -> None:
    gpu = load_arch(machine)
    for conditions in (Conditions(), Conditions(cache=WARM, launch="stream")):
        for m, n, k in SHAPES:
            op = Gemm(m=m, n=n, k=k, dtype="bf16")
            told = alone.estimate_alone(op, gpu, conditions, power)
            expected = estimate_graph(single(op), gpu, conditions, conditions.launch, power)
            assert told is not None
            assert told.time_s == pytest.approx(expected.time_s, rel=WITHIN)
            assert told.energies_j == pytest.approx(expected.energies_j, rel=WITHIN)
            (run,), (its,) = told.ops, expected.ops
            assert (run.name, run.op, run.bound, run.kernel) == (its.name, its.op, its.bound, its.kernel)
            assert run.interval_ratio == pytest.approx(its.interval_ratio, rel=WITHIN)
            assert run.clock_over_boost == pytest.approx(its.clock_over_boost, rel=WITHIN)


def test_what_cannot_run_is_left_to_who_tells_why() -> None:
    gpu = load_arch("nvidia/l40s")
    small = gpu.sm.model_copy(update={"shared_memory_per_cta_bytes": 1.0})
    assert alone.estimate_alone(
        Gemm(m=64, n=64, k=64), gpu.model_copy(update={"sm": small}), Conditions(), "serving"
    ) is None  # fmt: skip


BOARD = Board(idle_w=20.0, clocked_share=0.25, clock_exponent=3.0, held_w=100.0, headroom_w=50.0, drain_s=0.01)


@pytest.mark.parametrize("joules", [0.05, 0.09, 0.11, 0.3, 3.0])
@pytest.mark.parametrize("waits_s", [0.0, 2e-4])
@pytest.mark.parametrize("least", [0.0, 0.6])
def test_the_clock_is_where_the_search_for_a_limit_leaves_it(joules: float, waits_s: float, least: float) -> None:
    """A kernel of a millisecond at boost: within the limit, above it by a little, and by far."""
    kernel, board = OneKernel(waits_s, 9e-4, 6e-4, 4.0, joules, 0.01), BOARD._replace(least_scale=least)
    draw = Draw(*(np.array([[value]]) for value in kernel[1:]))
    work = Repeated(draw, np.ones((1, 1)), np.array([waits_s]))
    expected = clock_within(draw, steady_w(work, board), board)
    assert clock_alone(kernel, board, lambda _: 0.0) == pytest.approx(float(expected[0, 0]), rel=1e-9)
    held = clock_within(draw, board.held_w, board)
    assert clock_alone(kernel, board, None) == pytest.approx(float(held[0, 0]), rel=1e-9)


def test_a_kernel_that_no_clock_drives_keeps_it() -> None:
    assert clock_alone(OneKernel(0.0, 0.0, 1e-3, 1.0, 0.0, 5.0), BOARD, None) == 1.0
