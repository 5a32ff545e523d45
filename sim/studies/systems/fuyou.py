"""Fuyou (Liao et al., arXiv:2403.06504): training steps that stream states from drives, beside ZeRO-Infinity's.

Each figure is a step played in events on the paper's machine with as many drives as it says. What of the activations
leaves the GPU is planned as the paper does: by benefit, as much as makes the step shortest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import read_document
from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import load_machine
from simexplore.sim.estimate.host.limits import planned
from simexplore.sim.play.execute import execute
from simexplore.sim.studies import record_of
from simexplore.workloads.families.offloaded.gpt import Model
from simexplore.workloads.families.offloaded.schedule import FUYOU, SCHEDULES, step

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "systems" / "fuyou.yaml"
TERA = 1e12


def study() -> list[dict[str, Any]]:
    """A record for each published rate [TFLOP/s]; `input` are the two that set a constant of the array."""
    table = read_document(PUBLISHED).data
    known: dict[tuple[Any, ...], float] = {}
    records = []
    for figure in table["figures"]:
        key = (figure["system"], figure["model"], figure["batch"], figure["drives"])
        if key not in known:
            known[key] = tera_flops(table, figure)
        records.append(record_of(table, figure, known[key], unit="TFLOP/s"))
    return records


def tera_flops(table: dict[str, Any], figure: dict[str, Any]) -> float:
    """The rate of a figure's step [TFLOP/s], six operations a parameter and token."""
    system = load_machine(table["arch"], {"devices.ssd.count": str(figure["drives"])})
    assert isinstance(system, System)
    schedule = SCHEDULES[figure["system"]]
    model = Model(**table["models"][figure["model"]], batch=figure["batch"], swapped=0)
    if schedule is FUYOU:
        model = planned(model, schedule, system)
    return model.nominal_flops / execute(step(model, schedule), system).time_s / TERA
