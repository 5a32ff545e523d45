"""What the shipped calibrations must reach on rows that nothing was fitted on, and what they do not reach yet.

The errors are those that `simexplore calibrate` found and wrote beside the values (`calibration.held_out`);
`tools/calibrate-shipped` finds them again. A known gap that closes fails here until it is promoted to enforced.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.calibration import HeldOut

Status = Literal["enforced", "known_gap"]
MODULE = "graph attention_module"
QUANTIZE = f"quant_scale_matrix fp8 input_dtype=bf16 {MODULE}"


class Target(NamedTuple):
    """Largest mean absolute errors of one group on one machine."""

    arch: str
    group: str
    physics: float
    full: float
    physics_status: Status = "enforced"
    full_status: Status = "enforced"
    thirds_status: Status = "enforced"
    """Of intervals in each third by size."""


TARGETS = (
    Target("nvidia/h200-sxm", "gemm bf16 graph", 0.055, 0.04),
    Target("nvidia/h200-sxm", "gemm fp8 activation_dtype=bf16 graph", 0.10, 0.06),
    Target("nvidia/h200-sxm", f"attention_prefill bf16 {MODULE}", 0.12, 0.06),
    Target("nvidia/h200-sxm", f"attention_decode bf16 {MODULE}", 0.12, 0.08),
    Target("nvidia/h200-sxm", QUANTIZE, 0.06, 0.04, thirds_status="known_gap"),
    Target("nvidia/a100-sxm-80gb", "gemm bf16 graph", 0.07, 0.05),
    Target("nvidia/l40s", "gemm bf16 graph", 0.09, 0.06, "known_gap", "known_gap", "known_gap"),
    Target("nvidia/l40s", f"attention_prefill bf16 {MODULE}", 0.12, 0.06),
    Target("nvidia/l40s", f"attention_decode bf16 {MODULE}", 0.12, 0.08),
    Target("nvidia/l40s", QUANTIZE, 0.06, 0.04, full_status="known_gap", thirds_status="known_gap"),
    Target("nvidia/rtx-3090", "gemm bf16 profiled", 0.08, 0.05),
)


def held_out(target: Target) -> HeldOut:
    calibration = load_arch(target.arch).calibration
    assert calibration is not None
    return calibration.held_out[target.group]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.arch} {target.group}")
def test_errors_on_held_out_rows(target: Target) -> None:
    found = held_out(target)
    assert found.rows > 500
    for name, error, most, status in (
        ("physics", found.physics_mape, target.physics, target.physics_status),
        ("full", found.full_mape, target.full, target.full_status),
    ):
        reached = error <= most
        assert reached == (status == "enforced"), f"{name}: {error:.4f}, target {most}, {status}"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.arch} {target.group}")
def test_intervals_hold_four_fifths(target: Target) -> None:
    assert 0.75 <= held_out(target).coverage <= 0.85


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.arch} {target.group}")
def test_intervals_hold_four_fifths_of_each_third_by_size(target: Target) -> None:
    thirds = held_out(target).coverage_by_size
    assert len(thirds) == 3
    reached = all(0.75 <= share <= 0.85 for share in thirds)
    assert reached == (target.thirds_status == "enforced"), f"{thirds}, {target.thirds_status}"
