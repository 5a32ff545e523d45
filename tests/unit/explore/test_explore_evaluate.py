"""Points of a sweep: what the closed form and the events give for each alone, computed once where it is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import SMALL, write

import simexplore
from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.sampler import make_sampler
from simexplore.sim.explore.spec.file import Options, read_spec
from simexplore.sim.explore.spec.machine import read_machine
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.study import Sweep
from simexplore.sim.explore.table import FloatArray
from simexplore.sim.hardware.die.area import gpu_area
from simexplore.sim.hardware.die.price import gpu_price


def grid(problem: Problem) -> FloatArray:
    levels = [len(axis.levels or ()) for axis in problem.free]
    points = make_sampler("grid", levels, 0, 0).ask()
    assert points is not None
    return points


def rows(problem: Problem, values: FloatArray) -> list[Mapping[str, Any]]:
    names = [column.name for column in problem.columns]
    return [dict(zip(names, point, strict=True)) for point in values.T]


@pytest.mark.parametrize("fidelity", ["estimate", "execute"])
def test_a_point_is_what_run_gives(tmp_path: Path, fidelity: str) -> None:
    problem = read_spec(write(tmp_path), Options(fidelity=fidelity)).problem
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    assert chunk.failures == {}
    decode, multiply = problem.workloads
    run = simexplore.estimate if fidelity == "estimate" else simexplore.simulate
    # A sweep plays kernels as events, and holds the boards that they run on in closed form.
    near = 1e-9 if fidelity == "estimate" else 1e-2
    for row in rows(problem, chunk.values)[::5]:
        fields = {axis.path: axis.target.field for axis in problem.axes}
        gpu = simexplore.load_arch(problem.arch, {path: f.write(row[path]) for path, f in fields.items() if f})
        first = run(decode.source, gpu, {**decode.parameters, "context": int(row["decode.context"])})
        second = run(multiply.source, gpu)
        assert row["decode.time_s"] == pytest.approx(first.time_s, rel=near)
        assert row["multiply.energy_j"] == pytest.approx(second.energy_j, rel=near)
        assert row["time_s"] == pytest.approx(2 * first.time_s + second.time_s, rel=near)
        assert row["energy_j"] == pytest.approx(2 * first.energy_j + second.energy_j, rel=near)
        assert row["power_w"] == pytest.approx(row["energy_j"] / row["time_s"])
        assert row["decode.time_low_s"] == pytest.approx(first.to_json()["time_low_s"], rel=near)
        assert row["decode.time_high_s"] == pytest.approx(first.to_json()["time_high_s"], rel=near)
        assert row["time_low_s"] < row["time_s"] < row["time_high_s"]
        assert row["decode.tokens_per_s"] == pytest.approx(8 / first.time_s, rel=near)
        area = 294 + 2.5 * row["sm.count"] + 20 * row["dram.bandwidth"] / 0.8e12
        assert row["area_mm2"] == pytest.approx(area)
        assert row["feasible"] == (area <= 800)
        if isinstance(first, simexplore.sim.play.result.Run):
            assert row["decode.peak_memory_bytes"] == first.peak_memory_bytes
            assert row["decode.utilization.dram"] == pytest.approx(first.utilization["dram"], rel=near)


def test_what_is_the_same_is_computed_once(tmp_path: Path) -> None:
    problem = read_spec(write(tmp_path)).problem
    evaluator = Evaluator(problem)
    evaluator.evaluate(0, grid(problem))
    machines, contexts = 12, 2
    decode = 9  # operators of two layers, of which the attention alone depends on the context
    assert evaluator.rows == machines * (decode + contexts + 1)
    again = Evaluator(problem)
    again.evaluate(0, np.repeat(grid(problem), 3, axis=0))
    assert again.rows == evaluator.rows


def test_a_kernel_is_played_once(tmp_path: Path) -> None:
    problem = read_spec(write(tmp_path), Options(fidelity="execute")).problem
    evaluator = Evaluator(problem)
    first = evaluator.evaluate(0, grid(problem))
    played = evaluator.player.played
    assert 0 < played <= evaluator.rows
    np.testing.assert_array_equal(evaluator.evaluate(0, grid(problem)).values, first.values)
    assert evaluator.player.played == played


@pytest.mark.parametrize("fidelity", ["estimate", "execute"])
def test_results_do_not_depend_on_the_chunks(tmp_path: Path, fidelity: str) -> None:
    problem = read_spec(write(tmp_path), Options(fidelity=fidelity)).problem
    u = np.random.default_rng(5).random((60, 3))
    whole = Evaluator(problem).evaluate(0, u).values
    cuts = [0, 1, 8, 9, 40, 60]
    parts = [Evaluator(problem).evaluate(a, u[a:b]).values for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_points_that_cannot_be_fail_alone(tmp_path: Path) -> None:
    text = (
        "arch: nvidia/h200-sxm\nworkload: {name: llm/llama-3-8b/decode, parameters: {layers: 1}}\nparameters:\n"
        "  workload.dtype: [bf16, fp4]\n  dram.capacity: [1 GB, 141 GB]\n  power.idle: [70 W, 800 W]\n"
        "  workload.tensor_parallel: [1, 3]\n"
    )
    problem = read_spec(write(tmp_path, text)).problem
    chunk = Evaluator(problem).evaluate(100, grid(problem))
    by_row = dict(enumerate(rows(problem, chunk.values), start=100))
    assert len(chunk.failures) == 15
    said = " ".join(chunk.failures.values())
    for part in ("fp4", "needs", "power.tdp", "tensor_parallel=3"):
        assert part in said
    for point, row in by_row.items():
        assert np.isnan(row["time_s"]) == (point in chunk.failures)
        assert not np.isnan(row["dram.capacity"])
    (fine,) = by_row.keys() - chunk.failures.keys()
    assert by_row[fine]["power.idle"] == 70


def test_values_that_are_no_columns_are_machines_of_their_own(tmp_path: Path) -> None:
    text = (
        "arch: nvidia/h200-sxm@facts\nworkload: gemm(m=512,n=1024,k=4096)\nparameters:\n  workload.dtype: [bf16, fp8]\n"
        "  library.gemm.tensor.instruction: [mma_sync, wgmma]\n  sm.max_warps: [32, 64]\n  workload.m: [16, 512]\n"
    )
    problem = read_spec(write(tmp_path, text)).problem
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    for row in rows(problem, chunk.values)[::3]:
        words = {axis.path: axis.write(row[axis.path]) for axis in problem.axes}
        gpu = simexplore.load_arch(problem.arch, {key: words[key] for key in words if "workload" not in key})
        alone = simexplore.estimate(f"gemm(m={words['workload.m']},n=1024,k=4096,dtype={words['workload.dtype']})", gpu)
        assert row["time_s"] == pytest.approx(alone.time_s, rel=1e-12)


@pytest.mark.parametrize("fidelity", ["estimate", "execute"])
def test_operators_side_by_side(tmp_path: Path, fidelity: str) -> None:
    (tmp_path / "work.yaml").write_text(
        "- {name: a, op: 'gemm(m=256,n=256,k=256)'}\n- {name: b, op: 'gelu(elements=1000000)', after: []}\n"
        "- {name: c, op: 'gelu(elements=65536)', after: [a, b], any_size: true}\n"
    )
    text = "arch: nvidia/t4\nworkload: work.yaml\nparameters:\n  sm.count: [20, 40]\n"
    text = text.replace("nvidia/t4", "nvidia/a100-sxm-80gb")
    problem = read_spec(write(tmp_path, text), Options(fidelity=fidelity)).problem
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    run = simexplore.estimate if fidelity == "estimate" else simexplore.simulate
    for row in rows(problem, chunk.values):
        gpu = simexplore.load_arch(problem.arch, {"sm.count": str(int(row["sm.count"]))})
        alone = run(tmp_path / "work.yaml", gpu)
        assert row["time_s"] == pytest.approx(alone.time_s, rel=1e-12)
        assert row["energy_j"] == pytest.approx(alone.energy_j, rel=1e-9)


NUMBERS = st.recursive(
    st.sampled_from(["0", "1", "-3", "2.5", "1e300", "1e-300", "7e17", "sm.count", "workload.m", "power.tdp / 1 W"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("({}) ** {}".format, inner, st.sampled_from(["2", "-1", "0.5", "99"])),
        st.builds("{}({})".format, st.sampled_from(["-", "sqrt", "ceil", "floor", "round", "log2"]), inner),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=NUMBERS, registers=NUMBERS, defined=NUMBERS, left=NUMBERS, right=NUMBERS)
def test_any_arithmetic_gives_results_or_failures(
    tmp_path: Path, size: str, registers: str, defined: str, left: str, right: str
) -> None:
    """Of numbers that are no sizes, too large or not finite, in axes, definitions and constraints."""
    text = (
        "arch: nvidia/h200-sxm@facts\nworkload: gemm(m=16,n=512,k=512)\nparameters:\n  sm.count: [100, 120]\n"
        f"  workload.m: [4, 512]\n  workload.n: {size}\n  sm.registers: {registers}\n"
        f'define: {{x: "{defined}"}}\nobjectives: [time_s, x]\nconstraints: ["{left} <= {right}"]\n'
    )
    try:
        problem = read_spec(write(tmp_path, text)).problem
    except SimexploreError:
        return
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    for point, row in enumerate(rows(problem, chunk.values)):
        assert np.isfinite(row["time_s"]) != (point in chunk.failures)
        assert np.isfinite(row["x"]) != (point in chunk.failures)
        assert row["feasible"] == row[problem.constraints[0].column] or point in chunk.failures


@pytest.mark.parametrize("fidelity", ["estimate", "execute"])
def test_machines_that_no_kernel_fits_fail_alone(tmp_path: Path, fidelity: str) -> None:
    """Also where operators run side by side, each of which is played once for each machine."""
    gemm = "op: 'gemm(m=256,n=256,k=256)'"
    (tmp_path / "work.yaml").write_text(f"- {{name: a, {gemm}}}\n- {{name: b, {gemm}, after: []}}\n")
    text = "arch: nvidia/h200-sxm\nworkload: work.yaml\nparameters:\n  sm.registers: [1024, 16384, 65536]\n"
    problem = read_spec(write(tmp_path, text), Options(fidelity=fidelity)).problem
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    assert sorted(chunk.failures) == [0, 1]
    assert all("fits this machine" in said or "has no room" in said for said in chunk.failures.values())
    assert [np.isnan(row["time_s"]) for row in rows(problem, chunk.values)] == [True, True, False]


def test_overflow_can_be_allowed(tmp_path: Path) -> None:
    problem = read_spec(write(tmp_path, SMALL.replace("name: small", "allow_overflow: true"))).problem
    layer = read_machine("nvidia/rtx-3070", "nvidia/rtx-3070").layer
    tiny = replace(problem, layer=layer, definitions=(), constraints=(), objectives={"time_s": "min"})
    whole = replace(tiny.workloads[0], parameters={"batch": 8})
    u = grid(problem)[:2]
    assert Evaluator(replace(tiny, workloads=(whole,))).evaluate(0, u).failures == {}
    refused = Evaluator(replace(tiny, workloads=(whole,), allow_overflow=False)).evaluate(0, u).failures
    assert set(refused) == {0, 1}
    assert "GB of device memory" in refused[0]


def test_lengths_of_sequences_are_an_axis(tmp_path: Path) -> None:
    op = "ragged_attention(heads=8,kv_heads=8,head_dim=64,q_lengths={},kv_lengths=16+64,dtype=bf16)"
    axes = 'parameters:\n  workload.q_lengths: ["16+1", "8+8", "17+1"]\n'
    path = tmp_path / "sweep.yaml"
    path.write_text(f"arch: nvidia/h100-sxm\nworkload: {op.format('1+1')}\n{axes}")
    problem = read_spec(path).problem
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    assert list(chunk.failures) == [2]
    for row, lengths in zip(rows(problem, chunk.values)[:2], ("16+1", "8+8"), strict=True):
        alone = simexplore.estimate(op.format(lengths), "nvidia/h100-sxm")
        assert row["time_s"] == pytest.approx(alone.time_s, rel=1e-12)


def test_from_python(tmp_path: Path) -> None:
    table = simexplore.Sweep.from_yaml(write(tmp_path)).run()
    assert len(table) == 24
    assert table["time_s"].min() > 0
    assert set(table["bound"]) <= {"tensor", "dram", "l2", "latency", "launch", "shared"}
    forecast = Sweep.from_yaml(write(tmp_path)).forecast()
    assert forecast.points == 24
    assert forecast.time_s(2) == pytest.approx(forecast.time_s(1) / 2)


def test_what_follows_from_a_time_has_its_interval(tmp_path: Path) -> None:
    more = """\
  cents: 3 * decode.time_s / 1 ms
  twice: 2 * time_s
  tokens_a_square: tokens_per_s / twice
