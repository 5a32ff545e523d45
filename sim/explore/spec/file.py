"""A sweep's file: machine, work, axes, objectives and how to search, strictly checked.

arch: nvidia/h200-sxm
workload: {name: llm/llama-3-8b/decode, parameters: {batch: 16}}
parameters:
  dram.bandwidth: {from: 2.4 TB/s, to: 9.6 TB/s, steps: 16}
  l2.capacity: 0.3 MiB * sm.count
objectives: [time_s, energy_j]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from simexplore.archs.load import Document
from simexplore.archs.merge import KeyPath
from simexplore.archs.units import show
from simexplore.sim.conditions import Launch
from simexplore.sim.explore.evaluation.work import Workload, workload_of
from simexplore.sim.explore.sampler import KINDS, SEARCHES, check_budget
from simexplore.sim.explore.spec import space
from simexplore.sim.explore.spec.machine import ReadMachine, read_machine
from simexplore.sim.explore.spec.problem import Fidelity, Problem
from simexplore.sim.explore.spec.reader import Reader, read_once
from simexplore.sim.explore.spec.serving import read_question
from simexplore.sim.serve.deployment import gpus_of

KEYS = (
    "name", "description", "arch", "engine", "workload", "workloads", "serve", "parameters", "define", "objectives",
    "constraints", "fidelity", "sampler", "budget", "seed", "launch", "allow_overflow",
)  # fmt: skip
FIDELITIES = ("estimate", "execute")
DEFAULT_BUDGET = 1000
MAX_POINTS = 100_000_000
FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class Spec:
    """A sweep, checked."""

    name: str
    text: str
    """The file as it was written."""
    data: Mapping[str, Any]
    """What decides the results, with the options of the command laid over."""
    problem: Problem
    sampler: str
    points: int
    """Points in all; of a search, at most."""
    seed: int
    machine: ReadMachine
    """The machine that axes vary, as it was when the file was read."""


@dataclass(frozen=True)
class Options:
    """What the command line lays over a sweep's file; None: as the file says."""

    sampler: str | None = None
    budget: int | None = None
    seed: int | None = None
    fidelity: str | None = None


def read_spec(path: str | Path, options: Options | None = None) -> Spec:
    """A sweep from its file.

    Raises:
        SimexploreError: in one line, `file:line: key: expected …, found …`.
    """
    document, text = read_once(path)
    return _read(Reader(_with(document, options or Options())), text)


def _with(document: Document, options: Options) -> Document:
    changes = {key: value for key, value in vars(options).items() if value is not None}
    if not isinstance(document.data, dict) or not changes:
        return document
    kept = dict(document.data)
    if "sampler" in changes and changes["sampler"] == "grid" and "budget" not in changes:
        kept.pop("budget", None)
    return replace(document, data={**kept, **changes})


def _read(reader: Reader, text: str) -> Spec:
    data = reader.mapping((), reader.document.data, "arch: nvidia/h200-sxm")
    reader.known_keys((), data, KEYS)
    for key in ("arch", "parameters"):
        if key not in data:
            reader.fail((key,), "a machine" if key == "arch" else "at least one parameter with its values", "nothing")
    machine = _read_arch(reader, data)
    question = read_question(reader, data, gpus_of(machine.machine)[0].engine)
    workloads = _read_workloads(reader, data) if question is None else ()
    launch = reader.word(("launch",), data.get("launch", "graph"), ("graph", "stream"))
    fidelity = reader.word(("fidelity",), data.get("fidelity", "estimate"), FIDELITIES)
    problem = space.read_problem(reader, data, machine, workloads, question)
    problem = replace(
        problem,
        fidelity=cast(Fidelity, fidelity),
        launch=cast(Launch, launch),
        allow_overflow=reader.truth(("allow_overflow",), data.get("allow_overflow", False)),
    )
    sampler = reader.word(("sampler",), data.get("sampler", "grid"), KINDS)
    seed = reader.integer(("seed",), data.get("seed", 0), 0, 2**31)
    points = _read_points(reader, data, sampler, problem)
    name = reader.text(("name",), data.get("name", reader.document.path.stem), "decode on a wider H200")
    if "description" in data:
        reader.text(("description",), data["description"], "what the sweep asks")
    kept = {key: value for key, value in data.items() if key not in ("name", "description")}
    return Spec(name, text, kept, problem, sampler, points, seed, machine)


