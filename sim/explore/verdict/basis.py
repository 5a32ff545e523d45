"""What a verdict stands on beside a sweep's points: found once, when the sweep ends, and kept in its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.sim.explore.spec.problem import Problem
from simexplore.sim.explore.table import Direction
from simexplore.sim.explore.verdict.apart import Doubt, Losses, losses_of
from simexplore.sim.explore.verdict.asides import Aside, Beside, Setting, at_work, setting_of, usual_work
from simexplore.sim.explore.verdict.designs import Named, chosen
from simexplore.sim.serve.question import POWERED

WITH_POWER = ("energy_j", "power_w")
"""Results that err by the power beside the time."""
KEY = "verdict, layout 1"
"""Under which a store keeps it; what another layout has kept is not read."""


@dataclass(frozen=True)
class Basis:
    """Machines beside a sweep's points, and the work that all are compared at."""

    work: Setting
    """Of axes that change the work: which of their values is judged."""
    doubt: Doubt
    today: Aside
    """Today's machine."""
    changes: tuple[Aside, ...]
    """Machines one change away from it and from each design, as `Beside.changes` tells them."""

    def to_json(self) -> dict[str, Any]:
        """Plain data from which `from_json` makes it."""
        changes = [aside.to_json() for aside in self.changes]
        doubt = {"spread": self.doubt.spread, "powered": sorted(self.doubt.powered)}
        return {"work": dict(self.work), "doubt": doubt, "today": self.today.to_json(), "changes": changes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Basis:
        """What `to_json` has made."""
        changes = tuple(Aside.from_json(aside) for aside in data["changes"])
        doubt = Doubt(data["doubt"]["spread"], frozenset(data["doubt"]["powered"]))
        return cls(data["work"], doubt, Aside.from_json(data["today"]), changes)


def basis_of(problem: Problem, table: pd.DataFrame) -> Basis | None:
    """What the verdict on a finished sweep stands on; None where there is nothing to judge.

    Args:
        problem: the sweep's.
        table: `Store.results()`.
    """
    work = usual_work(problem, table)
    if work is None or not any(axis.target.field for axis in problem.axes):
        return None
    beside, doubt = Beside(problem, work), doubt_of(problem)
    today = beside.today()
    if today.error:
        return Basis(work, doubt, today, ())
    points = at_work(table, work)
    named = compared(points, problem.objectives, doubt, today)
    settings = {int(points["point"][name.row]): setting_of(problem, points.iloc[name.row]) for name in named.designs}
    return Basis(work, doubt, today, tuple(beside.changes(settings)))


def doubt_of(problem: Problem) -> Doubt:
    """What the sweep's energies err by, and which of its columns follow from them."""
    powered = {f"{prefix}{name}" for prefix in problem.prefixes for name in (*WITH_POWER, *POWERED)}
    for definition in problem.definitions:  # each may use those before it
        if definition.expression.names & powered:
            powered.add(definition.name)
    machine = problem.machine
    gpu = machine.place().gpu if isinstance(machine, System) else cast(Gpu, machine)
    return Doubt(gpu.energy.spread, frozenset(powered))


@dataclass(frozen=True)
class Compared:
    """Points beside today's machine."""

    objectives: Mapping[str, Direction]
    """Those that can be compared by shares: above zero everywhere."""
    points: Losses
    """The points, and last today's machine."""
    designs: tuple[Named, ...]
    """Rows of `points`."""


def compared(points: pd.DataFrame, objectives: Mapping[str, Direction], doubt: Doubt, today: Aside) -> Compared:
    """Points and today's machine by their objectives, and the designs that stand for them."""
    every = pd.concat([points, pd.DataFrame([today.values])], ignore_index=True)
    known = {name: way for name, way in objectives.items() if bool(np.all(every[name] > 0.0))}
    if not known:
        return Compared({}, Losses(np.zeros((len(every), 0)), np.zeros((len(every), 0))), ())
    losses = losses_of(every, known, doubt)
    return Compared(known, losses, tuple(chosen(losses, today=len(points))))
