"""A backend that computes with numpy and whose clock is a list: what the measuring loop does can be told exactly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device, Report
from simexplore.kernels.backend.problem import Arrays
from simexplore.kernels.backend.session import Sample, Session
from simexplore.kernels.problems import problem_of

DEVICE = Device("fake", 0, "a fake device", "discrete GPU", "none")


class FakePrepared:
    def __init__(self, session: FakeSession, case: Case) -> None:
        self.session, self.case = session, case

    def run(self, inputs: Arrays) -> Arrays:
        results = problem_of(self.case).expected(self.case, inputs)
        return {name: array + self.session.error for name, array in results.items()}

    def sample(self, launches: int) -> Sample:
        self.session.launches.append(launches)
        return Sample(next(self.session.times_s), {"cycles": 7.0})

    def close(self) -> None:
        self.session.closed += 1


class FakeSession(Session):
    """`times_s` is what each sample will say; `error` is added to every result."""

    def __init__(self, times_s: Iterator[float] | None = None, error: float = 0.0, device: Device = DEVICE) -> None:
        self.device, self.error = device, error
        self.times_s = repeat(1e-3) if times_s is None else times_s
        self.problems: dict[str, Any] = {}
        self.launches: list[int] = []
        self.closed = 0

    def prepare(self, case: Case) -> FakePrepared:
        return FakePrepared(self, case)

    def describe(self) -> dict[str, Any]:
        return {"driver": "none"}

    def close(self) -> None:
        self.closed += 1


class FakeBackend:
    name = "fake"

    def __init__(self, session: FakeSession) -> None:
        self.session = session

    def report(self) -> Report:
        return Report("fake", (DEVICE,))

    def open(self, index: int = 0) -> FakeSession:
        return self.session
