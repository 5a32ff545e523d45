"""Points keep what was learned of the machine that they vary, as `run` on the same values does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sweeps import write

import simexplore
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.learned.passed_on import Lent, Lesson
from simexplore.sim.explore.evaluation import rows
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.report.sweep import sweep_html
from simexplore.workloads.operators.base import Operator

VARIANTS = """\
arch: nvidia/h200-sxm
workloads:
  decode: {name: llm/llama-3-8b/decode, parameters: {batch: 8, layers: 2}}
  multiply: {name: 'gemm(m=512,n=1024,k=4096)'}
parameters:
  dram.bandwidth: [2.4 TB/s, 4.8 TB/s]
  sm.count: [96, 132]
"""
UNCHANGED = VARIANTS.replace("2.4 TB/s, ", "").replace("96, ", "")


@pytest.mark.parametrize("arch", ["nvidia/h200-sxm", "nvidia/h100-sxm"])
def test_a_point_is_what_run_says(tmp_path: Path, arch: str) -> None:
    sweep = Sweep.from_yaml(write(tmp_path, VARIANTS, ("arch: nvidia/h200-sxm", f"arch: {arch}")))
    table = sweep.run()
    assert len(table) == 4
    for _, point in table.iterrows():
        values = {"dram.bandwidth": f"{point['dram.bandwidth']} B/s", "sm.count": f"{point['sm.count']:.0f}"}
        gpu = simexplore.load_arch(arch, values)
        for workload in sweep.spec.problem.workloads:
            run = simexplore.estimate(workload.graph({}), gpu)
            physics = simexplore.estimate(workload.graph({}), gpu.physics_only())
            assert point[f"{workload.name}.time_s"] == pytest.approx(run.time_s, rel=1e-9)
            assert run.time_s != pytest.approx(physics.time_s, rel=1e-4)
        (op,) = run.ops  # the multiplication alone
        told = point["multiply.time_high_s"] / point["multiply.time_s"]
        assert told == pytest.approx(op.interval_ratio, rel=1e-9)


def test_a_lesson_is_looked_up_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was learned of an operator is the same on whatever machine: points do not ask for it again."""
    asked: list[float] = []
    original = rows.lesson_of

    def counted(lent: Lent, op: Operator, conditions: Conditions) -> Lesson | None:
        asked.extend(np.atleast_1d(op.flops))
        return original(lent, op, conditions)

    monkeypatch.setattr(rows, "lesson_of", counted)
    sweep = Sweep.from_yaml(write(tmp_path, VARIANTS.replace("[96, 132]", "{from: 80, to: 132, step: 1}")))
    assert len(sweep.run()) == 106
    works = {node.op for workload in sweep.spec.problem.workloads for node in workload.graph({}).nodes}
    assert 3 <= len(asked) <= len(works)


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("nvidia/h200-sxm", "what was learned on top of it"),
        ("nvidia/h100-sxm", "what was learned on top of it"),
        ("nvidia/rtx-4090", "Never measured itself"),
        ("nvidia/h200-sxm@facts", "Nothing of this machine was calibrated"),
    ],
)
def test_a_report_tells_the_errors_that_the_machine_has(tmp_path: Path, arch: str, said: str) -> None:
    pytest.importorskip("plotly")
    Sweep.from_yaml(write(tmp_path, UNCHANGED, ("arch: nvidia/h200-sxm", f"arch: {arch}"))).fill(tmp_path)
    with Store.open(tmp_path) as store:
        page = sweep_html(store, "2026-01-02")
    assert said in page
    own = arch in ("nvidia/h200-sxm", "nvidia/h100-sxm")
    assert ("what was learned on top of it" in page) == own
    assert ("errors on measured rows that nothing was fitted on" in page) == own
