"""What holds for every machine that comes along: it loads, its peaks are the vendor's, each number is cited."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from simexplore.archs import units
from simexplore.archs.json_schema import json_schema
from simexplore.archs.load import HERE, arch_path, list_archs, load_arch, read_document, resolve, resolved
from simexplore.archs.merge import leaf_paths
from simexplore.archs.provenance import WORDS, own_keys, warnings
from simexplore.archs.schema import quantities
from simexplore.archs.schema.gpu import Gpu

FACTS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "gpus.yaml"
NAMES = {
    "a100-pcie-40gb": "a100_pcie_40",
    "a100-pcie-80gb": "a100_pcie_80",
    "a100-sxm-80gb": "a100_sxm_80",
    "a40": "a40",
    "b200": "b200",
    "h100-pcie": "h100_pcie",
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "h800-pcie": "h800_pcie",
    "jetson-agx-orin-64gb": "orin_agx_64",
    "l4": "l4",
    "l40s": "l40s",
    "rtx-3060-12gb": "rtx3060_12gb",
    "rtx-3070": "rtx3070",
    "rtx-3090": "rtx3090",
    "rtx-4070": "rtx4070",
    "rtx-4090": "rtx4090",
    "rtx-pro-6000": "rtx_pro_6000_server",
    "t4": "t4",
    "v100-sxm": "v100_sxm2_32",
}
ARCHS = list_archs()
PARTS = sorted(HERE.glob("*/*/parts/*.yaml"))
WITH_DATASHEET = [name for name in ARCHS if not name.startswith("cpu/")]
"""A CPU driver has no vendor who prints its peaks."""


def test_the_machines_of_the_readme_are_there() -> None:
    assert {f"nvidia/{name}" for name in NAMES} <= set(ARCHS)


@pytest.mark.parametrize("name", WITH_DATASHEET)
def test_derived_peaks_are_within_one_percent_of_the_datasheet(name: str) -> None:
    gpu = load_arch(name)
    sheet = gpu.datasheet
    assert sheet is not None
    assert sheet.tensor_ops_per_s, "a datasheet without a tensor peak compares nothing"
    for dtype, printed in sheet.tensor_ops_per_s.items():
        assert gpu.tensor_peak_ops_per_s(dtype) == pytest.approx(printed, rel=0.01), dtype
    for dtype, printed in sheet.fma_ops_per_s.items():
        assert gpu.fma_peak_ops_per_s(dtype) == pytest.approx(printed, rel=0.01), dtype
    assert sheet.dram_bandwidth_bytes_per_s == pytest.approx(gpu.dram.bandwidth_bytes_per_s, rel=0.01)


@pytest.mark.parametrize("name", ARCHS)
def test_every_number_has_a_source(name: str) -> None:
    gpu = load_arch(name)
    keys = [".".join(map(str, path)) for path in leaf_paths(resolved(name)) if path[0] not in WORDS]
    assert len(keys) > 40
    assert [key for key in keys if gpu.source_of(key) is None] == []
    for variant in (name, f"{name}@facts"):
        assert own_keys(resolve(variant)) == {}, "its citation is of another file's value"
        assert warnings(resolve(variant)) == []


@pytest.mark.parametrize("name", ARCHS)
def test_every_source_covers_a_key_and_says_something(name: str) -> None:
    keys = [".".join(map(str, path)) for path in leaf_paths(resolved(name)) if path[0] != "sources"]
    for prefix, citation in load_arch(name).sources.items():
        assert any(key == prefix or key.startswith(prefix + ".") for key in keys), prefix
        assert len(citation) > 10, prefix
        assert not re.search(r"± [\d.]+e", citation), f"{prefix}: per cent are written out"


def test_a_number_without_a_source_is_found() -> None:
    set_out = {"sources": "{l2.capacity: somewhere}"}
    gpu = load_arch("nvidia/h200-sxm", set_out)
    assert gpu.source_of("l2.capacity") == "somewhere"
    assert (gpu.source_of("l2.bandwidth") or "").startswith("own value, h200-sxm.yaml:")
    assert {"l2.bandwidth", "sm.count"} < set(own_keys(resolve("nvidia/h200-sxm", set_out)))


@pytest.mark.parametrize("name", ARCHS)
def test_files_and_what_they_resolve_to_follow_the_json_schema(name: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(resolved(name))
    validator.validate(read_document(arch_path(name)).data)


@pytest.mark.parametrize("path", PARTS, ids=lambda path: f"{path.parents[1].name}/{path.name}")
def test_families_follow_the_json_schema(path: Path) -> None:
    data = read_document(path).data
    jsonschema.Draft202012Validator(json_schema()).validate(data)
    if not data.get("abstract"):  # a machine's facts, which its calibration extends
        assert load_arch(path).sources


@pytest.mark.parametrize(
    "damage",
    [
        {"l2": {"capacity": 50}},
        {"l2": {"capacity": "50 GB/s"}},
        {"l2": {"capasity": "50 MiB"}},
        {"sm": {"count": "132"}},
        {"sm": {"tensor": {"bf61": "1 op/clk"}}},
        {"kind": "cpu"},
        {"clock": {"boost": "-1 GHz"}},
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(damage: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid({"extends": "nvidia/h200-sxm", **damage})
    assert validator.is_valid({"extends": "nvidia/h200-sxm"})
    assert not validator.is_valid({"kind": "gpu"})


def test_every_field_has_a_description_and_a_unit() -> None:
    seen = set()

    def visit(model: type[quantities.Spec]) -> None:
        seen.add(model)
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            assert extra["unit"], f"{model.__name__}.{name}"
            for quantity in (part for part in field.metadata if isinstance(part, quantities.Quantity)):
                assert extra["unit"] == quantity.dimension.si, f"{model.__name__}.{name}"
            if isinstance(field.annotation, type) and issubclass(field.annotation, quantities.Spec):
                visit(field.annotation)

    visit(Gpu)
    assert len(seen) > 8


@pytest.mark.parametrize("name", ARCHS)
def test_energies_and_latencies_are_in_the_range_of_silicon(name: str) -> None:
    gpu = load_arch(name)
    assert all(0.05e-12 < joules < 5e-12 for joules in gpu.energy.tensor_j_per_op.values())
    assert gpu.energy.shared_j_per_byte < gpu.energy.l2_j_per_byte < gpu.energy.dram_j_per_byte
    assert gpu.sm.latency.shared_cycles < gpu.l2.near_latency_cycles < gpu.dram_latency_cycles
    achieved = gpu.dram.bandwidth_bytes_per_s * gpu.dram.efficiency
    busy_w = gpu.power.idle_w + achieved * gpu.energy.dram_j_per_byte
    assert busy_w < gpu.power.tdp_w


def test_traps() -> None:
    """GeForce halves FP32 accumulate; the L40S has all of its L2; the 80 GB A100 has no more L2 than the 40 GB one."""
    assert load_arch("nvidia/rtx-4090").sm.tensor_ops_per_clk["bf16"] == 512
    assert load_arch("nvidia/rtx-3090").sm.tensor_ops_per_clk["fp16"] == 512
    assert load_arch("nvidia/l40s").sm.tensor_ops_per_clk["bf16"] == 1024
    assert load_arch("nvidia/a40").sm.tensor_ops_per_clk["bf16"] == 1024
    assert load_arch("nvidia/l40s").l2.capacity_bytes == 96 * 1024**2
    assert load_arch("nvidia/a100-pcie-80gb").l2.capacity_bytes == 40 * 1024**2
    assert set(load_arch("nvidia/v100-sxm").sm.tensor_ops_per_clk) == {"fp16"}
    assert "fp8" not in load_arch("nvidia/a100-sxm-80gb").sm.tensor_ops_per_clk


@pytest.mark.skipif(not FACTS.exists(), reason="the facts are not beside this checkout")
@pytest.mark.parametrize(("name", "fact"), NAMES.items())
def test_counts_clocks_and_memories_are_those_of_the_facts(name: str, fact: str) -> None:
    facts = yaml.safe_load(FACTS.read_text())
    known, gpu = facts["gpus"][fact], load_arch(f"nvidia/{name}")
    assert gpu.chip == known["chip"]
    assert gpu.compute_capability == known["compute_capability"]
    assert gpu.sm.count == known["sm_count"]
    assert gpu.clock.boost_hz == pytest.approx(known["boost_clock_mhz"] * 1e6)
    assert (gpu.clock.base_hz or 0) == pytest.approx((known["base_clock_mhz"] or 0) * 1e6)
    assert gpu.l2.capacity_bytes == known["l2_mb"] * 1024**2
    assert gpu.dram.bandwidth_bytes_per_s == pytest.approx(known["memory"]["bandwidth_gb_s"] * 1e9)
    assert gpu.dram.capacity_bytes == pytest.approx(known["memory"]["size_gb"] * 1e9, rel=0.08)
    assert gpu.dram.technology == known["memory"]["type"]
    assert gpu.power.tdp_w == known["tdp_w"]
    limits = facts["sm_limits_by_cc"][known.get("sm_limits", "8.9")]
    sm = gpu.sm
    assert sm.max_warps == limits["max_warps"]
    assert sm.max_ctas == limits["max_ctas"]
    assert sm.shared_memory_bytes == limits["max_shared_kib"] * 1024
    assert sm.shared_memory_per_cta_bytes == limits["max_shared_per_block_optin_kib"] * 1024
    assert sm.registers == limits["registers_32bit"]


def test_resolved_quantities_are_as_written() -> None:
    assert resolved("nvidia/h200-sxm")["l2"]["capacity"] == "50 MiB"
    assert units.parse(resolved("nvidia/h200-sxm")["dram"]["bandwidth"], units.BYTES_PER_SECOND) == 4.8e12
