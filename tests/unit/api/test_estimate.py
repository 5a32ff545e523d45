"""What Python users get: words that are checked, machines with other values, results that show themselves."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import simexplore
from simexplore.api import machine
from simexplore.archs.schema.system import System
from simexplore.kernels.measurement import Measurements
from simexplore.workloads.ops import Gemm

ARCH, GEMM = "nvidia/h200-sxm", "gemm(m=16,n=4096,k=4096,dtype=bf16)"


@pytest.mark.parametrize("function", [simexplore.estimate, simexplore.simulate])
@pytest.mark.parametrize("work", [GEMM, "llm/llama-3-8b/decode"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            {"launch": "grahp"},
            "launch: expected one of graph, stream, queued, profiled, found 'grahp'; did you mean 'graph'",
        ),
        ({"power": "bursts"}, "power: expected one of serving, sustained, burst"),
        ({"cache": "warm"}, "cache: expected COLD or WARM"),
    ],
)
def test_words_that_are_none_are_refused(function: Any, work: str, words: dict[str, str], told: str) -> None:
    with pytest.raises(simexplore.SimexploreError, match=told):
        function(work, ARCH, **words)


@pytest.mark.parametrize("function", [simexplore.estimate, simexplore.simulate])
def test_columns_are_sent_to_predict(function: Any) -> None:
    with pytest.raises(simexplore.SimexploreError, match=r"expected one gemm, found columns of them: predict\("):
        function(Gemm(m=np.array([16, 32]), n=64, k=64), ARCH)


def test_a_machine_that_is_none_is_refused() -> None:
    with pytest.raises(simexplore.SimexploreError, match="expected a machine, its name or its file, found int"):
        simexplore.estimate(GEMM, 3)  # type: ignore[arg-type]


def test_a_machine_is_loaded_whatever_its_kind() -> None:
    system = simexplore.load_machine("systems/rtx-4090-fuyou", {"devices.ssd.count": 6})
    assert isinstance(system, System)
    assert system.devices["ssd"].count == 6
    gpu = simexplore.load_machine(ARCH, {"sm.count": 160})
    assert isinstance(gpu, simexplore.Gpu)
    larger = gpu.replace({"l2.capacity": "120 MiB"})  # a GPU remembers what it was read from
    assert (larger.sm.count, larger.l2.capacity_bytes) == (160, 120 * 2**20)


def test_shipped_machines_are_read_once_and_files_each_time(tmp_path: Path) -> None:
    assert machine(ARCH) is machine(ARCH)
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: {ARCH}\nname: mine\nsm: {{count: 100}}\n")
    assert machine(file).sm.count == 100
    file.write_text(f"extends: {ARCH}\nname: mine\nsm: {{count: 101}}\n")
    assert machine(str(file)).sm.count == 101


def test_an_answer_is_of_its_machine_and_its_conditions() -> None:
    gpu = simexplore.load_arch(ARCH)
    slower = gpu.replace({"dram.bandwidth": "2 TB/s"})
    first = simexplore.estimate(GEMM, gpu)
    assert simexplore.estimate(GEMM, gpu) is first
    assert simexplore.estimate(GEMM, slower).time_s > 1.5 * first.time_s
    assert simexplore.estimate(GEMM, gpu, cache=simexplore.WARM).time_s < first.time_s
    assert simexplore.estimate(GEMM, gpu, launch="stream").time_s > first.time_s
    assert simexplore.estimate(GEMM, gpu, repeat=2).time_s > 1.5 * first.time_s
    assert simexplore.estimate(GEMM.replace("4096", "8192"), gpu).time_s > 1.5 * first.time_s


def test_a_machine_takes_other_values_as_its_file_has_them() -> None:
    gpu = simexplore.load_arch(ARCH, {"sm.count": 120})
    changed = gpu.replace({"l2.capacity": "36 MiB", "clock.boost": "1.5 GHz"})
    assert (changed.sm.count, changed.l2.capacity_bytes, changed.clock.boost_hz) == (120, 36 * 2**20, 1.5e9)
    assert gpu.l2.capacity_bytes != changed.l2.capacity_bytes
    same = simexplore.load_arch(ARCH, {"sm.count": "120", "l2.capacity": "36 MiB", "clock.boost": "1.5 GHz"})
    assert simexplore.estimate(GEMM, changed).time_s == simexplore.estimate(GEMM, same).time_s
    assert pickle.loads(pickle.dumps(gpu)).replace({"sm.count": 60}).sm.count == 60


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sm.cuont": 3}, "did you mean 'count'"),
        ({"l2.capacity": 36}, "expected a size such as '50 MiB', found 36"),
        ({"sm.count": [1]}, "sm.count: expected a number, or a text"),
        ({"sm.count": 1.5}, "expected a whole number, found 1.5"),
    ],
)
def test_values_that_are_none_are_refused(changes: dict[str, Any], told: str) -> None:
    gpu = simexplore.load_arch(ARCH)
    with pytest.raises(simexplore.SimexploreError, match=told):
        gpu.replace(changes)
    with pytest.raises(simexplore.SimexploreError, match=told):
        simexplore.load_arch(ARCH, changes)


def test_a_machine_that_was_changed_otherwise_is_not_what_its_file_says() -> None:
    gpu = simexplore.load_arch(ARCH)
    for changed in (gpu.model_copy(update={"name": "other"}), gpu.physics_only()):
        with pytest.raises(simexplore.SimexploreError, match="changed in Python since"):
            changed.replace({"sm.count": 3})


def test_names_are_listed() -> None:
    assert ARCH in simexplore.list_archs()
    assert "llm/llama-3-8b/decode" in simexplore.list_workloads()


def test_an_estimate_tells_its_intervals_and_what_bounds_it() -> None:
    told = simexplore.estimate("llm/llama-3-8b/decode", ARCH)
    assert told.time_low_s < told.time_s < told.time_high_s
    assert told.energy_low_j < told.energy_j < told.energy_high_j
    assert told.to_json()["time_low_s"] == told.time_low_s
    assert told.bound == next(iter(told.bounds)) == "dram"
    assert sum(told.bounds.values()) == pytest.approx(1.0)
    assert list(told.bounds.values()) == sorted(told.bounds.values(), reverse=True)
    dram_s = sum(op.time_s for op in told.ops if op.bound == "dram")
    assert told.bounds["dram"] == pytest.approx(dram_s / sum(op.time_s for op in told.ops))


@pytest.mark.parametrize("function", [simexplore.estimate, simexplore.simulate])
def test_results_are_frames_and_short_tables(function: Any) -> None:
    told = function("llm/llama-3-8b/decode", ARCH)
    frame = told.to_frame()
    assert len(frame) == len(told.ops)
    assert frame["time_s"].sum() == pytest.approx(sum(op.time_s for op in told.ops))
    dynamic_j = frame[[f"{name}_j" for name in told.energies_j if name != "idle"]].sum().sum()
    assert dynamic_j == pytest.approx(told.energy_j - told.energies_j["idle"])
    assert len(repr(told).splitlines()) <= 5
    page = told._repr_html_()
    assert page.count("<tr>") == 2 + 1 + 20 + 1
    assert f"and {len(told.ops) - 20} more" in page


def test_names_are_text_in_a_notebook() -> None:
    graph = simexplore.load_workload(GEMM)
    odd = type(graph)("odd", (type(graph.nodes[0])("<b>x</b>", graph.nodes[0].op),))
    page = simexplore.estimate(odd, ARCH)._repr_html_()
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<b>" not in page


def test_a_comparison_is_a_line_a_table_and_a_frame() -> None:
    rows = pd.DataFrame({
        "source": "mine", "device": "d", "op": "gemm", "dtype": ["bf16", "bf16", "fp8"], "m": [16, 32, 64], "n": 4096,
        "k": 4096, "time_us": [14.0, 15.0, 20.0],
    })  # fmt: skip
    told = simexplore.compare(ARCH, rows)
    assert repr(told).startswith(f"<Comparison {told.arch}: 3 rows, ")
    assert f"{told.total.mape:.1%} off" in repr(told)
    frame = told.to_frame()
    assert frame.index.tolist() == ["all", "gemm bf16", "gemm fp8"]
    assert frame.loc["gemm bf16", "rows"] == 2
    assert "<td>gemm fp8</td><td>1</td>" in told._repr_html_()
    assert simexplore.compare(ARCH, Measurements(rows)).total.mape == told.total.mape


def test_a_sweep_is_a_line() -> None:
    sweep = simexplore.Sweep.from_yaml(Path(__file__).resolve().parents[3] / "examples" / "hopper-memory.yaml")
    assert repr(sweep).startswith("<Sweep ")
    assert f"{sweep.spec.points} points over " in repr(sweep)
    assert "time_s" in sweep._repr_html_()
