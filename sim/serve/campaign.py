"""A question about serving: deployments of a model under loads, point after point, in a folder or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.keeping.environment import here
from simexplore.sim.serve.asked import Given, Placed, Promised
from simexplore.sim.serve.deployment import Deployment
from simexplore.sim.serve.load.arrivals import Arrivals
from simexplore.sim.serve.points import Point, Points, fill
from simexplore.sim.serve.results import Result
from simexplore.sim.serve.study import Load, Study, longest_of
from simexplore.sim.serve.trace import MOST_STEPS
from simexplore.workloads.families.decoder.shape import Decoder


@dataclass
class Campaign:
    """A question.

    Args:
        model: the language model.
        machine: what it runs on.
        load: what comes.
        placed: how it is divided among GPUs.
        promised: what users are promised.
        name: of the question, for people.
        asked: what else results follow from, as plain data.
    """

    model: Decoder
    machine: Gpu | System
    load: Given
    placed: Placed
    promised: Promised
    name: str
    asked: Mapping[str, Any]
    last: Result | None = field(default=None, init=False)
    """Of the last point that was run, with its steps."""

    @property
    def machine_name(self) -> str:
        """For people."""
        return self.machine.name

    @cached_property
    def _loads(self) -> list[tuple[dict[str, float], Load]]:
        return self.load.loads()

    @cached_property
    def deployments(self) -> dict[str, Deployment]:
        """By what tells one from the others."""
        return self.placed.deployments(self.model, self.machine, [load for _, load in self._loads])

    @property
    def count(self) -> int:
        """Points."""
        return len(self._loads) * len(self.deployments)

    def points(self, folder: Path | None = None) -> Iterator[tuple[str, Point]]:
        """The results of all deployments at all loads, each with its deployment's name.

        What is in the folder already is not made again.

        Raises:
            SimexploreError: something asked for cannot be, or the folder holds other results.
        """
        plan = [(name, told, load) for name in self.deployments for told, load in self._loads]
        studies: dict[str, Study] = {}

        def make(number: int) -> Point:
            name, told, load = plan[number]
            if name not in studies:
                studies[name] = self._study(self.deployments[name], MOST_STEPS if folder is not None else 0)
            self.last = studies[name].run(load)
            return {"deployment": name, **told, **self.last.to_json()}

        points = None if folder is None else Points(folder, self._header())
        for (name, _, _), point in zip(plan, fill(points, len(plan), make), strict=True):
            yield name, point

    def highest_rates(self, tried: Callable[[int], None]) -> list[Point]:
        """The highest rate of each deployment at which what was promised holds, with the result there.

        Raises:
            SimexploreError: nothing is promised, the load has no rate, or as `Study.highest_rate`.
        """
        (_, load), *others = self._loads
        if not isinstance(load, Arrivals) or others:
            raise SimexploreError("--find-rate: expected one --rate to begin the search at")
        found, count = [], 0

        def told(_rate: float, _held: bool) -> None:
            nonlocal count
            count += 1
            tried(count)

        for name, deployment in self.deployments.items():
            study = self._study(deployment, 0)
            rate = study.highest_rate(load, told)
            result = study.run(load.at(rate))
            found.append({"deployment": name, "rate_per_s": rate, **result.to_json()})
        return found

    def _study(self, deployment: Deployment, logged: int) -> Study:
        longest = max(longest_of(load) for _, load in self._loads)
        return Study(deployment, deployment.table(longest), self.promised.objectives(), logged=logged)

    def _header(self) -> dict[str, Any]:
        parts = {"load": self.load, "placed": self.placed, "promised": self.promised}
        told: dict[str, Any] = {key: asdict(part) for key, part in parts.items()}  # type: ignore[call-overload]
        if self.load.trace is not None:
            told["trace_sha256"] = hashlib.sha256(Path(self.load.trace).read_bytes()).hexdigest()
        told["model_sha256"] = _digest(repr(self.model))
        told["machine_sha256"] = _digest(*(machine.model_dump_json() for machine in self._machines))
        told["settings"] = {name: asdict(deployment.settings) for name, deployment in self.deployments.items()}
        return {"name": self.name, "versions": dict(here()), "asked": dict(self.asked), **told}

    @property
    def _machines(self) -> list[Gpu | System]:
        """The machine, and those whose learned corrections serve it."""
        return [self.machine, *(self.machine.lenders if isinstance(self.machine, Gpu) else ())]

    def told(self) -> list[tuple[str, object]]:
        """What was asked, for people."""
        parts = {**asdict(self.load), **asdict(self.placed), **asdict(self.promised)}
        return [(key, value) for key, value in parts.items() if value not in (None, {}, "")]


def _digest(*texts: str) -> str:
    """A check sum: files of the same name may have been edited since."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
