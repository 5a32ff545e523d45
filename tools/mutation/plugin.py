"""Pytest plugins: one records which lines each test runs and how long it takes, one runs the tests asked for."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

FIXTURE = "fixture"
"""First word of the context of lines that a fixture of more than one test runs; its name and its home follow."""


class Recorder:
    """Records a context for each test, and for each fixture that several tests share, with coverage.py."""

    def __init__(self, folder: Path, part: int, sources: list[str]) -> None:
        import coverage

        self._file = folder / f"tests-{part}.json"
        self._coverage = coverage.Coverage(data_file=str(folder / f"lines-{part}"), source=sources, config_file=False)
        self._tests: dict[str, dict[str, Any]] = {}
        self._now = ""
        self._coverage.start()

    def _switch(self, context: str) -> None:
        self._coverage.switch_context(context)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._now = item.nodeid
        self._tests[item.nodeid] = {"s": 0.0, "passed": True, "fixtures": list(getattr(item, "fixturenames", ()))}
        self._switch(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        self._switch(f"{FIXTURE} {fixturedef.argname} {fixturedef.baseid}")
        try:
            return (yield)
        finally:
            self._switch(self._now)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self._tests[report.nodeid]
        test["s"] += report.duration
        test["passed"] &= report.outcome == "passed"

    def pytest_unconfigure(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        self._file.write_text(json.dumps(self._tests), encoding="utf-8")


class Chosen:
    """Runs the tests asked for, in that order; tells the first that fails."""

    def __init__(self, tests: list[str]) -> None:
        self._order = {test: number for number, test in enumerate(tests)}
        self.failed = ""
        self.ran = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._order), key=lambda i: self._order[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call"
        if report.outcome == "failed" and not self.failed:
            self.failed = report.nodeid
