"""A sweep ready to be evaluated anywhere: plain values that go to worker processes as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

from simexplore.archs.fields import Machine, field_of
from simexplore.archs.merge import Layer
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Launch
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.evaluation.work import Workload
from simexplore.sim.explore.spec.axes import Axis
from simexplore.sim.explore.spec.expression import Amount, Condition, Expression, Powers, powers_of
from simexplore.sim.explore.spec.machine import made_of
from simexplore.sim.explore.spec.made import MADE
from simexplore.sim.explore.table import Column, Direction, interval_name
from simexplore.sim.serve.question import FIGURES, HIGHEST, Question

Fidelity = Literal["estimate", "execute"]

UNITS = {"time_s": "s", "energy_j": "J", "power_w": "W", "peak_memory_bytes": "B", "tokens_per_s": "1/s"}
"""What every sweep measures, in SI units; tokens where a workload has any."""
ENDS = ("low", "high")
"""Of an interval."""
BEST: Mapping[str, Direction] = {"tokens_per_s": "max", **{name: figure.best for name, figure in FIGURES.items()}}
"""Which way is better, where it is not less; more of a utilisation is better too."""


@dataclass(frozen=True)
class Definition:
    """A column of the user's own."""

    name: str
    expression: Expression
    unit: str
    scale: float
    """The column's unit in SI: values are divided by it."""
    powers: Powers


@dataclass(frozen=True)
class Problem:
    """What to evaluate, and what to make of it."""

    arch: str
    """A machine's name, or the absolute path of its file: where `layer` was read from, never read again."""
    layer: Layer
    """The machine's data, all files merged, without the learned correction, which its lenders have."""
    lenders: tuple[Gpu, ...]
    """The machines whose learned corrections serve the variants, as they were when their files were read."""
    workloads: tuple[Workload, ...]
    axes: tuple[Axis, ...]
    """Those that the sampler chooses first, then expressions, each behind those that it needs."""
    definitions: tuple[Definition, ...]
    made: tuple[str, ...]
    """Which of `MADE` the sweep asks for."""
    constraints: tuple[Condition, ...]
    objectives: Mapping[str, Direction]
    fidelity: Fidelity
    launch: Launch
    allow_overflow: bool
    has_tokens: bool
    question: Question | None = None
    """What is served on each machine, instead of workloads."""

    def __getstate__(self) -> dict[str, Any]:
        """Workers get what the sweep's file says, and make of it themselves what is remembered here."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def machine(self) -> Machine:
        """The machine that axes vary."""
        return made_of(self.layer, self.lenders)

    @property
    def free(self) -> tuple[Axis, ...]:
        """The axes that the sampler chooses."""
        return tuple(axis for axis in self.axes if axis.expression is None)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns of the table in order."""
        found = [axis.column for axis in self.axes]
        if self.question is None:
            for prefix in self.prefixes:
                found += self._metrics(prefix)
        found += [self._column(name, FIGURES[name].unit) for name in self.figures]
        found += [self._column(name, MADE[name].unit) for name in self.made]
        for definition in self.definitions:
            found.append(self._column(definition.name, definition.unit))
        found += [Column(constraint.column, "constraint", "1", "bool") for constraint in self.constraints]
        units = {column.name: column.unit for column in found}
        found += [Column(interval_name(name, end), "interval", units[name]) for name in self.timed for end in ENDS]
        found.append(Column("feasible", "feasible", "1", "bool"))
        return tuple(found)

    @cached_property
    def asked(self) -> frozenset[str]:
        """All names that objectives, constraints and definitions speak of."""
        expressions = [definition.expression.names for definition in self.definitions]
        return frozenset(self.objectives).union(*expressions, *(each.names for each in self.constraints))

    @property
    def figures(self) -> tuple[str, ...]:
        """Of what is served; the highest rate, which takes a search, only where it is asked for."""
        if self.question is None:
            return ()
        return tuple(name for name in FIGURES if name != HIGHEST or name in self.asked)

    @property
    def together(self) -> int | None:
        """Points in a row of a grid that serve on one machine, whose steps they share; None: points are cheap."""
        if self.question is None:
            return None
        points = 1
        for axis in reversed(self.free):
            if axis.target.field is not None:
                break
            points *= len(axis.levels or (None,))
        return points

    @cached_property
    def timed(self) -> tuple[str, ...]:
        """Objectives that follow from times, which themselves have intervals: theirs follow too."""
        times = {f"{prefix}time_s" for prefix in self.prefixes}
        following = {f"{prefix}tokens_per_s" for prefix in self.prefixes}
        for definition in self.definitions:
            if definition.expression.names & (times | following):
                following.add(definition.name)
        return tuple(name for name in self.objectives if name in following)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the names of results begin with: nothing for those of all workloads, else the workload."""
        return ("", *(f"{workload.name}." for workload in self.workloads if len(self.workloads) > 1))

    def _metrics(self, prefix: str) -> list[Column]:
        names = [name for name in UNITS if name != "tokens_per_s" or self.has_tokens]
        found = [self._column(prefix + name, UNITS[name]) for name in names]
        found += [self._column(f"{prefix}utilization.{name}", "1") for name in RESOURCES]
        found += [Column(interval_name(f"{prefix}time_s", end), "interval", "s") for end in ENDS]
        return [*found, Column(f"{prefix}bound", "bound", "text", "text", BOUNDS)]

    def _column(self, name: str, unit: str) -> Column:
        if name in self.objectives:
            return Column(name, "objective", unit, direction=self.objectives[name])
        return Column(name, "metric", unit)

    def amount(self, name: str) -> Amount:
        """The machine's own value of a path, with its unit."""
        field = field_of(name, self.machine)
        return Amount(float(field.read(self.machine)), powers_of(field.unit))


def metric_units(workloads: tuple[Workload, ...], has_tokens: bool) -> dict[str, str]:
    """Every result's name and unit, before definitions."""
    prefixes = ["", *(f"{workload.name}." for workload in workloads if len(workloads) > 1)]
    found: dict[str, str] = {}
    for prefix in prefixes:
        found |= {f"{prefix}{name}": unit for name, unit in UNITS.items() if name != "tokens_per_s" or has_tokens}
        found |= {f"{prefix}utilization.{name}": "1" for name in RESOURCES}
    return found
