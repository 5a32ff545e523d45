"""Power over time, over random graphs and machines: the limit holds over its window, and energy is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_machines import GPUS, machines, with_values

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import PowerState
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.hardware.duty import Period
from simexplore.sim.hardware.power import COMPONENTS
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import BoardState, Probe
from simexplore.sim.play.result import Run
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import parse_operator

STATES: tuple[PowerState, ...] = ("serving", "sustained", "burst")
WINDOW = 10.0
"""Time constants over which the limit is meant."""
OPERATORS = tuple(
    parse_operator(text)
    for text in (
        "gemm(m=4096,n=4096,k=4096,dtype=fp16)",
        "gemm(m=2048,n=1024,k=8192,dtype=fp32)",
        "gemm(m=1,n=8192,k=8192,dtype=fp16)",
        "copy(elements=67108864,dtype=fp16)",
        "softmax(rows=4096,cols=4096,dtype=fp16)",
        "gelu(elements=4096,dtype=fp16)",
        "attention_decode(batch=16,heads=32,kv_heads=8,head_dim=128,seq_kv=4096,dtype=fp16)",
    )
)


class Power(Probe):
    """Power of all boards over time."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, float]] = []

    def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
        self.steps.append((now_fs, sum(board.power_w for board in boards.values())))

    def energy_until(self, time_s: float) -> tuple[Any, Any]:
        """Instants at which the power changes, the end of the run among them, and the energy until each."""
        starts, levels = (np.array(each, dtype=float) for each in zip(*self.steps, strict=True))
        instants = np.append(starts * 1e-15, time_s)
        return instants, np.append(0.0, np.cumsum(levels * np.diff(instants)))

    def most_w(self, window_s: float, time_s: float, before_w: float) -> float:
        """The largest mean power over a window that ends in the run, before which `before_w` was drawn."""
        instants, energies = self.energy_until(time_s)
        instants, energies = np.append(-window_s, instants), np.append(-window_s * before_w, energies)
        ends = np.concatenate([instants, instants + window_s])  # a straight line between two of these is not larger
        ends = ends[(ends >= 0.0) & (ends <= time_s)]
        taken = np.interp(ends, instants, energies) - np.interp(ends - window_s, instants, energies)
        return float(np.max(taken)) / window_s


