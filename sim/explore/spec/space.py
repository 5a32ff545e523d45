"""What a sweep varies and asks for: axes, definitions, constraints and objectives, from its file to a `Problem`."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from keyword import iskeyword
from typing import Any, cast

from simexplore.archs.fields import Machine, field_of, leaf_fields
from simexplore.archs.units import DIMENSIONS, nearest, show
from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.work import Workload, variant_of
from simexplore.sim.explore.spec import expression
from simexplore.sim.explore.spec.axes import Axis, Parameter, Target, read_axis
from simexplore.sim.explore.spec.expression import Amount, Condition, powers_of
from simexplore.sim.explore.spec.machine import ReadMachine
from simexplore.sim.explore.spec.made import offered
from simexplore.sim.explore.spec.problem import BEST, ENDS, Definition, Problem, metric_units
from simexplore.sim.explore.spec.reader import Reader
from simexplore.sim.explore.spec.serving import KEY, check_search, serving_parameter
from simexplore.sim.explore.table import RESERVED, Direction, interval_name
from simexplore.sim.serve.question import FIGURES, Question

Units = dict[str, Amount]
"""Every name that an expression may use, with a value of its unit."""


def read_problem(
    reader: Reader,
    data: Mapping[str, Any],
    read: ReadMachine,
    workloads: tuple[Workload, ...],
    question: Question | None = None,
) -> Problem:
    """The problem of a sweep's file, its fidelity and launch at their defaults."""
    machine = read.machine
    names: Units = {
        path: Amount(float(field.read(machine)), powers_of(field.unit)) for path, field in leaf_fields(machine).items()
    }
    axes = _read_axes(reader, data, machine, question or workloads, names)
    has_tokens = any(variant_of(workload, {}, "graph").tokens > 0 for workload in workloads)
    units = metric_units(workloads, has_tokens) if question is None else {k: f.unit for k, f in FIGURES.items()}
    makes = offered(machine, data["define"] if isinstance(data.get("define"), dict) else ())
    names |= makes
    names |= {name: Amount(1.0, powers_of(unit)) for name, unit in units.items()}
    definitions = _read_definitions(reader, data, names, _reserved(units))
    constraints = _read_constraints(reader, data, names)
    known = [*units, *makes, *(definition.name for definition in definitions)]
    objectives = _read_objectives(reader, data, known)
    problem = Problem(
        arch=read.source,
        layer=read.layer,
        lenders=read.lenders,
        workloads=workloads,
        axes=axes,
        definitions=definitions,
        made=(),
        constraints=constraints,
        objectives=objectives,
        fidelity="estimate",
        launch="graph",
        allow_overflow=False,
        has_tokens=has_tokens,
        question=question,
    )
    if question is not None:
        check_search(reader, question, problem.asked)
    return replace(problem, made=tuple(name for name in makes if name in problem.asked))


def _read_axes(
    reader: Reader, data: Mapping[str, Any], machine: Machine, work: tuple[Workload, ...] | Question, names: Units
) -> tuple[Axis, ...]:
    """Axes that the sampler chooses, in the file's order, then expressions, each behind those that it needs."""
    parameters = reader.mapping(("parameters",), data["parameters"], "l2.capacity: [50 MiB, 100 MiB]")
    free: list[Axis] = []
    written: dict[str, tuple[Target, str]] = {}
    for key, value in parameters.items():
        path = ("parameters", key)
        with reader.at(path):
            name, target = _target(key, machine, work)
        if name in written or name in (axis.path for axis in free):
            reader.fail(path, "each parameter once", f"{show(name)} again")
        if target.kind not in ("text", "bool"):
            names[name] = Amount(1.0, powers_of(target.unit))
        if isinstance(value, str):
            written[name] = (target, value)
        elif isinstance(value, list | dict):
            free.append(read_axis(reader, path, name, target, value))
        else:
            reader.fail(path, "a list, a range {from, to, steps} or an expression", show(value))
    if not free:
        reader.fail(("parameters",), "at least one list or range", "expressions only")
    return (*free, *_ordered(reader, written, names))


def _ordered(reader: Reader, written: Mapping[str, tuple[Target, str]], names: Units) -> list[Axis]:
    """Expressions, each behind those that it needs."""
    waiting: dict[str, Axis] = {}
    for name, (target, text) in written.items():
        path = ("parameters", name)
        with reader.at(path):
            if target.kind in ("text", "bool"):
                raise SimexploreError(f"expected a list of words, found {show(text)}")
            parsed = expression.parse(text, names)
            _check_unit(parsed.evaluate(names), target, text)
        waiting[name] = Axis(name, target, expression=parsed)
    ordered: list[Axis] = []
    while waiting:
        ready = [axis for axis in waiting.values() if axis.expression and not axis.expression.names & waiting.keys()]
        if not ready:
            circle = ", ".join(waiting)
            reader.fail(("parameters", next(iter(waiting))), "no expressions that need each other", circle)
        ordered += ready
        for axis in ready:
            del waiting[axis.path]
    return ordered


def _check_unit(found: Amount, target: Target, text: str) -> None:
    due = powers_of(target.unit)
    if found.powers != due:
        units = expression.unit_text(due), expression.unit_text(found.powers)
        raise SimexploreError(f"expected an expression in {units[0]}, found {show(text)} in {units[1]}")


