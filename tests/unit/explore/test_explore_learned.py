"""What variants do without, the machine's learned correction, is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps import write

import simexplore
from simexplore.sim.explore.learned import told
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.report.sweep import sweep_html

UNCHANGED = """\
arch: nvidia/h200-sxm
workloads:
  decode: {name: llm/llama-3-8b/decode, parameters: {batch: 8, layers: 2}}
  multiply: {name: 'gemm(m=512,n=1024,k=4096)'}
parameters:
  dram.bandwidth: [4.8 TB/s]
"""


def test_the_unchanged_point_times_what_is_left_out_is_what_run_says(tmp_path: Path) -> None:
    sweep = Sweep.from_yaml(write(tmp_path, UNCHANGED))
    table = sweep.run(folder=tmp_path)
    gpu = simexplore.load_arch("nvidia/h200-sxm")
    with Store.open(tmp_path) as store:
        factors = store.left_out
    assert factors is not None
    assert set(factors) == {"decode", "multiply"}
    for workload in sweep.spec.problem.workloads:
        run = simexplore.estimate(workload.graph({}), gpu)
        assert table[f"{workload.name}.time_s"][0] * factors[workload.name] == pytest.approx(run.time_s, rel=1e-9)
    assert any(abs(factor - 1.0) > 1e-4 for factor in factors.values())


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("nvidia/h200-sxm", "The learned correction belongs to the unchanged machine"),
        ("nvidia/rtx-4090", "Never measured itself"),
        ("nvidia/h200-sxm@facts", "Nothing of this machine was calibrated"),
    ],
)
def test_a_report_tells_the_errors_that_the_machine_has(tmp_path: Path, arch: str, said: str) -> None:
    pytest.importorskip("plotly")
    Sweep.from_yaml(write(tmp_path, UNCHANGED, ("arch: nvidia/h200-sxm", f"arch: {arch}"))).fill(tmp_path)
    with Store.open(tmp_path) as store:
        page = sweep_html(store, "2026-01-02")
        assert bool(store.left_out) == (arch == "nvidia/h200-sxm")
    assert said in page
    assert ("errors on measured rows that nothing was fitted on" in page) == (arch == "nvidia/h200-sxm")


def test_factors_in_words() -> None:
    assert told({"decode": 1.0034, "prefill": 0.95}) == "decode +0.3 %, prefill -5.0 %"