def _read_arch(reader: Reader, data: Mapping[str, Any]) -> ReadMachine:
    """The machine, with all files that it is made of."""
    name = reader.text(("arch",), data["arch"], "nvidia/h200-sxm")
    engine = reader.text(("engine",), data["engine"], "vllm") if "engine" in data else None
    with reader.at(("arch",)):
        return read_machine(name, _beside(reader, name), engine)


def _beside(reader: Reader, name: str) -> str:
    """A path relative to the sweep's file as an absolute one; a name as it is."""
    if not name.endswith(FILES):
        return name
    return str((reader.document.path.parent / name).resolve())


def _read_workloads(reader: Reader, data: Mapping[str, Any]) -> tuple[Workload, ...]:
    if "workload" in data and "workloads" in data:
        reader.fail(("workloads",), "either workload or workloads", "both")
    if "workload" in data:
        return (_read_workload(reader, ("workload",), "workload", data["workload"]),)
    if "workloads" not in data:
        reader.fail(("workload",), "a workload such as 'llm/llama-3-8b/decode', or a load to serve", "nothing")
    several = reader.mapping(("workloads",), data["workloads"], "decode: llm/llama-3-8b/decode")
    for name in several:
        if not name.isidentifier() or name in ("workload", "arch"):
            reader.fail(("workloads", name), "a name of letters, digits and _", show(name))
    return tuple(_read_workload(reader, ("workloads", name), name, value) for name, value in several.items())


def _read_workload(reader: Reader, path: KeyPath, name: str, value: Any) -> Workload:
    if isinstance(value, str):
        value = {"name": value}
    given = reader.mapping(path, value, "llm/llama-3-8b/decode")
    reader.known_keys(path, given, ("name", "weight", "parameters"))
    if "name" not in given:
        reader.fail((*path, "name"), "a workload such as 'llm/llama-3-8b/decode'", "nothing")
    source = reader.text((*path, "name"), given["name"], "llm/llama-3-8b/decode")
    weight = reader.number((*path, "weight"), given.get("weight", 1))
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        reader.fail((*path, "parameters"), "a mapping such as 'batch: 16'", show(parameters))
    with reader.at((*path, "parameters") if "parameters" in given else path):
        content = read_once(_beside(reader, source))[0].data if source.endswith(FILES) else None
        return workload_of(name, source, weight, parameters, content)


def _read_points(reader: Reader, data: Mapping[str, Any], sampler: str, problem: Problem) -> int:
    """How many points: the product of a grid's axes, else the budget."""
    budget = reader.integer(("budget",), data.get("budget", DEFAULT_BUDGET), 1, MAX_POINTS)
    if sampler in SEARCHES and len(problem.objectives) < 1:
        reader.fail(("objectives",), "what the search is to make best", "nothing")
    if sampler != "grid":
        with reader.at(("budget",)):
            return check_budget(sampler, budget, len(problem.free))
    if "budget" in data:
        reader.fail(("budget",), "no budget, a grid takes all its points", show(data["budget"]))
    points = 1
    for axis in problem.free:
        if axis.levels is None:
            reader.fail(("parameters", axis.path), "steps, a grid needs a number of values", "a range without steps")
        points *= len(axis.levels)
    if points > MAX_POINTS:
        reader.fail(("parameters",), f"at most {MAX_POINTS} points", f"{points}, the product of all axes")
    return points
