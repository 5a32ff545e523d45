"""A load on a model as one question to any machine, and the figures that answer it: what a sweep asks of its points.

What files hold, the model and a trace, is read once and is part of the question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import nan
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.serve.asked import DECIDED, Given, Placed, Promised, counts_for
from simexplore.sim.serve.deployment import Deployment
from simexplore.sim.serve.engine.defaults import names
from simexplore.sim.serve.load.arrivals import Arrivals
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import SPREADS, Result
from simexplore.sim.serve.steps.table import StepTable
from simexplore.sim.serve.study import Load, Study, longest_of
from simexplore.workloads.families.decoder.options import StepOptions
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.operators.parameters import parameters_of

REMEMBERED = 16
"""Tables of steps that are kept; some megabytes each."""
HIGHEST = "highest_rate_per_s"
"""The figure that takes a search; the others come of one run."""
LOADS = {"rate": "rate", "users": "users", "requests": "requests", "input": "prompt", "output": "answer",
         "burstiness": "burstiness"}  # fmt: skip
"""What of a load may be another at each point, and the field of `Given` that it is."""
PLACES = {"pipeline": 1, "replicas": 1, "prefill_replicas": 0}
"""How a model may be placed beside its parameters, and the least of each."""
_FLOATS = ("rate", "burstiness")
_KINDS: Mapping[type, Literal["int", "float", "text", "bool"]] = MappingProxyType(
    {int: "int", float: "float", str: "text", bool: "bool"}
)


class Figure(NamedTuple):
    """A figure's unit, and which way is better."""

    unit: str
    best: Literal["min", "max"] = "min"


class Takes(NamedTuple):
    """What may be another at each point: the type of its values, and the least of integers."""

    kind: Literal["int", "float", "text", "bool"]
    minimum: int = 1


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        HIGHEST: Figure("1/s", "max"),
        **{f"{what}_{part}_s": Figure("s") for what in ("ttft", "tpot", "latency") for part in SPREADS},
        "requests_per_s": Figure("1/s", "max"),
        "answered_per_s": Figure("1/s", "max"),
        "goodput_requests_per_s": Figure("1/s", "max"),
        "output_tokens_per_s": Figure("1/s", "max"),
        "output_tokens_per_s_per_gpu": Figure("1/s", "max"),
        "total_tokens_per_s": Figure("1/s", "max"),
        "held_share": Figure("1", "max"),
        "energy_j": Figure("J"),
        "energy_per_output_token_j": Figure("J"),
        "energy_per_request_j": Figure("J"),
        "mean_power_per_gpu_w": Figure("W"),
        "duration_s": Figure("s"),
        "busy_share": Figure("1", "max"),
        "kv_peak_share": Figure("1"),
        "evictions": Figure("1"),
        "gpus": Figure("1"),
    }
)
"""All that a question can be answered with, as `simexplore serve --json` has it; spreads by their parts."""
POWERED = ("energy_j", "energy_per_output_token_j", "energy_per_request_j", "mean_power_per_gpu_w")
"""Those that err by the machine's power."""