def _target(key: str, machine: Machine, work: tuple[Workload, ...] | Question) -> tuple[str, Target]:
    """What a key under `parameters` names, and its name in the table."""
    head, _, rest = key.partition(".")
    if isinstance(work, Question) and head == KEY:
        return key, Target(parameter=serving_parameter(rest, work))
    workloads = () if isinstance(work, Question) else work
    named = [workload for workload in workloads if workload.name == head]
    if named or (head == "workload" and workloads):
        if head == "workload" and rest.partition(".")[0] in (workload.name for workload in workloads):
            inner, _, rest = rest.partition(".")
            named = [workload for workload in workloads if workload.name == inner]
        return _workload_target(key, rest, tuple(named or workloads))
    path = rest if head == "arch" and rest else key
    return path, Target(field=field_of(path, machine))


def _workload_target(key: str, name: str, workloads: tuple[Workload, ...]) -> tuple[str, Target]:
    takers = [workload for workload in workloads if name in workload.takes()]
    if not takers:
        known = sorted({parameter for workload in workloads for parameter in workload.takes()})
        listed = ", ".join(known) or "nothing: a file of operators takes none"
        raise SimexploreError(
            f"expected one of the workload's parameters {listed}, found {show(name)}{nearest(name, known)}"
        )
    meaning = takers[0].takes()[name]
    names = tuple(workload.name for workload in takers)
    return key, Target(parameter=Parameter(name, names, meaning.written, meaning.minimum))


def _reserved(units: Mapping[str, str]) -> set[str]:
    """Columns that are there without being defined, those of intervals that objectives may get included."""
    return {*RESERVED, *units, *(interval_name(name, end) for name in units for end in ENDS)}


def _read_definitions(
    reader: Reader, data: Mapping[str, Any], names: Units, reserved: set[str]
) -> tuple[Definition, ...]:
    """The user's own columns in the file's order; each may use those before it."""
    if "define" not in data:
        return ()
    found = []
    given = reader.mapping(("define",), data["define"], "area_mm2: 815 mm2 * sm.count / 132")
    for name, value in given.items():
        path = ("define", name)
        if not _is_plain(name) or name in names or name in reserved:
            taken = "a name that is taken" if name in names or name in reserved else show(name)
            reader.fail(path, "a new name of letters, digits and _", taken)
        reserved |= {interval_name(name, end) for end in ENDS}
        text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        with reader.at(path):
            parsed = expression.parse(reader.text(path, text, "815 mm2 * sm.count / 132"), names)
            amount = parsed.evaluate(names)
        unit, scale = _unit_of(name, amount)
        names[name] = amount
        found.append(Definition(name, parsed, unit, scale, amount.powers))
    return tuple(found)


def _is_plain(name: str) -> bool:
    """Whether expressions can speak of it: Python's parser folds some letters into others, and keeps some words."""
    folded = unicodedata.normalize("NFKC", name)
    return name.isidentifier() and not iskeyword(name) and not name.startswith("__") and folded == name


def _unit_of(name: str, amount: Amount) -> tuple[str, float]:
    """The unit that a name ends with, `area_mm2`, where the value has that dimension; else SI."""
    suffix = name.rpartition("_")[2]
    units = {
        unit: float(scale)
        for dimension in DIMENSIONS
        if powers_of(dimension.si) == amount.powers
        for unit, scale in dimension.units.items()
    }
    exact = [unit for unit in units if unit == suffix] or [unit for unit in units if unit.lower() == suffix.lower()]
    if exact:
        return exact[0], units[exact[0]]
    return (expression.unit_text(amount.powers) if amount.powers else "1"), 1.0


def _read_constraints(reader: Reader, data: Mapping[str, Any], names: Units) -> tuple[Condition, ...]:
    given = data.get("constraints", [])
    if not isinstance(given, list):
        reader.fail(("constraints",), "a list of conditions such as 'peak_memory_bytes <= 141 GB'", show(given))
    found: list[Condition] = []
    for index, value in enumerate(given):
        path = ("constraints", index)
        text = reader.text(path, value, "peak_memory_bytes <= 141 GB")
        with reader.at(path):
            condition = expression.parse_condition(text, names)
            condition.holds(names)
        if condition.column in (before.column for before in found):
            reader.fail(path, "each constraint once", f"{show(text)} again")
        found.append(condition)
    return tuple(found)


def _read_objectives(reader: Reader, data: Mapping[str, Any], known: list[str]) -> Mapping[str, Direction]:
    """Objectives with the way that is better; the file may say which: `{tokens_per_s: max}`."""
    given = data.get("objectives", ["time_s"])
    path: tuple[str | int, ...] = ("objectives",)
    if not isinstance(given, list | dict) or not given:
        reader.fail(path, "a list such as [time_s, energy_j]", show(given) if given else "nothing")
    found: dict[str, Direction] = {}
    for index, name in enumerate(given):
        below = (*path, name if isinstance(given, dict) else index)
        if not isinstance(name, str) or name not in known:
            undefined = isinstance(name, str) and name in ("cost", "area_mm2")
            hint = f" (define it: 'define: {{{name}: …}}')" if undefined else nearest(str(name), known)
            reader.fail(below, f"one of {', '.join(known)}", show(name) + hint)
        if name in found:
            reader.fail(below, "each objective once", f"{show(name)} again")
        usual: Direction = "max" if "utilization." in name else BEST.get(name.rpartition(".")[2], "min")
        chosen = reader.word(below, given[name], ("min", "max")) if isinstance(given, dict) else usual
        found[name] = cast(Direction, chosen)
    return found
