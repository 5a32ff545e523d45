"""Area of a die and cost of a package, by hand on a machine of round numbers."""

from __future__ import annotations

from dataclasses import replace
from math import exp, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.archs.fields import field_of, with_columns
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.hardware.die.area import Counts, gpu_area, needed, sm_area, tensor_fmas
from simexplore.sim.hardware.die.price import dies_per_wafer, good_share, gpu_price, survival
from simexplore.sim.hardware.ngpc.area import nfp_area

ROUND = Path(__file__).resolve().parents[2] / "data" / "round-silicon.yaml"
MM2 = 1e-6
SM_MM2 = 0.5 * (0.128 + 4 * 0.005 + 16 * 0.002 + 512 * 0.0005 + 2 * 0.1 + 1) + 2 * 8 * 0.36 * 0.1
"""Registers, shared memory and L1 are 0.36 MB."""
WHOLE = {
    "sms_m2": 16 * SM_MM2,
    "crossbar_m2": 16 * 0.5 * 0.2,
    "l2_m2": 3 * 8 * 2 * 0.25,
    "memory_m2": 5 * (4 + 0.5 * 2),
    "links_m2": 3 * 1.5,
    "other_m2": 0.5 * 30,
    "ngpc_m2": 0,
}


def round_silicon(**changes: str) -> Gpu:
    return load_arch(ROUND, {key.replace("__", "."): value for key, value in changes.items()})


def in_mm2(gpu: Gpu) -> dict[str, float]:
    return {part: float(value) / MM2 for part, value in vars(gpu_area(gpu)).items()}


def test_each_part_by_hand() -> None:
    gpu = round_silicon()
    assert float(sm_area(gpu.sm, gpu.its_silicon)) / MM2 == pytest.approx(SM_MM2)
    assert in_mm2(gpu) == pytest.approx(WHOLE)
    assert float(gpu_area(gpu).total_m2) / MM2 == pytest.approx(sum(WHOLE.values()))


def test_a_design_keeps_the_share_of_spare_units() -> None:
    design = round_silicon(sm__count="15", l2__capacity="5 MB", dram__bandwidth="120 GB/s")
    assert needed(design) == Counts(sms=24, l2_bytes=7.5e6, interfaces=6, links=3)
    grown = {"sms_m2": 24 / 16, "crossbar_m2": 24 / 16, "l2_m2": 7.5 / 3, "memory_m2": 6 / 5}
    assert in_mm2(design) == pytest.approx({part: grown.get(part, 1) * value for part, value in WHOLE.items()})


def test_an_sm_grows_with_what_it_holds() -> None:
    base = in_mm2(round_silicon())["sms_m2"] / 16
    larger = {"sm__shared_memory": "110 kB", "sm__registers": "62440", "sm__fma__fp32": "512 op/clk"}
    added = {"sm__shared_memory": 2 * 8 * 0.01 * 0.1, "sm__registers": 2 * 8 * 0.004 * 0.1, "sm__fma__fp32": 0.064}
    for key, value in larger.items():
        assert in_mm2(round_silicon(**{key: value}))["sms_m2"] / 16 == pytest.approx(base + added[key]), key


def test_a_tensor_core_is_as_large_as_its_fastest_type_asks() -> None:
    assert float(tensor_fmas(round_silicon().sm)) == 512
    assert float(tensor_fmas(round_silicon(sm__tensor__int8="4096 op/clk").sm)) == 1024
    assert float(tensor_fmas(round_silicon(sm__tensor__tf32="2048 op/clk").sm)) == 2048
    halved = load_arch("nvidia/rtx-4090")
    assert halved.sm.tensor_ops_per_clk["fp16"] == 512
    assert float(tensor_fmas(halved.sm)) == 512, "sold at half the rate, the core is whole"


def test_a_cluster_lies_on_the_die() -> None:
    with_cluster, alone = load_arch("ngpc/rtx-3090-ngpc-16"), load_arch("nvidia/rtx-3090")
    assert with_cluster.ngpc is not None
    added = gpu_area(with_cluster).total_m2 - gpu_area(alone).total_m2
    assert added == pytest.approx(16 * nfp_area(with_cluster.ngpc).total_m2)


