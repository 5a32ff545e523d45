"""Machines drawn from the whole schema: what is told of any operator is finite and breaks no law, or is one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_machines import GPUS, any_machines, any_operators, operators, with_values

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, Conditions, Launch
from simexplore.sim.estimate.graphs import Estimate, estimate_graph
from simexplore.sim.estimate.operators import LONGEST_S, MOST_J, predict
from simexplore.sim.learn.calibration import Calibrated
from simexplore.sim.learn.overlay import Provenance, write_family
from simexplore.sim.play.execute import execute
from simexplore.workloads.graph import single
from simexplore.workloads.ops import Gemm, Operator, parse_operator

ROUNDING = 1e-9
NOT_FROM_DRAM = (
    "grid_encoding",
    "host_read",
    "all_reduce",
    "custom_all_reduce",
    "all_gather",
    "reduce_scatter",
    "alltoall",
)
"""Families whose tables are in caches, or whose bytes go over links."""
ANY_WORK = st.one_of(operators(), any_operators(), any_operators(2**53, ("fp16", "bf16", "fp32")))
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def roofline_s(op: Operator, gpu: Gpu) -> float:
    rates = gpu.sm.tensor_ops_per_clk if op.dtype in gpu.sm.tensor_ops_per_clk else gpu.sm.fma_ops_per_clk
    rate = next((rate for dtype, rate in rates.items() if dtype == op.dtype), math.inf)
    if op.op == "attention_decode" or getattr(op, "m", 0) == 1:  # engines have kernels for these on the FMA pipes too
        rate = max(rate, *gpu.sm.fma_ops_per_clk.values())
    read = 0.0 if op.op in NOT_FROM_DRAM else op.min_bytes - op.output_bytes
    products_s = float(op.matmul_flops) / (gpu.sm.count * gpu.clock.top_hz * rate)
    return max(products_s, float(read) / gpu.dram.bandwidth_bytes_per_s)


def told(op: Operator, gpu: Gpu, play: bool) -> Estimate | None:
    """What is told of an operator alone, in closed form and, if asked, as events; nothing where it is one line."""
    graph = single(op)
    try:
        found = estimate_graph(graph, gpu, Conditions())
        run = execute(graph, gpu, Conditions(), allow_overflow=True) if play else None
    except SimexploreError as error:
        line = str(error)
        return None if len(line.splitlines()) == 1 and "nan" not in line else pytest.fail(line)
    if run is not None:
        assert run.time_s == pytest.approx(found.time_s, rel=0.03, abs=1e-14)
        assert 0.0 <= run.energy_j < 1e19
    return found


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(any_machines(), ANY_WORK, st.booleans())
def test_any_operator_on_any_machine_is_finite_or_one_line(gpu: Gpu, op: Operator, play: bool) -> None:
    found = told(op, gpu, play)
    if found is not None:
        assert 0.0 <= found.time_s <= LONGEST_S * (1 + ROUNDING)
        assert 0.0 <= found.energy_j <= MOST_J * (1 + ROUNDING)
        assert all(part.energy_j >= 0.0 and part.time_s >= 0.0 for part in found.ops)
        if gpu.ngpc is None:
            assert found.time_s >= roofline_s(op, gpu) * (1.0 - ROUNDING)


def with_exponents(gpu: Gpu, exponent: float) -> Gpu:
    """All smooth maxima of a machine with one exponent; what was learned of it is left out."""

    def changed(record: Any) -> Any:
        fields = type(record).model_fields
        inner = {
            name: changed(value) for name in fields if hasattr(type(value := getattr(record, name)), "model_fields")
        }
        mine = {name: exponent for name in fields if name.endswith("overlap_exponent")}
        return record.model_copy(update={**inner, **mine})

    return gpu.model_copy(update={"library": changed(gpu.library), "calibration": None})


@settings(max_examples=100)
@given(st.sampled_from(GPUS), operators(), st.floats(1.0, 32.0), st.floats(1.0, 2.0))
def test_a_larger_exponent_overlaps_more_and_changes_little_at_the_end(
    gpu: Gpu, op: Operator, exponent: float, factor: float
) -> None:
    """At 1 nothing overlaps, at 64 nearly the longest alone counts: the time falls, and never under the roofline."""
    less, more, most = (
        float(predict(op, with_exponents(gpu, p), Conditions(cache=COLD)).time_s[0])
        for p in (exponent, exponent * factor, 64.0)
    )
    if not isinstance(op, Gemm):  # of GEMMs a library chooses by what it reckons, which may be another kernel then
        assert less * (1.0 + ROUNDING) >= more
    assert most >= roofline_s(op, gpu) * (1.0 - ROUNDING)


def test_exponents_up_to_the_schemas_most_make_no_time_fall_away() -> None:
    op = Gemm(16, 4096, 4096)
    times = [
        float(predict(op, with_exponents(load_arch("nvidia/h200-sxm"), p)).time_s[0]) for p in (16.0, 24.0, 48.0, 64.0)
    ]
    assert max(times) < 1.1 * min(times)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize(
    "path",
    [
        "dram__bandwidth_bytes_per_s",
        "clock__boost_hz",
        "l2__bandwidth_bytes_per_clk",
        "sm__l2_port_bytes_per_clk",
        "energy__dram_j_per_byte",
    ],
)
@pytest.mark.parametrize(
    "text", ["gemm(m=64,n=4096,k=4096)", "gelu(elements=1000000)", "all_reduce(elements=9,num_gpus=8)"]
)
def test_rates_out_of_all_proportion(path: str, scale: float, text: str) -> None:
    gpu = load_arch("nvidia/h200-sxm")
    part, field = path.split("__")
    gpu = with_values(gpu, **{path: getattr(getattr(gpu, part), field) * scale})
    found = told(parse_operator(text), gpu, play=True)
    assert found is None or found.time_s >= roofline_s(parse_operator(text), gpu) * (1 - ROUNDING)


SMALL_SMS = st.fixed_dictionaries(
    {},
    optional={
        "sm__max_warps": st.sampled_from([4, 8, 16]),
        "sm__registers": st.sampled_from([64, 4096, 16384]),
        "sm__max_ctas": st.sampled_from([1, 2]),
        "sm__shared_memory_per_cta_bytes": st.sampled_from([1.0, 1024.0, 16384.0]),
        "sm__shared_memory_bytes": st.sampled_from([1.0, 1024.0, 16384.0]),
        "sm__count": st.sampled_from([1, 1000]),
    },
)


@settings(max_examples=150)
@given(st.sampled_from(GPUS), SMALL_SMS, st.one_of(operators(), any_operators(10**4)))
def test_what_no_sm_has_room_for_is_said(gpu: Gpu, changes: dict[str, Any], op: Operator) -> None:
    small = with_values(gpu, **changes)
    try:
        on_all = estimate_graph(single(op), gpu)
    except SimexploreError:
        return
    found = told(op, small, play=True)
    if found is None:
        with pytest.raises(SimexploreError, match=r"no room for a CTA|see sm\.|at most"):
            estimate_graph(single(op), small)
    else:
        assert math.isfinite(found.time_s)
    assert math.isfinite(on_all.time_s)


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_no_gemm_reads_faster_than_the_machines_file_says(gpu: Gpu) -> None:
    """Streams reach `dram.efficiency`; a kernel more than that only where its own rate was fitted on this board."""
    fitted = gpu.calibration is not None and gpu.calibration.residual is not None
    share = min(gpu.dram.efficiency * max(gpu.library.gemm.gemv.dram_rate, 1.0), 1.0) if fitted else gpu.dram.efficiency
    sizes = np.array([2048, 4096, 8192, 16384, 32768])
    op = Gemm(np.ones_like(sizes), sizes, sizes, dtype="fp16")
    rate = op.min_bytes / predict(op, gpu, Conditions(cache=COLD)).time_s
    assert np.all(rate <= gpu.dram.bandwidth_bytes_per_s * (1.0 if fitted else share) * (1 + ROUNDING))


@pytest.mark.parametrize("name", ["nvidia/l40s", "nvidia/h200-sxm", "nvidia/a100-sxm-80gb", "nvidia/rtx-3090"])
def test_what_was_learned_takes_no_row_under_the_roofline(name: str) -> None:
    gpu = load_arch(name)
    draw = np.random.default_rng(5)
    m, n, k = (np.exp(draw.uniform(0.0, math.log(20_000), 3000)).astype(np.int64) for _ in range(3))
    m[:1000] = 1
    op = Gemm(m, n, k, dtype="bf16")
    launch: Launch = "profiled" if name.endswith("3090") else "graph"
    found = predict(op, gpu, Conditions(cache=COLD, launch=launch))
    assert np.any(found.correction != 1.0)
    floor = np.array([roofline_s(Gemm(*map(int, row), dtype=op.dtype), gpu) for row in zip(m, n, k, strict=True)])
    assert np.all(found.time_s >= floor * (1 - ROUNDING))


def test_a_family_is_told_of_no_rate_above_streams(tmp_path: Path) -> None:
    """What makes up for one board's own `dram.efficiency` says nothing of other boards."""
    values = {"library.gemm.gemv.dram_rate": "1.193", "library.gemm.memory.dram_rate": "0.9", "dram.efficiency": "0.7"}
    result = Calibrated(load_arch("nvidia/l40s"), values, {}, {}, {}, np.zeros(0, dtype=np.uint64), {})
    write_family(tmp_path / "family.yaml", result, Provenance("nvidia/l40s", ("mine",), 1, 0, ""))
    text = (tmp_path / "family.yaml").read_text(encoding="utf-8")
    assert "dram_rate: 1.0\n" in text
    assert "dram_rate: 0.9\n" in text
    assert "0.7" not in text