objectives: {tokens_per_s: max, tokens_a_square: max, cents: min, area_mm2: min}"""
    path = write(tmp_path, SMALL, ("objectives: [time_s, area_mm2]", more))
    problem = read_spec(path).problem
    assert problem.timed == ("tokens_per_s", "tokens_a_square", "cents")
    assert "twice_low" not in {column.name for column in problem.columns}, "it is no objective"
    for row in rows(problem, Evaluator(problem).evaluate(0, grid(problem)).values)[::5]:
        tokens = row["tokens_per_s"] * row["time_s"]
        assert row["tokens_per_s_low"] == pytest.approx(tokens / row["time_high_s"])
        assert row["tokens_per_s_high"] == pytest.approx(tokens / row["time_low_s"])
        assert row["cents_high"] == pytest.approx(3e3 * row["decode.time_high_s"])
        assert row["tokens_a_square_low"] == pytest.approx(tokens / row["time_high_s"] ** 2 / 2)
        assert row["cents_low"] < row["cents"] < row["cents_high"]


MADE = """\
arch: nvidia/h200-sxm
workload: gemm(m=512,n=1024,k=4096)
parameters:
  sm.count: [66, 132, 200]
  dram.bandwidth: [2.4 TB/s, 4.8 TB/s]
  dram.technology: [HBM3e, HBM3]
