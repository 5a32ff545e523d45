"""Ten thousand damaged profiles: rows that are right, or one line, in bounded time and memory.

    python tools/fuzz_profiles.py --cases 10000                        (drawn traces, exports and reports, by seed)
    python tools/fuzz_profiles.py --cases 1000 --real trace.json.gz    (a real trace, with bytes and events changed)
    python tools/fuzz_profiles.py --check trace.json.gz                (links of a trace, found a second way)

A case that raises, that takes over `--seconds`, or whose row is of another call than its kernel, is printed with its
seed, and the exit code is 1. `--check` compares with a program of a few lines that looks at every call for every
launch, and tells how much of the kernels' time became rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import profile_cases  # noqa: E402 - lies beside the tests

from simexplore.kernels.profiles import import_profile  # noqa: E402
from simexplore.kernels.profiles.kineto.events import read_trace  # noqa: E402
from simexplore.kernels.profiles.kineto.links import GRAPH, links  # noqa: E402


def main() -> int:
    """Run what is asked for; 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the next has the next")
    parser.add_argument("--seconds", type=float, default=10.0, help="most that one case may take")
    parser.add_argument("--real", type=Path, action="append", default=[], metavar="TRACE")
    parser.add_argument("--check", type=Path, action="append", default=[], metavar="TRACE")
    options = parser.parse_args()
    if options.check:
        return int(sum(not check(path) for path in options.check) > 0)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seed, options.seed + options.cases):
            outcomes[case(Random(seed), Path(folder), options.real, options.seconds, seed)] += 1
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()), f"in {memory_mb:.0f} MB")
    return int(outcomes["wrong"] > 0)


def case(draw: Random, folder: Path, real: list[Path], most_s: float, seed: int) -> str:
    """One damaged profile: `rows`, `one line` or `wrong`."""
    kind = "kineto" if real else draw.choice(sorted(profile_cases.DAMAGED))
    path = folder / f"case.{kind}"
    path.unlink(missing_ok=True)
    bytes_too = draw.random() < 0.4
    if real:
        _damage_real(draw, draw.choice(real), path)
    else:
        profile_cases.DAMAGED[kind](draw, path)
    if bytes_too:
        profile_cases.damaged_bytes(draw, path)
    begun = time.perf_counter()
    try:
        found = profile_cases.checked(kind, path)
        if not real and not bytes_too:
            profile_cases.assert_links(found)
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        print(f"seed {seed}, {kind}:")
        traceback.print_exc()
        return "wrong"
    taken_s = time.perf_counter() - begun
    if taken_s > most_s:
        print(f"seed {seed}, {kind}: {taken_s:.1f} s")
        return "wrong"
    return "one line" if isinstance(found, str) else "rows"


def _damage_real(draw: Random, real: Path, path: Path) -> None:
    """A piece of a real trace, with events lost and changed."""
    made = _loaded(real)
    events = made["traceEvents"]
    start = draw.randrange(max(len(events) - 400, 1))
    made["traceEvents"] = json.loads(json.dumps(events[start : start + 400]))
    for _ in range(draw.randint(1, 6)):
        draw.choice(profile_cases.TRACE_DAMAGE)(draw, made)
    profile_cases.write_trace(draw, made, path)


_READ: dict[Path, dict[str, Any]] = {}


def _loaded(path: Path) -> dict[str, Any]:
    if path not in _READ:
        raw = path.read_bytes()
        _READ[path] = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    return dict(_READ[path])


def check(path: Path) -> bool:
    """Whether the importer's links of a trace are those of `second_way`; tells the share of time that became rows."""
    trace = read_trace(path)
    found_links = links(trace)
    mine = [link.call and (link.call.start_us, link.call.end_us) for link in found_links]
    theirs = second_way(_loaded(path)["traceEvents"])
    graphs = sum(link.reason == GRAPH for link in found_links)
    linked = [(one, other) for one, other in zip(mine, theirs, strict=True) if one is not None]
    wrong = sum(one != other for one, other in linked)
    lost = sum(one is None and other is not None for one, other in zip(mine, theirs, strict=True)) - graphs
    found = import_profile("kineto", path)
    print(
        f"{path.name}: {len(linked)} of {len(mine)} kernels linked, {wrong} otherwise than the second way, {lost} only "
        f"by it, {graphs} of graphs; {found.matched_share:.2%} of the time in {len(found.frame)} rows"
    )
    return wrong == 0


def second_way(events: list[Any]) -> list[tuple[float, float] | None]:
    """Start and end of the call that launched each GPU event: every call of the thread is looked at, no order kept.

    For traces of one process whose events are sound.
    """
    whole = [event for event in events if isinstance(event, dict) and event.get("ph") == "X"]
    calls, launches = defaultdict(list), defaultdict(list)
    for event in whole:
        if event.get("cat") in ("cpu_op", "Operator"):
            calls[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif str(event.get("cat")).lower().endswith(("runtime", "driver")):
            launches[event.get("args", {}).get("correlation")].append(event)
    found: list[tuple[float, float] | None] = []
    for event in whole:
        if event.get("cat") not in ("kernel", "gpu_memcpy", "gpu_memset", "Kernel", "Memcpy", "Memset"):
            continue
        own = launches.get(event["args"].get("correlation"), [])
        around = [
            max(held, key=lambda call: (call[0], -call[1]), default=None)
            for launch in own
            for held in [[c for c in calls[launch["pid"], launch["tid"]] if c[0] <= launch["ts"] <= c[1]]]
        ]
        one = around[0] if around and len(set(around)) == 1 else None
        found.append(one)
    return found


if __name__ == "__main__":
    sys.exit(main())