def test_arrays_are_as_their_points() -> None:
    gpu = round_silicon()
    counts, capacities = np.array([10.0, 16.0, 33.0]), np.array([2e6, 1e6, 9e6])
    both = {field_of("sm.count", gpu): counts, field_of("l2.capacity", gpu): capacities}
    wide = with_columns(gpu, both)
    assert isinstance(wide, Gpu)
    for index, (count, capacity) in enumerate(zip(counts, capacities, strict=True)):
        alone = round_silicon(sm__count=f"{count:.0f}", l2__capacity=f"{capacity:.0f} B")
        assert np.asarray(gpu_area(wide).total_m2)[index] == pytest.approx(gpu_area(alone).total_m2)
        assert np.asarray(gpu_price(wide).total_usd)[index] == pytest.approx(gpu_price(alone).total_usd)


def test_a_die_that_is_not_known() -> None:
    with pytest.raises(SimexploreError, match="NVIDIA B200 has no known die, so neither area nor cost"):
        gpu_area(load_arch("nvidia/b200"))


def test_no_more_is_shipped_than_there_is() -> None:
    with pytest.raises(SimexploreError, match=r"shipped.sms: expected at most silicon.die.sms, 16, found 17"):
        round_silicon(silicon__shipped__sms="17")
    with pytest.raises(SimexploreError, match=r"shipped.l2: expected at most silicon.die.l2, 3 MB, found 4 MB"):
        round_silicon(silicon__shipped__l2="4 MB")


def test_the_silicon_changes_no_kernel() -> None:
    assert (
        round_silicon().values_of_the_kernels() == load_arch(ROUND.with_name("round-gpu.yaml")).values_of_the_kernels()
    )


def test_dies_per_wafer_by_hand() -> None:
    """A wafer of 300 mm and dies of 100 mm2: 706.9 by area, less 66.6 at the edge."""
    assert dies_per_wafer(1e-4, 0.3) == pytest.approx(pi * 22500 / 100 - pi * 300 / sqrt(200))
    assert dies_per_wafer(1e-4, 0.3) == pytest.approx(640.2, abs=0.1)


def test_survival_by_hand() -> None:
    assert survival(0.5, 0) == pytest.approx(exp(-0.5))
    assert survival(0.5, 2) == pytest.approx(exp(-0.5) * (1 + 0.5 + 0.125))
    assert np.asarray(survival(np.array([0.5, 2.0]), np.array([2, 1]))) == pytest.approx(
        [exp(-0.5) * 1.625, exp(-2) * 3]
    )


@given(defects=st.floats(0, 20), spare=st.integers(0, 30))
def test_spares_only_help(defects: float, spare: int) -> None:
    few, more = survival(defects, spare), survival(defects, spare + 1)
    assert 0 <= few <= more <= 1 + 1e-12


def test_cost_by_hand() -> None:
    """Six SMs, a slice of the L2 (of five that are three MB, two MB remain) and an interface may be bad."""
    price = gpu_price(round_silicon())
    defects = {part: value / 100 for part, value in WHOLE.items()}
    good = survival(defects["sms_m2"], 6) * survival(defects["l2_m2"], 1) * survival(defects["memory_m2"], 1)
    good *= exp(-(defects["crossbar_m2"] + defects["links_m2"] + defects["other_m2"]))
    area = sum(WHOLE.values())
    dies = pi * 2500 / area - pi * 100 / sqrt(2 * area)
    assert price.good_share == pytest.approx(good)
    assert price.die_usd == pytest.approx(1000 / (dies * good))
    assert price.memory_usd == pytest.approx(30)
    assert price.package_usd == 7
    assert price.total_usd == pytest.approx(1000 / (dies * good) + 37)


def test_a_share_of_an_sm_is_no_spare() -> None:
    """Eleven SMs of 17.6: six to spare, on which some four defects fall."""
    gpu = round_silicon(sm__count="11", silicon__node__area_per_defect="5 mm2")
    area = gpu_area(gpu)
    others = good_share(gpu, area, replace(needed(gpu), sms=100.0))  # as good as all of them spare
    assert good_share(gpu, area, needed(gpu)) / others == pytest.approx(survival(17.6 * SM_MM2 / 5, 6))


def test_a_die_as_large_as_a_wafer_has_no_price() -> None:
    assert gpu_price(round_silicon(sm__count="5000")).total_usd == np.inf
