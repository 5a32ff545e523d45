"""Areas of NVIDIA's dies as published, beside what the parts of `silicon:` add up to.

A die that no machine has stands in `workloads/published/area.yaml` with its counts and a machine that has its SMs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.sim.hardware.die.area import Counts, die_area
from simexplore.sim.studies import record_of

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "area.yaml"
MIB = 2.0**20
MM2 = 1e-6


def study() -> list[dict[str, Any]]:
    """A record for each die; its status `input` says that its area, or its floor plan, set a number of the model."""
    table = read_document(PUBLISHED).data
    return [_record(table, figure) for figure in table["figures"]]


def counts_of(figure: dict[str, Any]) -> Counts:
    """What a die of the table has: its own counts, or those of its machine's die."""
    if "counts" not in figure:
        return Counts.of(load_arch(figure["arch"]).its_silicon.die)
    given = figure["counts"]
    return Counts(given["sms"], given["l2_mib"] * MIB, given["interfaces"], given.get("links", 0))


def _record(table: dict[str, Any], figure: dict[str, Any]) -> dict[str, Any]:
    gpu = load_arch(figure["arch"])
    area_mm2 = float(die_area(gpu.sm, gpu.its_silicon, counts_of(figure)).total_m2) / MM2
    return record_of(table, figure, area_mm2, quantity=figure["die"], unit="mm2")