@st.composite
def powered(draw: st.DrawFn) -> Gpu:
    """A machine of any limit and any regulator."""
    gpu = draw(machines())
    idle_w = gpu.power.idle_w
    return with_values(
        gpu,
        power__tdp_w=idle_w + 1.0 + (gpu.power.tdp_w - idle_w) * draw(st.floats(0.02, 2.0)),
        power__clocked_share=draw(st.floats(0.01, 1.0)),
        power__clock_exponent=draw(st.floats(2.0, 4.0)),
        power__voltage_floor_hz=gpu.clock.boost_hz * draw(st.just(0.0) | st.floats(0.2, 1.2)),
        power__burst_headroom=draw(st.just(0.0) | st.floats(1e-3, 2.0)),
        power__burst_s=draw(st.floats(1e-4, 1e-1)),
        power__time_constant_s=draw(st.floats(1e-4, 1e-2)),
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to five operators on up to three streams."""
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 5))):
        after = draw(st.lists(st.sampled_from(nodes), max_size=2, unique_by=id)) if nodes else []
        nodes.append(Node.of(f"n{index}", draw(st.sampled_from(OPERATORS)), [node.name for node in after]))
    return Graph("random", tuple(nodes))


def check_accounts(run: Run, power: Power, gpu: Gpu) -> None:
    """Components and operators sum to the energy, so does power over time, and idling is the least there is."""
    assert set(run.energies_j) <= {*COMPONENTS, "idle"}
    assert all(joules >= 0.0 for joules in run.energies_j.values())
    assert sum(run.energies_j.values()) == run.energy_j
    by_op = sum(op.energy_j for op in run.ops)
    assert by_op + run.energies_j["idle"] == pytest.approx(run.energy_j, rel=1e-9)
    assert power.energy_until(run.time_s)[1][-1] == pytest.approx(run.energy_j, rel=1e-6)
    assert run.energy_j >= gpu.power.idle_w * run.time_s * (1.0 - gpu.power.clocked_share) * (1.0 - 1e-9)


@settings(max_examples=60)
@given(graphs(), powered(), st.sampled_from(STATES), st.sampled_from([1, 3, 20]))
def test_no_window_is_above_the_limit_and_all_energy_is_accounted_for(
    work: Graph, gpu: Gpu, state: PowerState, runs: int
) -> None:
    power = Power()
    run = execute(work, gpu, probes=[power], power=state, runs=runs, allow_overflow=True)
    check_accounts(run, power, gpu)
    window_s = WINDOW * gpu.power.time_constant_s
    before_w = gpu.power.idle_w  # an idle board; what served or sustained a load has spent its budget
    assert power.most_w(window_s, run.time_s, before_w) <= gpu.power.tdp_w * (1.0 + 1e-6)


@settings(max_examples=30)
@given(graphs(), powered(), st.floats(1.0, 20.0), st.floats(0.0, 0.9))
def test_work_once_a_period_is_between_serving_and_burst(work: Graph, gpu: Gpu, periods: float, skip: float) -> None:
    served, sudden = (execute(work, gpu, power=state, allow_overflow=True) for state in ("serving", "burst"))
    period = Period(served.time_s * periods, skip)
    power = Power()
    run = execute(work, gpu, probes=[power], power=period, allow_overflow=True)
    check_accounts(run, power, gpu)
    assert sudden.time_s * (1.0 - 1e-3) <= run.time_s <= served.time_s * (1.0 + 1e-3)
    if run.time_s <= period.period_s:
        mean_w = period.energy_j(run.time_s, run.energy_j, gpu.power.idle_w) / period.period_s
        assert mean_w <= gpu.power.tdp_w


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_the_same_gemm_for_ever_stays_within_the_limit(gpu: Gpu) -> None:
    dtype = "bf16" if "bf16" in gpu.sm.tensor_ops_per_clk else "fp16"
    gemm = Graph("gemm", (Node.of("gemm", parse_operator(f"gemm(m=8192,n=8192,k=8192,dtype={dtype})")),))
    for state, runs in (("serving", 1), ("serving", 30), ("sustained", 30)):
        run = execute(gemm, gpu, power=state, runs=runs)
        assert run.mean_power_w <= gpu.power.tdp_w
        assert run.mean_power_w == pytest.approx(
            estimate_graph(gemm, gpu, power=state, runs=runs).mean_power_w, rel=1e-3
        )
        assert len(run.ops) == runs


@settings(max_examples=40)
@given(graphs(), powered(), st.sampled_from(STATES), st.floats(0.1, 1.0))
def test_a_lower_limit_is_never_faster(work: Graph, gpu: Gpu, state: PowerState, share: float) -> None:
    lower_w = gpu.power.idle_w + 1.0 + share * (gpu.power.tdp_w - gpu.power.idle_w - 1.0)
    lower = with_values(gpu, power__tdp_w=lower_w)
    high, low = (estimate_graph(work, machine, power=state) for machine in (gpu, lower))
    assert low.time_s >= high.time_s * (1.0 - 1e-7)


def test_the_clock_of_an_operator_is_the_mean_of_all_its_time_waits_included() -> None:
    """A kernel that is short beside its launch, held by a low limit: events and the closed form tell the same."""
    gpu = with_values(GPUS[-1], power__tdp_w=GPUS[-1].power.idle_w + 5.0, launch__graph_s=1e-3)
    work = Graph("one", (Node.of("one", OPERATORS[0]), Node.of("two", OPERATORS[5], ["one"])))
    played, closed = (told(work, gpu, power="sustained") for told in (execute, estimate_graph))
    for event, form in zip(played.ops, closed.ops, strict=True):
        assert event.clock_over_boost == pytest.approx(form.clock_over_boost, rel=1e-6)
    one = closed.ops[0]
    assert 1e-3 / one.time_s < one.clock_over_boost < 0.9
    assert played.to_json()["clock_over_boost"] == pytest.approx(
        sum(op.clock_over_boost * op.time_s for op in played.ops) / played.time_s
    )


def test_a_period_without_a_pause_is_serving_whose_waits_keep_the_budget_up() -> None:
    gpu = with_values(
        next(gpu for gpu in GPUS if gpu.name == "AMD Instinct MI300X"),
        power__tdp_w=400.0,
        power__burst_headroom=1.0,
        power__burst_s=0.02,
        power__time_constant_s=0.01,
        launch__graph_s=2e-4,
    )
    work = Graph("one", (Node.of("one", OPERATORS[0]),))
    served, sustained = (execute(work, gpu, power=state) for state in STATES[:2])
    assert served.time_s < 0.99 * sustained.time_s
    assert execute(work, gpu, power=Period(served.time_s)).time_s == pytest.approx(served.time_s, rel=1e-6)
