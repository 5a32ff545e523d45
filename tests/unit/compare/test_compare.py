"""Errors of predictions: the figures, the grouping, what is refused, and the conditions that rows are predicted in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.sim.compare import comparison as comparing
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import Gemm, Operator, Softmax, parse_operator

HEAD = "source,device,op,dtype,m,n,k,rows,cols,elements,time_us\n"


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_arch("nvidia/h200-sxm")


@dataclass
class Fixed:
    """Stands in for `predict`: ten microseconds for every row, and what it was asked."""

    asked: list[tuple[Operator, Conditions]]

    def __call__(self, op: Operator, gpu: Gpu, conditions: Conditions) -> Any:
        if op.dtype == "fp64":
            raise SimexploreError("no fp64 here")
        self.asked.append((op, conditions))
        count = len(op.rows) if isinstance(op, Softmax) else np.size(getattr(op, "m", getattr(op, "elements", 0)))
        times = {"time_s": np.full(count, 10e-6), "low_s": np.full(count, 8e-6), "high_s": np.full(count, 12e-6)}
        return type("P", (), {**times, "bound": ["dram"] * count, "power_w": np.full(count, 100.0)})


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Fixed:
    stand_in = Fixed([])
    monkeypatch.setattr(comparing, "predict", stand_in)
    return stand_in


def compare(tmp_path: Path, gpu: Gpu, rows: list[str], **options: Any) -> comparing.Comparison:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return comparing.compare(gpu, read_measurements(path), **options)


GEMMS = [
    f"aic/trtllm1,NVIDIA H200,gemm,bf16,{m},4096,{k},,,,{t}" for m, k, t in ((1, 64, 10), (64, 64, 20), (64, 9999, 5))
]
"""Measured 10, 20 and 5 us; predicted 10 each: errors 0, -1/2 and +1."""


def test_figures(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    total = compare(tmp_path, gpu, GEMMS).total
    assert total.rows == 3
    assert total.mape == pytest.approx(0.5)
    assert total.median_ape == pytest.approx(0.5)
    assert total.p90_ape == pytest.approx(0.9)
    assert total.bias == pytest.approx(1 / 6)
    assert total.interval_coverage == pytest.approx(1 / 3)
    assert total.rows_per_s > 0


def test_every_row_is_predicted_refused_or_not_chosen(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    rows = [*GEMMS, "a,H200,fft2d,bf16,,,,,,,1", "a,H200,softmax,fp64,,,,8,8,,1", "a,H200,softmax,fp32,,,,8,8,,20"]
    result = compare(tmp_path, gpu, rows)
    assert result.total.rows == 4
    assert result.refused == {"operator fft2d is not modelled": 1, "no fp64 here": 1}
    assert {op: errors.rows for op, errors in result.by_op.items()} == {"gemm": 3, "softmax": 1}
    assert set(result.by_dtype) == {"gemm bf16", "softmax fp32"}
    assert compare(tmp_path, gpu, rows, op="softmax", dtype="fp32").total.bias == pytest.approx(-0.5)


def test_predictions_stand_beside_their_own_rows(tmp_path: Path, gpu: Gpu) -> None:
    """The table's order survives the grouping by family and dtype."""
    rows = [
        "a,H200,softmax,fp16,,,,4096,4096,,100",
        "a,H200,gemm,bf16,64,4096,4096,,,,100",
        "a,H200,gemm,fp16,512,4096,4096,,,,100",
        "a,H200,gemm,bf16,4096,4096,4096,,,,100",
    ]
    table = compare(tmp_path, gpu, rows).table
    warm = comparing.Conditions(comparing.CacheState(1.0, 1.0), "stream", runs_before=5.0, runs=30.0)
    texts = [
        "softmax(rows=4096,cols=4096,dtype=fp16)",
        "gemm(m=64,n=4096,k=4096,dtype=bf16)",
        "gemm(m=512,n=4096,k=4096,dtype=fp16)",
        "gemm(m=4096,n=4096,k=4096,dtype=bf16)",
    ]
    alone = [float(predict(parse_operator(text), gpu, warm).time_s[0]) * 1e6 for text in texts]
    np.testing.assert_allclose(table["predicted_us"], alone, rtol=1e-12)


