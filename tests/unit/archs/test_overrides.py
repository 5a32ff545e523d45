"""`--set key=value`: the same conversions and the same quality of errors as in a file."""

from __future__ import annotations

import pytest

from simexplore.archs.load import load_arch, resolved
from simexplore.errors import SimexploreError

BASE = "nvidia/h200-sxm"


def _error(key: str, value: str) -> str:
    with pytest.raises(SimexploreError) as caught:
        load_arch(BASE, {key: value})
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_sets_a_quantity_a_count_a_share_and_a_text() -> None:
    gpu = load_arch(BASE, {"l2.capacity": "36 MiB", "sm.count": "96", "dram.efficiency": "0.5", "name": "Half an H200"})
    assert gpu.l2.capacity_bytes == 36 * 1024**2
    assert gpu.sm.count == 96
    assert gpu.dram.efficiency == 0.5
    assert gpu.name == "Half an H200"


def test_reaches_into_dictionaries_and_adds_to_them() -> None:
    gpu = load_arch(
        BASE,
        {"sm.tensor.bf16": "2048 op/clk", "sm.tensor.fp4": "16384 op/clk", "energy.tensor.fp4": "0.13 pJ/op"},
    )
    assert gpu.sm.tensor_ops_per_clk["bf16"] == 2048
    assert gpu.sm.tensor_ops_per_clk["fp4"] == 16384
    assert gpu.sm.tensor_ops_per_clk["fp8"] == load_arch(BASE).sm.tensor_ops_per_clk["fp8"]


def test_reaches_into_lists() -> None:
    gpu = load_arch(BASE, {"library.gemm.split.counts.0": "5"})
    assert gpu.library.gemm.split.counts[0] == 5
    assert gpu.library.gemm.split.counts[1:] == load_arch(BASE).library.gemm.split.counts[1:]


def test_replaces_a_list_and_makes_a_mapping() -> None:
    gpu = load_arch(
        "nvidia/l40s", {"library.gemm.split.counts": "[1, 2]", "links.nvlink": "{bandwidth: 1 GB/s, latency: 1 us}"}
    )
    assert gpu.library.gemm.split.counts == (1, 2)
    assert gpu.links.nvlink is not None
    assert gpu.links.nvlink.bandwidth_bytes_per_s == 1e9


def test_makes_an_absent_part_key_by_key() -> None:
    gpu = load_arch("nvidia/l40s", {"links.nvlink.bandwidth": "50 GB/s", "links.nvlink.latency": "1 us"})
    assert gpu.links.nvlink is not None
    assert gpu.links.nvlink.latency_s == 1e-6


@pytest.mark.parametrize("nothing", ["null", "~", ""])
def test_null_takes_an_optional_key_away(nothing: str) -> None:
    assert load_arch(BASE, {"links.nvlink": nothing}).links.nvlink is None


def test_leaves_the_base_alone() -> None:
    before = resolved(BASE)
    load_arch(BASE, {"l2.capacity": "1 MiB", "sm.tensor.bf16": "1 op/clk"})
    assert resolved(BASE) == before


def test_later_overrides_see_earlier_ones() -> None:
    gpu = load_arch(BASE, {"clock.base": "1 GHz", "clock.boost": "1.2 GHz"})
    assert gpu.clock.boost_hz == 1.2e9


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("l2.capacity", "36", "--set l2.capacity: expected a size such as '50 MiB', found 36 (no unit)"),
        ("l2.capacity", "36 GB/s", "--set l2.capacity: expected a size such as '50 MiB', found '36 GB/s' (a"),
        ("l2.capacity", "-1 B", "--set l2.capacity: expected a size such as '50 MiB', found '-1 B' (negative)"),
        ("l2.capacity", "null", "--set l2.capacity: expected a size such as '50 MiB', found nothing"),
        ("sm.count", "12:30", "--set sm.count: expected a whole number, found '12:30'"),
        ("sm.count", "1.5", "--set sm.count: expected a whole number, found 1.5"),
        ("sm.count", "'96'", "--set sm.count: expected a whole number, found '96'"),
        ("compute_capability", "9.0", "--set compute_capability: expected text (in quotes if"),
        ("l2.capacity.near", "1 B", "--set l2.capacity.near: expected a path to a value, found that l2.cap"),
        ("l2..capacity", "1 B", "--set l2..capacity: expected a dotted path such as 'l2.capacity', found 'l2.."),
        ("", "1 B", "--set : expected a dotted path such as 'l2.capacity', found ''"),
        ("l2.capacity", "[", None),
        ("l2.capacity", "*a", "--set l2.capacity: expected plain YAML without anchors and aliases, found '*a'"),
        ("library.gemm.split.counts.99", "1", None),
        ("library.gemm.split.counts.x", "1", None),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_name_the_override(key: str, value: str, message: str | None) -> None:
    assert _error(key, value).startswith(message or f"--set {key}: expected ")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("l2.capasity", "capacity"),
        ("l2x.capacity", "l2"),
        ("boost", "clock.boost"),
        ("sm.tensor.bf61", "bf16"),
        ("l2.capacity_bytes", "capacity"),
        ("clock.bosot", "boost"),
    ],
)
def test_unknown_paths_suggest_the_nearest(key: str, near: str) -> None:
    message = _error(key, "1 GHz")
    assert message.startswith("--set ")
    assert f"(did you mean '{near}'?)" in message


def test_an_override_that_breaks_a_bound_says_which() -> None:
    message = _error("l2.near_latency", "9999 clk")
    assert message.startswith("--set l2.near_latency: expected at most l2.far_latency, '")
    assert message.endswith("', found '9999 clk'")
