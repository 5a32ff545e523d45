"""Do the tests notice when the physics is wrong? Draws one-line mutants and runs the tests that come by them.

    python tools/mutants.py --sample 20          # a look
    python tools/mutants.py --json               # 32 of them
    python tools/mutants.py --named --sample 0   # ten mistakes that must be noticed, by name
    python tools/mutants.py --only sim/libraries # of some files or folders alone
    python tools/mutants.py --list               # what would be tried

The operators are mutmut's (`pip install -e '.[dev]'`). For each mutant only those tests of the physics run that
execute its line, the fastest first; the first failure ends it. Equal files, seed and sample give equal mutants.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mutation.cover import copy_tree, record
from mutation.draw import Mutant, changed, sample
from mutation.run import Verdict, control, run_all

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("sim/mapping", "sim/hardware", "sim/play")
UNITS = ("estimate", "hardware", "libraries", "mapping", "play", "studies")
CONTRACTS = ("agreement", "any_machine", "collectives", "columns", "conv_properties", "physics_properties", "workloads")
SUITES = (
    *(f"tests/unit/{room}" for room in UNITS),
    *(f"tests/contract/test_{name}.py" for name in CONTRACTS),
    *("tests/contract/devices", "tests/contract/language"),
)
"""Tests of the physics and of what stands on it; those of files, tables, sweeps and workers hardly come by it."""
NAMED = Path(__file__).with_name("named_mutants.yaml")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=32, help="how many mutants (default 32)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default 2)")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of tests for each mutant (default 20)")
    parser.add_argument("--named", action="store_true", help=f"the mutants of {NAMED.name} as well")
    parser.add_argument("--only", nargs="+", metavar="PATH", default=FOLDERS, help="draw of these files and folders")
    parser.add_argument("--tests", nargs="+", metavar="PATH", default=SUITES, help="run these alone")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def named_mutants(root: Path = ROOT) -> list[Mutant]:
    """The mutants of the table. Raises SystemExit where a line of it is not once in its file."""
    import yaml

    return [_named(root, **entry) for entry in yaml.safe_load(NAMED.read_text(encoding="utf-8"))]


def _named(root: Path, name: str, file: str, line: str, becomes: str) -> Mutant:
    source = (root / file).read_text(encoding="utf-8")
    if source.count(line) != 1:
        raise SystemExit(f"{NAMED.name}: {name}: {line!r} is {source.count(line)} times in {file}, and should be once")
    first = source[: source.index(line)].count("\n") + 1
    return changed(file, source, source.replace(line, becomes), first, first + line.count("\n"), name)


def judge(mutants: list[Mutant], jobs: int, budget_s: float, suites: Sequence[str]) -> list[Verdict]:
    """Verdicts, in the order of the files; progress goes to stderr."""
    folders = sorted({str(Path(mutant.path).parent) for mutant in mutants})
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(jobs)]
        copy_tree(ROOT, copies[0])
        started = time.monotonic()
        coverage = record(copies[0], folders, suites, jobs)
        _say(f"{len(coverage.tests)} tests pass, recorded in {time.monotonic() - started:.0f} s")
        _duplicate(copies)
        control(coverage, copies[0], 2.0 * budget_s)
        verdicts = []
        for verdict in run_all(mutants, coverage, copies, budget_s):
            verdicts.append(verdict)
            _say(f"{len(verdicts):4d}/{len(mutants)} {verdict.seconds:5.1f} s  {shown(verdict)}")
    return sorted(verdicts, key=lambda verdict: (verdict.mutant.path, verdict.mutant.line))


def _duplicate(copies: list[Path]) -> None:
    """The first copy, its bytecode with it, again for the other jobs."""
    first, *others = copies
    for copy in others:
        shutil.copytree(first, copy, symlinks=True)
        for link in (copy / "simexplore").iterdir():
            if link.is_symlink():
                link.unlink()
                link.symlink_to(copy / link.name)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def shown(verdict: Verdict) -> str:
    mutant = verdict.mutant
    name = f" ({mutant.name})" if mutant.name else ""
    return f"{verdict.outcome:12s} {mutant.path}:{mutant.line}{name}\n      - {mutant.before}\n      + {mutant.after}"


def as_json(verdicts: list[Verdict], seed: int) -> dict[str, object]:
    """The share is of the sample; named mutants are in the list only."""
    drawn = [verdict for verdict in verdicts if not verdict.mutant.name]
    noticed = sum(verdict.noticed for verdict in drawn)
    return {
        "sample": len(drawn),
        "noticed": noticed,
        "share": noticed / len(drawn) if drawn else None,
        "seed": seed,
        "verdicts": [
            {
                "name": verdict.mutant.name,
                "path": verdict.mutant.path,
                "line": verdict.mutant.line,
                "before": verdict.mutant.before,
                "after": verdict.mutant.after,
                "outcome": verdict.outcome,
                "noticed": verdict.noticed,
                "by": verdict.by,
                "tests": verdict.tests,
                "time_s": verdict.seconds,
            }
            for verdict in verdicts
        ],
    }


def main() -> None:
    asked = arguments()
    drawn = sample(ROOT, asked.only, asked.sample, asked.seed)
    mutants = (named_mutants() if asked.named else []) + drawn
    if asked.list:
        print("\n".join(f"{one.path}:{one.line}\n      - {one.before}\n      + {one.after}" for one in mutants))
        return
    verdicts = judge(mutants, asked.jobs, asked.budget, asked.tests)
    told = as_json(verdicts, asked.seed)
    if asked.json:
        print(json.dumps(told, indent=1))
        return
    survivors = [verdict for verdict in verdicts if not verdict.noticed]
    print("\n".join(shown(verdict) for verdict in survivors))
    print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} noticed")


if __name__ == "__main__":
    main()
