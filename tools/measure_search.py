#!/usr/bin/env python3
"""Measure search among keys of attention on this machine, and write what the package predicts other machines by.

    python tools/measure_search.py -o kernels/search/measured.json

It trains a small language model (`search/small_model.py`), indexes its keys, and searches them for its later queries.
It needs FAISS, PyTorch and a C compiler: pip install -e '.[search,torch]'. On one core it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from search.small_model import Plan, Vectors, heads_of, library_text, trained

from simexplore.kernels.search.graph import Shape, faiss
from simexplore.kernels.search.measure import RECALL, TOP, Measured, measure

SIZES = (4096, 16384, 65536, 131072)
"""Keys of a head."""
QUERIES = 100
"""Searches of a head: the queries that follow the keys."""
TRAINING = 32768
"""Queries that the graph is projected from, at most: by chance of those that belong to the keys."""
ALL_INDICES_UP_TO = 16384
"""Keys up to which all indices are measured, not the projected graph alone."""
CHASES = 3
"""Times that the machine is asked, of which the one counts that others disturbed least."""
CHASED_BYTES = 64 << 20
"""Over which the latency of memory is measured [B]: keys of 128 K in FP32."""


def measured_head(head: str, keys: Vectors, queries: Vectors, sizes: Sequence[int]) -> list[Measured]:
    """One head at each size that it has enough keys for."""
    rows = []
    rng = np.random.default_rng(0)
    for size in sizes:
        if size + QUERIES > len(keys):
            continue
        training = rng.choice(size, min(size, TRAINING), replace=False)
        indices = ("projected", "hnsw", "ivf") if size <= ALL_INDICES_UP_TO else ("projected",)
        own, later = np.ascontiguousarray(keys[:size]), np.ascontiguousarray(queries[size : size + QUERIES])
        rows += measure(head, own, queries[training], later, Shape(), indices)
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def machine() -> dict[str, Any]:
    """This machine: its CPU, the clock it runs at, the latency of its memory."""
    source = Path(__file__).parent / "search" / "chase.c"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "chase"
        subprocess.run([os.environ.get("CC", "cc"), "-O2", str(source), "-o", str(program)], check=True)
        chase = [str(program), str(CHASED_BYTES)]
        told = [subprocess.run(chase, check=True, capture_output=True, text=True).stdout for _ in range(CHASES)]
    chased = min((json.loads(line) for line in told), key=lambda line: line["latency_s"])
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {"cpu": names[0], "cores": len(names), "clock_hz": chased["clock_hz"], "latency_s": chased["latency_s"]}


def visit(rows: Sequence[Measured], here: dict[str, Any]) -> dict[str, float]:
    """Clocks and misses of a visit: where keys are in caches, and what is added where they are not."""
    own = [row for row in rows if row.index == "projected"]
    few, many = min(row.keys for row in own), max(row.keys for row in own)
    cached, missed = (float(np.mean([row.visit_s for row in own if row.keys == size])) for size in (few, many))
    misses = max(missed - cached, 0.0) / here["latency_s"]
    return {"work_clk": cached * here["clock_hz"], "misses": misses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="keys of a head")
    parser.add_argument("--steps", type=int, default=Plan().steps, help="of training")
    given = parser.parse_args()
    plan, text = Plan(steps=given.steps), library_text(Plan().seed)
    read = max(given.sizes) + 2 * QUERIES + plan.context
    model, loss = trained(text[:-read], plan)
    print(f"trained to {loss:.2f} nat a byte", file=sys.stderr, flush=True)
    rows = []
    for head, keys, queries in heads_of(model, text[-read:], plan):
        rows += measured_head(head, keys, queries, sorted(given.sizes))
    write(given.output, rows, plan, loss)


def write(path: Path, rows: Sequence[Measured], plan: Plan, loss: float) -> None:
    """The file."""
    here = machine()
    about = {
        "what": f"keys visited, and CPU time of a visit, until {RECALL:.0%} of the {TOP} largest products are found",
        "keys": "a byte-level decoder trained on the source of Python's standard library; tools/search/small_model.py",
        "plan": asdict(plan),
        "loss_nat": round(loss, 3),
        "shape": asdict(Shape()),
        "machine": here,
        "visit": visit(rows, here),
        "software": {"faiss": faiss().__version__, "python": platform.python_version()},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    lines = ",\n".join("    " + json.dumps(asdict(row)) for row in rows)
    head = json.dumps(about, indent=2).replace("\n", "\n  ")
    path.write_text(f'{{\n  "about": {head},\n  "rows": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
