"""From points to results: machines and workloads of a whole chunk of points at once.

Points whose machines differ in numbers only make one call of the physics for each kind of operator; each distinct
operator on each distinct machine is timed once in a chunk, however many points and layers ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from simexplore.archs.fields import with_columns
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.cost import Cost
from simexplore.sim.estimate.op_run import time_interval
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.evaluation.frames import add_frame
from simexplore.sim.explore.evaluation.groups import Group, Grouping, distinct
from simexplore.sim.explore.evaluation.replay import Player
from simexplore.sim.explore.evaluation.rows import Lessons, Machines, Work, costs, evaluate
from simexplore.sim.explore.evaluation.serving import Server
from simexplore.sim.explore.evaluation.systems import add_system
from simexplore.sim.explore.evaluation.totals import Totals, chain_totals, spreads, tabulate
from simexplore.sim.explore.evaluation.work import Variant, Workload, variant_of
from simexplore.sim.explore.spec.axes import Axis
from simexplore.sim.explore.spec.expression import Amount, powers_of
from simexplore.sim.explore.spec.made import MADE
from simexplore.sim.explore.spec.problem import ENDS, Problem
from simexplore.sim.explore.store import Chunk
from simexplore.sim.explore.table import FloatArray, Index, distinct_rows, interval_name
from simexplore.sim.hardware.power import board_of
from simexplore.sim.play.execute import execute

BLOCK_POINTS = 4096
"""Points evaluated together: enough to share work, few enough for their rows to fit in memory."""
NO_KERNEL = "no kernel of the libraries fits this machine"
TOO_LONG = "it takes longer than a number can say: rates of the machine, or sizes, are out of all proportion"
NUMBERS = ("float", "int")
_REMEMBERED = 4096


@dataclass
class Evaluator:
    """Evaluates chunks of one problem and remembers machines and workloads between them."""

    problem: Problem
    rows: int = 0
    """Operators timed so far, each on one machine."""
    player: Player = field(default_factory=Player)
    _variants: dict[tuple[Any, ...], Variant | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._grouping, self._server = Grouping(self.problem), Server(self.problem)
        machine = self.problem.machine
        self._lessons = Lessons(machine.place().gpu if isinstance(machine, System) else cast(Gpu, machine))

    def evaluate(self, first: int, u: FloatArray) -> Chunk:
        """Points first … with coordinates u of shape (points, free axes)."""
        blocks = [self._block(u[start : start + BLOCK_POINTS]) for start in range(0, len(u), BLOCK_POINTS)]
        failures = {
            first + index * BLOCK_POINTS + point: error
            for index, (_, errors) in enumerate(blocks)
            for point, error in sorted(errors.items())
        }
        return Chunk(first, np.concatenate([values for values, _ in blocks], axis=1), failures)

    def _block(self, u: FloatArray) -> tuple[FloatArray, dict[int, str]]:
        problem = self.problem
        table = self._inputs(u)
        errors: dict[int, str] = {}
        groups = list(self._grouping.groups(table, len(u), errors))
        if problem.question is None:
            self._add_workloads(groups, table, len(u), errors)
        else:
            self._server.add(groups, table, len(u), errors)
        self._make(table, groups, len(u))
        self._define(table, len(u))
        for name in problem.objectives:
            found = np.broadcast_to(table[name], (len(u),))
            for point in np.flatnonzero(~np.isfinite(found)):
                errors.setdefault(int(point), f"expected a finite {name}, found {found[point]:g}")
        values = np.stack([np.broadcast_to(table[column.name], (len(u),)) for column in problem.columns])
        inputs = [column.role in ("axis", "derived") for column in problem.columns]
        values[np.ix_(~np.array(inputs), np.array(list(errors), dtype=np.int64))] = np.nan
        return values, errors

    def _add_workloads(
        self, groups: Sequence[Group], table: dict[str, FloatArray], points: int, errors: dict[int, str]
    ) -> None:
        """What workloads cost, each and all by weight."""
        workloads = self.problem.workloads
        each = [Totals.empty(points) for _ in workloads]
        for group in groups:
            for workload, totals in zip(workloads, each, strict=True):
                self._add_workload(group, workload, table, totals, errors)
        everything = Totals.empty(points)
        for workload, totals in zip(workloads, each, strict=True):
            everything.add(totals, workload.weight)
            if len(each) > 1:
                tabulate(table, f"{workload.name}.", totals)
        tabulate(table, "", everything)
        self._check_memory(table, errors)
        for point in np.flatnonzero(~np.isfinite(everything.time_s)):
            errors.setdefault(int(point), TOO_LONG if np.isnan(everything.time_s[point]) else NO_KERNEL)

    def _inputs(self, u: FloatArray) -> dict[str, FloatArray]:
        """Values of all axes."""
        table: dict[str, FloatArray] = {}
        free = iter(u.T)
        for axis in self.problem.axes:
            if axis.expression is None:
                table[axis.path] = axis.place(next(free))
                continue
            value = axis.expression.evaluate(self._amounts(axis.expression.names, table)).value
            full = np.broadcast_to(np.asarray(value, dtype=np.float64), (len(u),))
            table[axis.path] = np.rint(full) if axis.target.kind == "int" else full
        return table

    def _amounts(self, names: frozenset[str], table: Mapping[str, FloatArray]) -> dict[str, Amount]:
        """Values of names: columns that are there, else the machine's own."""
        units = {axis.path: axis.target.unit for axis in self.problem.axes}
        units |= {column.name: column.unit for column in self.problem.columns if column.name not in units}
        scales = {definition.name: definition for definition in self.problem.definitions}
        found = {}
        for name in names:
            known = scales.get(name) or (MADE[name] if name in self.problem.made else None)
            if known is not None:
                found[name] = Amount(table[name] * known.scale, known.powers)
            elif name in table:
                found[name] = Amount(table[name], powers_of(units[name]))
            else:
                found[name] = self.problem.amount(name)
        return found

    def _add_workload(
        self,
        group: Group,
        workload: Workload,
        table: Mapping[str, FloatArray],
        totals: Totals,
        errors: dict[int, str],
    ) -> None:
        """Times of a workload at a group's points."""
        variants = list(self._variants_of(workload, group, table, errors))
        if isinstance(group.base, System):
            for variant, inside in variants:
                add_system(variant, group.base, self.problem, group.points[inside], totals, errors)
            return
        if group.base.ngpc is not None:
            for variant, inside in variants:
                self._add_frames(group, variant, inside, totals, errors)
            variants = [pair for pair in variants if pair[0].frame is None]
        index: dict[Work, int] = {}
        pairs = []
        for variant, inside in variants:
            numbers = np.array([index.setdefault(work, len(index)) for work in variant.works])
            machines = np.unique(group.machine_of[inside])
            pairs.append(np.stack([np.repeat(numbers, len(machines)), np.tile(machines, len(numbers))], axis=1))
        if not pairs:
            return
        wanted = np.concatenate(pairs)
        wanted = wanted[distinct_rows(wanted)[0]]
        self.rows += len(wanted)
        cost = costs if self.problem.fidelity == "estimate" else self.player.costs
        every = Machines(group.base, group.columns, self._lessons)
        found, half_width, mistakes = evaluate(every, tuple(index), wanted, cost)
        span = int(group.machine_of.max()) + 1
        keys = wanted[:, 0] * span + wanted[:, 1]
        for variant, inside in variants:
            numbers = np.array([index[work] for work in variant.works])
            points = group.points[inside]
            said = next((mistakes[number] for number in numbers if number in mistakes), None)
            if said is not None:
                errors.update(dict.fromkeys(points.tolist(), said))
                continue
            asked = numbers[:, None] * span + group.machine_of[inside]
            rows = np.searchsorted(keys, asked)
            self._add_variant(group, variant, inside, found, np.exp(half_width[rows]), rows, totals, errors)

    def _variants_of(
        self, workload: Workload, group: Group, table: Mapping[str, FloatArray], errors: dict[int, str]
    ) -> Iterator[tuple[Variant, Index]]:
        """The distinct settings of a workload's parameters, and the positions in the group of their points."""
        axes = [
            axis
            for axis in self.problem.axes
            if axis.target.parameter is not None and workload.name in axis.target.parameter.workloads
        ]
        settings, setting_of = distinct([table[axis.path][group.points] for axis in axes], len(group.points))
        order = np.argsort(setting_of, kind="stable")
        bounds = np.searchsorted(setting_of[order], np.arange(settings.shape[1] + 1))
        for number in range(settings.shape[1]):
            inside = order[bounds[number] : bounds[number + 1]]
            variant = self._variant(workload, axes, settings[:, number])
            if isinstance(variant, str):
                errors.update(dict.fromkeys(group.points[inside].tolist(), variant))
            else:
                yield variant, inside

    def _variant(self, workload: Workload, axes: Sequence[Axis], setting: FloatArray) -> Variant | str:
        """A workload with these values of its axes; what is wrong with them, where it takes none such."""
        if not np.all(np.isfinite(setting)):
            return "expected numbers for the workload, found one that is not finite"
        changes = {
            axis.target.parameter.name: axis.write(value)
            for axis, value in zip(axes, setting, strict=True)
            if axis.target.parameter is not None
        }
        key = (workload.name, *changes.items())
        if key not in self._variants:
            if len(self._variants) >= _REMEMBERED:
                self._variants.clear()
            try:
                self._variants[key] = variant_of(workload, changes, self.problem.launch)
            except SimexploreError as error:
                self._variants[key] = str(error)
        return self._variants[key]

    def _add_variant(
        self,
        group: Group,
        variant: Variant,
        inside: Index,
        found: Cost,
        ratios: FloatArray,
        rows: Index,
        totals: Totals,
        errors: dict[int, str],
    ) -> None:
        """Put the times of a workload's operators together; `rows` and the intervals' have shape (works, points)."""
        points = group.points[inside]
        totals.peak_bytes[points] = variant.peak_bytes
        totals.tokens[points] = variant.tokens
        if variant.graph is not None and self.problem.fidelity == "execute":
            self._play_graphs(group, variant, inside, totals, errors)
            return
        chain = chain_totals(variant, found, rows, board_of(group.machines(inside)))
        for family, ends in spreads(variant, ratios, chain.times_s, chain.time_s).items():
            totals.spread_s.setdefault(family, np.zeros((2, len(totals.time_s))))[:, points] = ends
        totals.time_s[points] = chain.time_s
        totals.energy_j[points] = chain.energy_j
        totals.bound_s[:, points] = chain.bound_s
        totals.busy_s[:, points] = chain.busy_s

    def _add_frames(
        self, group: Group, variant: Variant, inside: Index, totals: Totals, errors: dict[int, str]
    ) -> None:
        """Frames that a cluster takes part in, once for each machine; nothing for other work."""
        if variant.frame is None:
            return
        for machine in np.unique(group.machine_of[inside]):
            points = group.points[inside[group.machine_of[inside] == machine]]
            gpu = group.machine(int(machine))
            try:
                add_frame(variant.frame, gpu, self.problem.launch, self.problem.fidelity, points, totals)
            except SimexploreError as error:
                errors.update(dict.fromkeys(points.tolist(), str(error)))

    def _play_graphs(
        self, group: Group, variant: Variant, inside: Index, totals: Totals, errors: dict[int, str]
    ) -> None:
        """Graphs whose operators run side by side, as events, once for each machine that can run them."""
        assert variant.graph is not None
        for machine in np.unique(group.machine_of[inside]):
            points = group.points[inside[group.machine_of[inside] == machine]]
            gpu = group.machine(int(machine))
            try:
                run = execute(variant.graph, gpu, launch=self.problem.launch, allow_overflow=True)
            except SimexploreError as error:
                errors.update(dict.fromkeys(points.tolist(), str(error)))
                continue
            totals.time_s[points] = run.time_s
            totals.energy_j[points] = run.energy_j
            totals.peak_bytes[points] = run.peak_memory_bytes
            low_s, high_s = time_interval(run.time_s, run.ops)
            ends = np.array([[run.time_s - low_s], [high_s - run.time_s]])
            totals.spread_s.setdefault("graph", np.zeros((2, len(totals.time_s))))[:, points] = ends
            for op in run.ops:
                totals.bound_s[BOUNDS.index(op.bound), points] += op.time_s
            for index, name in enumerate(RESOURCES):
                totals.busy_s[index, points] = run.utilization[name] * run.time_s

    def _check_memory(self, table: Mapping[str, FloatArray], errors: dict[int, str]) -> None:
        """Points whose workload does not fit the machine's memory fail."""
        if self.problem.allow_overflow or isinstance(self.problem.machine, System):  # each place of a system has told
            return
        needed = table["peak_memory_bytes"]
        room = np.broadcast_to(self._amounts(frozenset(["dram.capacity"]), table)["dram.capacity"].value, needed.shape)
        for point in np.flatnonzero(needed > room):
            said = (
                f"needs {needed[point] / 1e9:.4g} GB of device memory, and the machine has {room[point] / 1e9:.4g} GB"
            )
            errors.setdefault(int(point), said)

    def _make(self, table: dict[str, FloatArray], groups: Sequence[Group], points: int) -> None:
        """Area and cost, or a system's price, where they are asked for."""
        if not self.problem.made:
            return
        if isinstance(self.problem.machine, System):
            for name in self.problem.made:
                table[name] = np.full(points, np.nan)
                for group in groups:
                    table[name][group.points] = MADE[name].value(group.base)
            return
        axes = [(axis.path, axis.target) for axis in self.problem.axes]
        numbers = {target.field: table[path] for path, target in axes if target.field and target.kind in NUMBERS}
        machines = cast(Gpu, with_columns(self.problem.machine, numbers))
        with np.errstate(invalid="ignore", divide="ignore"):  # machines that contradict themselves
            for name in self.problem.made:
                table[name] = np.asarray(MADE[name].value(machines)) / MADE[name].scale

    def _define(self, table: dict[str, FloatArray], points: int) -> None:
        """The user's own columns, the intervals of objectives that follow from times, and whether constraints hold."""
        self._add_definitions(table, points)
        if self.problem.timed:
            ends = [self._at_end(table, end, points) for end in ENDS]
            for name in self.problem.timed:
                both = np.stack([shifted[name] for shifted in ends])
                for end, values in zip(ENDS, (both.min(axis=0), both.max(axis=0)), strict=True):
                    table[interval_name(name, end)] = values
        feasible = np.ones(points, dtype=np.bool_)
        for constraint in self.problem.constraints:
            holds = np.broadcast_to(constraint.holds(self._amounts(constraint.names, table)), (points,))
            table[constraint.column] = holds.astype(np.float64)
            feasible &= holds
        table["feasible"] = feasible.astype(np.float64)

    def _add_definitions(self, table: dict[str, FloatArray], points: int) -> None:
        for definition in self.problem.definitions:
            value = definition.expression.evaluate(self._amounts(definition.expression.names, table)).value
            table[definition.name] = np.broadcast_to(np.asarray(value, dtype=np.float64), (points,)) / definition.scale

    def _at_end(self, table: Mapping[str, FloatArray], end: str, points: int) -> dict[str, FloatArray]:
        """The table where all times are at one end of their intervals, and what follows from them with them."""
        shifted = dict(table)
        for prefix in self.problem.prefixes:
            time = table[interval_name(f"{prefix}time_s", end)]
            if self.problem.has_tokens:
                with np.errstate(invalid="ignore", divide="ignore"):  # points that failed
                    shifted[f"{prefix}tokens_per_s"] = table[f"{prefix}tokens_per_s"] * table[f"{prefix}time_s"] / time
            shifted[f"{prefix}time_s"] = time
        self._add_definitions(shifted, points)
        return shifted
