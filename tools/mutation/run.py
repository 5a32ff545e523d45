"""Mutants one by one: each in a process of its own that has the libraries loaded, each in a copy of the tree."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from mutation.cover import ARGUMENTS, TOOLS, Coverage
from mutation.draw import Mutant
from mutation.plugin import Chosen

LIBRARIES = (
    "pytest",
    "numpy",
    "pandas",
    "pydantic",
    "networkx",
    "simpy",
    "yaml",
    "rich",
    "click",
    "hypothesis",
    "hypothesis.extra.numpy",
    "jsonschema",
    "plotly.graph_objects",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.ensemble",
)
"""What tests import beside the project: loaded once, before the processes part."""
SLACK = 6.0
"""How many times longer than on the code as it is the tests may take."""
START_S = 20.0
"""What a process may take beside its tests [s]."""

Outcome = Literal["killed", "time ran out", "survived", "no test"]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    outcome: Outcome
    by: str
    """The test that noticed it."""
    tests: int
    """How many were to run."""
    seconds: float

    @property
    def noticed(self) -> bool:
        return self.outcome in ("killed", "time ran out")


@dataclass
class _Running:
    mutant: Mutant
    tests: list[str]
    copy: Path
    process: BaseProcess
    started_s: float
    ends_s: float


def load_libraries() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)


def run_all(
    mutants: Sequence[Mutant], coverage: Coverage, copies: Sequence[Path], budget_s: float
) -> Iterator[Verdict]:
    """Verdicts as they come: as many mutants at a time as there are copies; at most `budget_s` of tests for each."""
    load_libraries()
    waiting, free = list(reversed(mutants)), list(copies)
    running: list[_Running] = []
    while waiting or running:
        while waiting and free:
            mutant = waiting.pop()
            tests = coverage.of(mutant, budget_s)
            if tests:
                running.append(_start(mutant, tests, free.pop(), START_S + SLACK * coverage.seconds(tests)))
            else:
                yield Verdict(mutant, "no test", "", 0, 0.0)
        if running:
            left_s = max(min(one.ends_s for one in running) - time.monotonic(), 0.0)
            wait([one.process.sentinel for one in running], left_s)
        for one in [one for one in running if not one.process.is_alive() or time.monotonic() >= one.ends_s]:
            running.remove(one)
            free.append(one.copy)
            yield _end(one)


def control(coverage: Coverage, copy: Path, budget_s: float) -> None:
    """Run the fastest tests, for `budget_s`, on a file as it is: raises SystemExit where one fails here only."""
    path = max(coverage.by_line, key=lambda path: len(set().union(*coverage.by_line[path].values())))
    source = (copy / path).read_text(encoding="utf-8")
    unchanged = Mutant(path, 1, source.count("\n") + 1, "", "", source)
    for verdict in run_all([unchanged], coverage, [copy], budget_s):
        if verdict.noticed:
            raise SystemExit(
                f"{verdict.by or verdict.outcome}: fails without any mutant when it runs after faster tests"
            )


def _start(mutant: Mutant, tests: list[str], copy: Path, limit_s: float) -> _Running:
    process = multiprocessing.get_context("fork").Process(target=_child, args=(mutant, tests, copy), daemon=True)
    _result(copy).unlink(missing_ok=True)
    process.start()
    now = time.monotonic()
    return _Running(mutant, tests, copy, process, now, now + limit_s)


def _end(one: _Running) -> Verdict:
    """Read what a process found, or stop it where its time ran out; put the file back."""
    late = one.process.is_alive()
    if late:
        one.process.kill()
    one.process.join()
    took_s = time.monotonic() - one.started_s
    kept = one.copy / f"{one.mutant.path}.kept"
    if kept.exists():
        kept.replace(one.copy / one.mutant.path)
    if late:
        return Verdict(one.mutant, "time ran out", "", len(one.tests), took_s)
    if not _result(one.copy).exists():  # the process itself died
        return Verdict(one.mutant, "killed", "the process", len(one.tests), took_s)
    found = json.loads(_result(one.copy).read_text(encoding="utf-8"))
    outcome: Outcome = "survived" if found["code"] == 0 and found["ran"] else "killed"
    return Verdict(one.mutant, outcome, found["failed"] or "import", len(one.tests), took_s)


def _result(copy: Path) -> Path:
    return copy / "verdict.json"


def _child(mutant: Mutant, tests: list[str], copy: Path) -> None:
    """Write the mutant into the copy and run its tests there; Python keeps no bytecode of it."""
    import pytest

    path = copy / mutant.path
    path.rename(f"{path}.kept")
    path.write_text(mutant.source, encoding="utf-8")
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(copy)]
    os.environ["PYTHONPATH"] = os.pathsep.join((str(copy), str(TOOLS)))
    os.chdir(copy)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    chosen = Chosen(tests)
    files = sorted({test.split("::")[0] for test in tests})
    code = pytest.main([*ARGUMENTS, "-x", *files], plugins=[chosen])
    _result(copy).write_text(json.dumps({"code": int(code), "failed": chosen.failed, "ran": chosen.ran}))
    os._exit(0)