@dataclass(frozen=True)
class Question:
    """A load on a model, where it runs, and what users are promised.

    Args:
        source: the model as a user names it.
        model: itself.
        load: what comes; of a trace all but its requests.
        placed: how the model is divided among GPUs.
        promised: to users.
        trace: the requests of a trace, in order.
    """

    source: str
    model: Decoder
    load: Given
    placed: Placed
    promised: Promised
    trace: tuple[Request, ...] = ()

    def takes(self) -> dict[str, Takes]:
        """What may be another at each point: of the load, the model's parameters, the place, and the engine."""
        kind = self.load.kind
        fitting = () if kind == "trace" else (name for name in LOADS if counts_for(f"--{name}", kind))
        mine = {name: Takes("float" if name in _FLOATS else "int") for name in fitting}
        places = {name: Takes("int", least) for name, least in PLACES.items()}
        steps = {
            name: Takes(parameter.written, parameter.minimum)
            for name, (_, parameter) in parameters_of(StepOptions).items()
            if name not in DECIDED
        }
        settings = {name: Takes(_KINDS[kind], 0) for name, kind in names().items()}
        return mine | places | steps | settings

    def changed(self, changes: Mapping[str, str]) -> Question:
        """The same with other values of what it takes, as text."""
        loads: dict[str, Any] = {LOADS[name]: text for name, text in changes.items() if name in LOADS}
        places: dict[str, Any] = {name: int(text) for name, text in changes.items() if name in PLACES}
        known, rest = parameters_of(StepOptions), names()
        params = {name: text for name, text in changes.items() if name in known}
        settings = {name: text for name, text in changes.items() if name in rest}
        placed = replace(
            self.placed,
            params={**self.placed.params, **params},
            settings={**self.placed.settings, **settings},
            **places,
        )
        return replace(self, load=replace(self.load, **loads), placed=placed)

    def one_load(self) -> Load:
        """What comes.

        Raises:
            SimexploreError: it is none, or several.
        """
        if self.trace:
            return self.trace
        (_, load), *others = self.load.loads()
        if others:
            raise SimexploreError(f"--rate: expected one rate, found {self.load.rate!r}: several are an axis")
        return load

    def deployment(self, machine: Gpu | System, load: Load) -> Deployment:
        """The model on a machine.

        Raises:
            SimexploreError: it can't be placed as asked.
        """
        (made, *others) = self.placed.deployments(self.model, machine, [load]).values()
        if others:
            raise SimexploreError("parameters: expected one value each, found several: those are an axis")
        return made

    def check_search(self) -> None:
        """Check that the highest rate can be asked for.

        Raises:
            SimexploreError: nothing is promised, or the load has no rate.
        """
        if not self.promised.objectives().any:
            raise SimexploreError(f"{HIGHEST}: expected a promise to hold, ttft, tpot or latency, found none")
        if not isinstance(self.one_load(), Arrivals):
            raise SimexploreError(f"{HIGHEST}: expected a load at a rate, which the search begins at, found another")

    def told(self, varied: Collection[str]) -> dict[str, Any]:
        """What a store keeps of it: contents of files by their check sums, whatever their names.

        Args:
            varied: what is another at each point.
        """
        parts = {**asdict(self.load), **asdict(self.promised), **asdict(self.placed)}
        params, settings = parts.pop("params"), parts.pop("settings")
        written = {field: name for name, field in LOADS.items()}
        named = {written.get(name, name): value for name, value in parts.items() if name != "trace"}
        named |= params | settings
        known = {name: value for name, value in named.items() if value is not None and name not in varied}
        data = {"model": _digest(self.model), "trace": _digest(self.trace)}
        return {"source": self.source, "weight": 1.0, "parameters": known, "data": data}


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


@dataclass
class Answers:
    """Answers questions one after the other, and remembers the steps of machines, of the newest that were asked."""

    _tables: dict[Hashable, StepTable] = field(default_factory=dict)

    def answer(
        self, question: Question, machine: Gpu | System, key: Hashable, search: bool = False
    ) -> dict[str, float]:
        """The figures of a question on a machine, NaN where there is none.

        Args:
            question: what is asked.
            machine: where it runs.
            key: what tells the machine from others.
            search: whether the highest rate is asked for.

        Raises:
            SimexploreError: it can't run as asked, or no rate holds what is promised.
        """
        load = question.one_load()
        deployment = question.deployment(machine, load)
        study = Study(deployment, self._table(deployment, key, longest_of(load)), question.promised.objectives())
        figures = figures_of(study.run(load))
        if search:
            question.check_search()
            assert isinstance(load, Arrivals)
            figures[HIGHEST] = study.highest_rate(load)
        return figures

    def _table(self, deployment: Deployment, key: Hashable, longest: int) -> StepTable:
        """Steps depend on the machine, the model's parameters, stages, and on how long steps and contexts may be."""
        known = (key, deployment.options, deployment.stages, deployment.settings.max_tokens, longest)
        if known not in self._tables:
            if len(self._tables) >= REMEMBERED:
                del self._tables[next(iter(self._tables))]
            self._tables[known] = deployment.table(longest)
        return self._tables[known]


def figures_of(result: Result) -> dict[str, float]:
    """All figures of one run, NaN where there is none."""
    told = result.to_json()
    spreads = {f"{what}_s": told[f"{what}_s"] or {} for what in ("ttft", "tpot", "latency")}
    parts = {
        f"{name.removesuffix('_s')}_{part}_s": float(spread.get(part, nan))
        for name, spread in spreads.items()
        for part in SPREADS
    }
    return {name: parts[name] if name in parts else float(told[name]) for name in FIGURES if name != HIGHEST}
