"""Copies of the tree to mutate, and which tests run which lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation.draw import Mutant, files_of
from mutation.plugin import FIXTURE

ROOMS = ("archs", "workloads", "kernels", "sim", "cli")
ARGUMENTS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--hypothesis-profile=mutants")
"""The profile, of tests/conftest.py, draws the same examples every time and shrinks none."""
TOOLS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Passing:
    """One test that passes on the code as it is."""

    seconds: float
    fixtures: frozenset[str]


@dataclass(frozen=True)
class Coverage:
    """Who runs a line."""

    tests: dict[str, Passing]
    by_line: dict[str, dict[int, set[str]]]
    """Path of a file, line, tests by their names."""

    def of(self, mutant: Mutant, budget_s: float) -> list[str]:
        """Tests that run the mutant's lines, the fastest first, no more than take `budget_s` [s] together.

        A line that only runs when its module is imported belongs to every test of the module's other lines.
        """
        lines = self.by_line.get(mutant.path, {})
        found = set().union(*(lines.get(line, ()) for line in range(mutant.line, mutant.last_line + 1)))
        found = found or set().union(*lines.values())
        chosen, spent_s = [], 0.0
        for test in sorted(found, key=lambda test: self.tests[test].seconds):
            spent_s += self.tests[test].seconds
            if chosen and spent_s > budget_s:
                break
            chosen.append(test)
        return chosen

    def seconds(self, tests: Iterable[str]) -> float:
        return sum(self.tests[test].seconds for test in tests)


def copy_tree(root: Path, to: Path) -> None:
    """The project in another folder, laid out so that `import simexplore` finds it there when it is on the path."""
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "shared", "node_modules", "build", "dist")
    shutil.copytree(root, to, ignore=unwanted)
    for room in ROOMS:
        (to / "simexplore" / room).symlink_to(to / room)


def environment(copy: Path) -> dict[str, str]:
    """Of a process that is to import the copy and the plugin."""
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(copy), str(TOOLS))), "PYTHONHASHSEED": "0"}


def record(copy: Path, folders: Sequence[str], suites: Sequence[str], jobs: int) -> Coverage:
    """Run the suites once on the copy, its test files in `jobs` processes.

    Raises SystemExit where pytest itself fails; tests that fail on the code as it is are told and left out.
    """
    files = sorted(str(path.relative_to(copy)) for suite in suites for path in files_of(copy / suite, "test_*.py"))
    jobs = min(jobs, len(files))
    script = (
        "import sys, pathlib, pytest\nfrom mutation.plugin import Recorder\n"
        "folder, part, sources, *rest = sys.argv[1:]\n"
        "recorder = Recorder(pathlib.Path(folder), int(part), sources.split(','))\n"
        "sys.exit(pytest.main(rest, plugins=[recorder]))"
    )
    sources = ",".join(str(copy / folder) for folder in folders)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(copy), str(part), sources, *ARGUMENTS, *files[part::jobs]],
            cwd=copy,
            env=environment(copy),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for part in range(jobs)
    ]
    for process in processes:
        said, _ = process.communicate()
        if process.returncode not in (0, 1):
            raise SystemExit(f"pytest ended with {process.returncode} on the code as it is:\n{said[-3000:]}")
    return _read(copy, jobs)


def _read(copy: Path, jobs: int) -> Coverage:
    """What the parts wrote; a shared fixture's lines belong to all tests that ask for it."""
    from coverage import CoverageData

    tests: dict[str, Passing] = {}
    for part in range(jobs):
        for name, test in json.loads((copy / f"tests-{part}.json").read_text(encoding="utf-8")).items():
            if test["passed"]:
                tests[name] = Passing(test["s"], frozenset(test["fixtures"]))
    by_line: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    who: dict[str, set[str]] = {}
    for part in range(jobs):
        data = CoverageData(basename=str(copy / f"lines-{part}"))
        data.read()
        for file in data.measured_files():
            path = str(Path(file).relative_to(copy.resolve()))
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in contexts:
                    by_line[path][line] |= who.setdefault(context, _tests_of(context, tests))
    return Coverage(tests, {path: {line: who for line, who in lines.items() if who} for path, lines in by_line.items()})


def _tests_of(context: str, tests: dict[str, Passing]) -> set[str]:
    if not context.startswith(f"{FIXTURE} "):
        return {context} & tests.keys()
    _, fixture, *home = context.split(" ", 2)
    base = home[0] if home else ""
    return {name for name, test in tests.items() if fixture in test.fixtures and name.startswith(base)}
