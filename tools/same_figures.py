"""Whether two versions of simexplore say the same: record all figures of one, all of the other, and compare the files.

    python tools/same_figures.py record before.json --measured DIR      (in an environment with the one version)
    python tools/same_figures.py record after.json --measured DIR       (with the other)
    python tools/same_figures.py compare before.json after.json

Recorded are `compare` on every table of DIR that has a machine here, `reproduce`, README's sweep, some graphs, and
random operators on six machines, in closed form and as events. `compare` exits with 1 where a figure differs by more
than the tolerance, or is in one file only. Only the public face is used, so that versions with different insides can
be held against each other.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import simexplore

ROOT = Path(__file__).resolve().parents[1]
MACHINES = ("h200-sxm", "a100-sxm-80gb", "l40s", "rtx-3090", "b200", "v100-pcie-32gb")
TABLES = {
    "aic_h200*": "h200-sxm",
    "aic_a100*": "a100-sxm-80gb",
    "aic_l40s*": "l40s",
    "llmservingsim*": "rtx-3090",
    "gpperf*": "rtx-4070",
    "neusight_A100*": "a100-pcie-80gb",
    "neusight_V100*": "v100-pcie-32gb",
    "llmcompass*": "a100-sxm-80gb",
    "aic_all*": "h200-sxm",
}
GRAPHS = (
    ("llm/llama-3-8b/prefill", "nvidia/h200-sxm", {"batch": 2, "prompt": 2048}),
    ("llm/llama-3-8b/decode", "nvidia/a100-sxm-80gb", {"batch": 8, "context": 4096}),
    ("ngp/nerf/hashgrid", "nvidia/rtx-3090", {}),
    ("ngp/nerf/hashgrid", "ngpc/rtx-3090-ngpc-64", {}),
    ("ngp/gia/densegrid", "ngpc/rtx-3090-ngpc-8", {}),
)
COMMAND = "from simexplore.cli.main import main; main()"
Figures = dict[str, float | str | None]


def random_operators(count: int, seed: int) -> Iterator[str]:
    """Texts of operators of ten families, sizes spread over their logarithms."""
    random = np.random.default_rng(seed)

    def size(least: float, most: float) -> int:
        return round(math.exp(random.uniform(math.log(least), math.log(most))))

    def any_of(*values: Any) -> Any:
        return values[random.integers(len(values))]

    def heads() -> str:
        kv_heads, group = any_of(1, 2, 4, 8), any_of(1, 2, 4, 8, 16)
        kept = any_of("", ",kv_dtype=int8")
        return f"batch={size(1, 64)},heads={kv_heads * group},kv_heads={kv_heads},head_dim={any_of(64, 128)}{kept}"

    for _ in range(count):
        rows_cols = f"(rows={size(1, 16384)},cols={size(8, 16384)},dtype={any_of('fp16', 'fp32')})"
        conv = f"batch={size(1, 32)},cin={size(3, 512)},cout={size(8, 512)},ksize={any_of(1, 3, 5)},hw={size(7, 128)}"
        yield any_of(
            f"gemm(m={size(1, 16384)},n={size(16, 16384)},k={size(16, 16384)},dtype={any_of('bf16', 'fp16', 'fp32')})",
            f"gemm(m=1,n={size(16, 16384)},k={size(16, 16384)},dtype=bf16)",
            f"attention_decode({heads()},seq_kv={size(2, 65536)},dtype=bf16)",
            f"attention_prefill(batch={size(1, 8)},heads=32,kv_heads={any_of(1, 8, 32)},head_dim={any_of(64, 128)},"
            f"seq_q={(queries := size(16, 8192))},seq_kv={queries + any_of(0, 512)},dtype=bf16)",
            f"softmax{rows_cols}",
            f"layernorm{rows_cols}",
            f"rmsnorm{rows_cols}",
            f"gelu(elements={size(64, 2**27)},dtype=fp16)",
            f"conv2d({conv},stride={any_of(1, 2)},pad=1,dtype={any_of('fp32', 'fp16')})",
            f"all_reduce(elements={size(64, 2**27)},num_gpus={any_of(2, 4, 8)},dtype=bf16)",
        )


def of_operators(count: int) -> Figures:
    """Times and energies of random operators, in closed form and as events."""
    found: Figures = {}
    for machine in MACHINES:
        gpu = simexplore.load_arch(f"nvidia/{machine}")
        for number, text in enumerate(random_operators(count, seed=11)):
            for how in ("estimate", "simulate"):
                name = f"operator/{machine}/{number}/{text}/{how}"
                try:
                    told = getattr(simexplore, how)(text, gpu).to_json()
                except simexplore.SimexploreError:
                    found[name] = "refused"
                    continue
                found[f"{name}/time_s"], found[f"{name}/high_s"] = told["time_s"], told["time_high_s"]
                found[f"{name}/energy_j"] = told["energy_j"]
                found[f"{name}/bound"] = "+".join(op["bound"] for op in told["ops"])
    return found


def of_graphs() -> Figures:
    """Figures of whole workloads."""
    found: Figures = {}
    for work, machine, params in GRAPHS:
        graph, gpu = simexplore.load_workload(work, params), simexplore.load_arch(machine)
        for how in ("estimate", "simulate"):
            told = getattr(simexplore, how)(graph, gpu).to_json()
            found |= {f"graph/{work}/{machine}/{how}/{key}": told[key] for key in ("time_s", "energy_j", "time_high_s")}
            found |= _flat(told["utilization"] or {}, f"graph/{work}/{machine}/{how}/utilization")
    return found


def of_commands(measured: Path) -> Figures:
    """What `compare`, `reproduce` and README's sweep print."""
    found: Figures = {}
    for pattern, machine in TABLES.items():
        for table in sorted(measured.glob(f"{pattern}.csv")):
            for extra in ((), ("--physics-only",)):
                told = _json("compare", "--arch", f"nvidia/{machine}", "--measured", str(table), *extra)
                found |= _flat(told, f"compare/{table.stem}{''.join(extra)}")
    for row in _json("reproduce") or []:
        found[f"reproduce/{row['paper']}/{row['quantity']}"] = row["simulated"]
    with tempfile.TemporaryDirectory() as folder:
        points = _json("sweep", str(ROOT / "examples" / "hopper-memory.yaml"), "-o", folder)
    return found | _flat({str(point.pop("point")): point for point in points}, "sweep")