def test_nothing_to_compare_is_an_error_that_says_why(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    with pytest.raises(SimexploreError, match=r"nothing to compare: .* operator fft2d is not modelled \(2 rows\)"):
        compare(tmp_path, gpu, ["a,b,fft2d,bf16,,,,,,,1"] * 2)
    with pytest.raises(SimexploreError, match="no measured row has op 'conv3d'"):
        compare(tmp_path, gpu, GEMMS, op="conv3d")


def test_weights_rotate_over_what_fills_the_cache(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    sizes = (64, 4096, 16384)
    compare(tmp_path, gpu, [f"aic/trtllm1.4.0,H200,gemm,bf16,8,{n},{n},,,,9" for n in sizes])
    (_, conditions) = fixed.asked[0]
    expected = [min(5.0, np.ceil(gpu.l2.capacity_bytes / (2.0 * n * n))) for n in sizes]
    np.testing.assert_array_equal(conditions.cache.weight_copies, expected)
    assert conditions.cache.activation_copies == 1.0
    assert conditions.launch == "graph"


def test_an_unknown_source_re_reads_its_operands_from_a_stream(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    compare(tmp_path, gpu, ["mine,H200,gemm,bf16,8,64,64,,,,9"])
    (_, conditions) = fixed.asked[0]
    assert (conditions.cache.weight_copies, conditions.launch, conditions.attention_module) == (1.0, "stream", False)


def test_fp8_rows_of_serving_engines_quantise_first(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    compare(tmp_path, gpu, ["aic/trtllm1,H200,gemm,fp8,8,64,64,,,,9"])
    (op, _) = fixed.asked[0]
    assert isinstance(op, Gemm)
    assert op.activation_dtype == "bf16"


def test_errors_by_size(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    (table,) = compare(tmp_path, gpu, GEMMS).by_size
    assert (table.op, table.down, table.across) == ("gemm", "m", "k")
    assert table.down_labels == ("1", "17–128")
    assert table.across_labels == ("17–128", ">8192")
    assert table.rows == ((1, 0), (1, 1))
    assert table.mape == ((0.0, None), (0.5, 1.0))


def test_sizes_of_a_family_with_elements_alone(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    (table,) = compare(tmp_path, gpu, ["a,H200,gelu,fp16,,,,,,4096,20"]).by_size
    assert (table.down, table.across, table.mape) == ("elements", "all", ((0.5,),))


@pytest.mark.parametrize(
    ("device", "warned"),
    [("NVIDIA H200", False), ("H200-SXM-141GB", False), ("h200", False), ("NVIDIA H100 80GB", True), ("L40S", True)],
)  # fmt: skip
def test_another_device_is_a_warning(tmp_path: Path, gpu: Gpu, fixed: Fixed, device: str, warned: bool) -> None:
    warnings = compare(tmp_path, gpu, [f"a,{device},gemm,bf16,8,64,64,,,,9"]).warnings
    assert bool(warnings) is warned
    assert all(device in line and gpu.name in line for line in warnings)


def test_progress_reaches_the_end(tmp_path: Path, gpu: Gpu, fixed: Fixed) -> None:
    seen: list[tuple[int, int]] = []
    compare(tmp_path, gpu, [*GEMMS, "a,b,fft2d,bf16,,,,,,,1"], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (4, 4)]


def test_as_plain_data_it_has_the_promised_keys(tmp_path: Path, gpu: Gpu) -> None:
    data = json.loads(json.dumps(compare(tmp_path, gpu, GEMMS).as_dict(), allow_nan=False))
    figures = {"rows", "mape", "median_ape", "p90_ape", "bias", "interval_coverage", "rows_per_s"}
    figures |= {"power_rows", "power_mape", "power_bias", "power_coverage"}
    assert figures <= set(data)
    assert set(data["by_op"]["gemm"]) == figures
    assert (data["power_rows"], data["power_mape"]) == (0, None)


def test_the_public_face_takes_names_and_several_tables(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "\n".join(GEMMS) + "\n", encoding="utf-8")
    once = simexplore.compare("nvidia/h200-sxm", path)
    twice = simexplore.compare("nvidia/h200-sxm", [str(path), simexplore.read_measurements(path)])
    assert (once.total.rows, twice.total.rows) == (3, 6)
    assert twice.total.mape == pytest.approx(once.total.mape)


def test_rows_of_a_profiler_are_predicted_at_base_clocks_and_cold(tmp_path: Path, fixed: Fixed, gpu: Gpu) -> None:
    rows = [f"{GEMMS[0]},profiled,base,flushed", f"{GEMMS[1]},,,"]
    path = tmp_path / "rows.csv"
    path.write_text(HEAD.strip() + ",launch,clocks,caches\n" + "\n".join(rows) + "\n", encoding="utf-8")
    comparing.compare(gpu, read_measurements(path))
    (_, profiled), (_, plain) = fixed.asked
    assert (profiled.launch, profiled.base_clocks) == ("profiled", True)
    assert (profiled.cache.weight_copies, profiled.cache.activation_copies) == (np.inf, np.inf)
    assert (plain.launch, plain.base_clocks) == ("graph", False)
    assert np.isfinite(plain.cache.activation_copies)


class TestBaseClocks:
    def test_what_is_bound_by_arithmetic_takes_longer_by_the_ratio_of_clocks(self, h200: Gpu) -> None:
        """The power limit aside, which the base clock is chosen for not to meet."""
        cube, free = (
            Gemm(m=8192, n=8192, k=8192),
            h200.model_copy(update={"power": h200.power.model_copy(update={"tdp_w": 1e9})}),
        )
        base = predict(cube, h200, Conditions(launch="profiled", base_clocks=True)).time_s.item()
        boost = predict(cube, free, Conditions(launch="profiled")).time_s.item()
        assert h200.clock.base_hz is not None
        assert base / boost == pytest.approx(h200.clock.boost_hz / h200.clock.base_hz, rel=0.02)

    def test_what_is_bound_by_dram_does_not(self, h200: Gpu) -> None:
        stream = parse_operator("copy(elements=400000000)")
        base, boost = (
            predict(stream, h200, Conditions(launch="profiled", base_clocks=locked)).time_s.item()
            for locked in (True, False)
        )
        assert base == pytest.approx(boost, rel=0.1)
        assert base >= boost

    def test_no_correction_that_was_learned_at_other_clocks(self, gpu: Gpu) -> None:
        told = predict(Gemm(m=4096, n=4096, k=4096), gpu, Conditions(launch="graph", base_clocks=True))
        assert told.correction.item() == 1.0

    def test_a_machine_without_a_base_clock_says_so(self, h200: Gpu) -> None:
        nameless = h200.model_copy(update={"clock": h200.clock.model_copy(update={"base_hz": None})})
        with pytest.raises(SimexploreError, match=r"clock\.base"):
            predict(Gemm(m=8, n=8, k=8), nameless, Conditions(base_clocks=True))


def test_rows_are_predicted_with_the_kernels_of_the_engine_that_ran_them(gpu: Gpu, tmp_path: Path) -> None:
    """Rows of no engine keep the kernels that the machine has first."""
    machine = tmp_path / "mine.yaml"
    machine.write_text(
        "extends: nvidia/h200-sxm\nengines: {vllm: {library: {gemm: {setup_round_trips: 80}}}}\n"
        "sources: {engines.vllm: 'assumed: a test'}\n",
        encoding="utf-8",
    )
    table = tmp_path / "rows.csv"
    sources = ("aic/vllm0.24.0", "aic/trtllm1.3.0rc20", "mine")
    lines = "".join(f"{source},h200_sxm,gemm,bf16,16,4096,4096,,,,10\n" for source in sources)
    table.write_text(HEAD + lines, encoding="utf-8")
    rows = simexplore.compare(str(machine), table).table.set_index("source")["predicted_us"]
    other = simexplore.compare(load_arch(machine, engine="vllm"), table).table.set_index("source")["predicted_us"]
    first = simexplore.compare(load_arch(machine), table).table.set_index("source")["predicted_us"]
    assert rows[sources[0]] == other[sources[0]] > 1.5 * first[sources[0]]
    assert rows[list(sources[1:])].equals(first[list(sources[1:])])