objectives: [time_s, area_mm2, cost]
define:
  usd_per_area: cost / area_mm2
constraints: [area_mm2 <= 858 mm2, cost <= 4100 USD]
"""


def test_area_and_cost_are_those_of_each_points_machine(tmp_path: Path) -> None:
    problem = read_spec(write(tmp_path, MADE)).problem
    chunk = Evaluator(problem).evaluate(0, grid(problem))
    assert chunk.failures == {}
    found = rows(problem, chunk.values)
    assert len({row["feasible"] for row in found}) == 2
    for row in found:
        values = {"sm.count": f"{row['sm.count']:.0f}", "dram.bandwidth": f"{row['dram.bandwidth']} B/s"}
        gpu = simexplore.load_arch(problem.arch, values)
        assert row["area_mm2"] == pytest.approx(1e6 * gpu_area(gpu).total_m2)
        assert row["cost"] == pytest.approx(gpu_price(gpu).total_usd)
        assert row["usd_per_area"] == pytest.approx(1e6 * row["cost"] / row["area_mm2"]), "in USD/m2"
        assert row["meets area_mm2 <= 858 mm2"] == (row["area_mm2"] <= 858)
        assert row["meets cost <= 4100 USD"] == (row["cost"] <= 4100)


def test_area_and_cost_are_columns_where_they_are_asked_for(tmp_path: Path) -> None:
    def columns(text: str) -> dict[str, tuple[str, str]]:
        problem = read_spec(write(tmp_path, text)).problem
        return {column.name: (column.role, column.unit) for column in problem.columns}

    wanted = columns(MADE)
    assert wanted["area_mm2"] == ("objective", "mm2")
    assert wanted["cost"] == ("objective", "USD")
    head = MADE.partition("objectives")[0]
    assert not {"area_mm2", "cost"} & columns(head).keys()
    assert columns(f"{head}constraints: [cost <= 4100 USD]\n")["cost"] == ("metric", "USD")
    assert "area_mm2" in columns(f"{head}define: {{edge: sqrt(area_mm2)}}\n")


def test_a_definition_of_ones_own_goes_first(tmp_path: Path) -> None:
    own = MADE.replace("define:\n", "define:\n  area_mm2: 3 mm2 * sm.count\n")
    problem = read_spec(write(tmp_path, own)).problem
    assert problem.made == ("cost",)
    found = rows(problem, Evaluator(problem).evaluate(0, grid(problem)).values)
    assert [row["area_mm2"] for row in found] == pytest.approx([3 * row["sm.count"] for row in found])


def test_a_die_larger_than_a_wafer_fails(tmp_path: Path) -> None:
    text = MADE.replace("[66, 132, 200]", "[66, 9000]").replace("[time_s, area_mm2, cost]", "[cost]")
    problem = read_spec(write(tmp_path, text)).problem
    failures = Evaluator(problem).evaluate(0, grid(problem)).failures
    assert set(failures.values()) == {"expected a finite cost, found inf"}
    assert len(failures) == 4