def _json(*words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words, "--json"], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        return {"refused": done.stderr.strip().splitlines()[-1:]}
    lines = done.stdout.splitlines()
    return json.loads(done.stdout) if not lines[0].endswith("}") else [json.loads(line) for line in lines]


def _flat(told: Any, name: str) -> Figures:
    """Numbers and texts inside plain data by their path, but for what depends on the clock or on folders."""
    if isinstance(told, dict):
        items = [(key, value) for key, value in told.items() if not any(word in key for word in _OF_THIS_RUN)]
    elif isinstance(told, list):
        items = list(enumerate(told))
    else:
        return {name: told}
    return {path: value for key, inner in items for path, value in _flat(inner, f"{name}/{key}").items()}


_OF_THIS_RUN = ("rows_per_s", "elapsed", "points_per_s", "folder", "seconds", "file", "path", "measured", "version")


def differences(before: Figures, after: Figures, tolerance: float) -> list[str]:
    """A line for each figure that differs by more than the tolerance, relative, or is on one side only."""
    found = [f"{name}: only {side}" for name in before.keys() ^ after.keys() for side in _side(name, before)]
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        if isinstance(one, float | int) and isinstance(other, float | int):
            far = abs(one - other) / max(abs(one), abs(other), 1e-300)
            if far > tolerance:
                found.append(f"{name}: {one!r} -> {other!r} ({far:.1e})")
        elif one != other:
            found.append(f"{name}: {one!r} -> {other!r}")
    return sorted(found)


def _side(name: str, before: Figures) -> list[str]:
    return ["before" if name in before else "after"]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="See the top of this file.")
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="write all figures of the installed version to a file")
    record.add_argument("file", type=Path)
    record.add_argument("--measured", type=Path, help="folder of measured tables; absent: no comparisons and studies")
    record.add_argument("--operators", type=int, default=1000, help="random operators on each machine")
    compare = commands.add_parser("compare", help="hold two files against each other")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.add_argument("--tolerance", type=float, default=1e-9, help="relative difference that is none")
    given = parser.parse_args()
    if given.command == "record":
        figures = of_operators(given.operators) | of_graphs()
        figures |= of_commands(given.measured) if given.measured else {}
        given.file.write_text(json.dumps(figures, indent=0, allow_nan=True) + "\n", encoding="utf-8")
        print(f"{len(figures)} figures")
        return 0
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (given.before, given.after))
    found = differences(before, after, given.tolerance)
    print("\n".join(found[:40]))
    print(f"{len(before)} figures before, {len(after)} after, {len(found)} differ by more than {given.tolerance:g}")
    return 1 if found or not before else 0


if __name__ == "__main__":
    sys.exit(main())
