"""`reproduce hopper`: what follows from the machines' inputs stays within 10 % of what was published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import paper_is_told

from simexplore.archs.load import read_document
from simexplore.sim.studies.hopper import BENCHMARKS, PUBLISHED, study

FACTS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "gpus.yaml"
KEYS = {"paper", "quantity", "unit", "published", "simulated", "ratio", "status", "source"}
WITHIN = 0.10


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return study()


def test_forty_consequences_are_enforced(records: list[dict[str, Any]]) -> None:
    assert sum(record["status"] == "enforced" for record in records) >= 40
    assert all(record.keys() >= KEYS for record in records)
    assert len({record["quantity"] for record in records}) == len(records)


def test_enforced_figures_are_within_ten_percent(records: list[dict[str, Any]]) -> None:
    off = [
        f"{record['quantity']}: {record['ratio']:.3f}"
        for record in records
        if record["status"] != "known_gap" and abs(record["ratio"] - 1.0) > WITHIN
    ]
    assert off == []


def test_peaks_of_the_tensor_cores_are_inputs(records: list[dict[str, Any]]) -> None:
    """A loop of zeros over wide tiles gives back the rate in the arch file, times a clock."""
    known = {record["quantity"] for record in records if record["status"] == "input"}
    assert "wgmma m64n256 fp16, operands SS, zeros, whole chip, H100 SXM" in known
    assert all("zeros" in name or "interval" in name or "mma.sync" in name or "L40" in name for name in known)
    assert not any("random" in name or "sparse wgmma" in name for name in known)
    assert 15 < len(known) < 30


def test_known_gaps_have_a_reason_and_are_still_open(records: list[dict[str, Any]]) -> None:
    gaps = [record for record in records if record["status"] == "known_gap"]
    assert gaps
    assert all(len(record["reason"]) > 30 for record in gaps)
    closed = [record["quantity"] for record in gaps if abs(record["ratio"] - 1.0) <= WITHIN]
    assert closed == [], "closed: take known_gap off these rows of workloads/published/hopper.yaml"


def test_no_published_figure_reaches_a_benchmark() -> None:
    for group in read_document(PUBLISHED).data["figures"]:
        assert group["benchmark"] in BENCHMARKS
        assert "published" not in group.get("given", {})


def published(benchmark: str, arch: str, **wanted: object) -> Iterator[dict[str, Any]]:
    for group in read_document(PUBLISHED).data["figures"]:
        for row in group["rows"]:
            given = {**group.get("given", {}), **row}
            same = all(given.get(name, 1 if name == "rank" else False) == value for name, value in wanted.items())
            if group["benchmark"] == benchmark and group["arch"] == arch and same:
                yield given


def value(benchmark: str, arch: str, **wanted: object) -> float:
    (row,) = published(benchmark, arch, **wanted)
    return float(row["published"])


def test_figures_are_as_in_the_paper() -> None:
    """A twin of the comparison with the facts, which are not everywhere."""
    assert value("wgmma_interval", "nvidia/h800-pcie", n=32, operands="SS", sparse=False) == 24
    assert value("wgmma_rate", "nvidia/h100-sxm", dtype="fp16", operands="SS", data="random") == 901.8
    assert value("bulk_copy", "nvidia/h800-pcie", rank=1, kib=4, ctas_per_sm=4) == 1748
    assert value("dpx", "nvidia/a100-pcie-40gb", function="vimax3_s16x2_relu") == 5.41


@pytest.mark.skipif(not FACTS.exists(), reason="the facts are not beside this checkout")
def test_figures_are_those_of_the_facts() -> None:
    micro = yaml.safe_load(FACTS.read_text())["microarchitecture"]
    h800 = "nvidia/h800-pcie"
    for row in micro["tensor"]["wgmma_H800_PCIe"]["n_sweep_fp16_fp32"]:
        for operands in ("ss", "rs"):
            given = {"n": row["n"], "operands": operands.upper(), "dtype": "fp16", "sparse": False}
            assert value("wgmma_interval", h800, **given) == row[f"lat_{operands}"]
            assert value("wgmma_rate", h800, data="random", **given) == row[f"tput_{operands}_rand"]
    devices = {"H800": h800, "A100": "nvidia/a100-pcie-40gb", "RTX4090": "nvidia/rtx-4090"}
    compared = 0
    for device, arch in devices.items():
        for row in published("dpx", arch):
            assert row["published"] == pytest.approx(micro["dpx"][device][row["function"]][1])
            compared += 1
    loads = micro["tma"]["throughput_GiB_s_by_load_KB_and_CTAs_per_SM"]
    names = {1: "1D_bulk", 2: "2D_tensor", 3: "3D_tensor"}
    for row in published("bulk_copy", h800):
        assert row["published"] == loads[names[row["rank"]]][str(row["kib"])][row["ctas_per_sm"]]
        compared += 1
    assert compared > 50


def test_the_page_of_papers_tells_these_records(records: list[dict[str, Any]]) -> None:
    """Stale: `python tools/site/papers.py` writes it anew."""
    assert paper_is_told("hopper", records)
