"""Measure everything on a GPU of your own, and set what its arch file predicts beside it. One command, resumable:

    python tools/measure_gpu.py NAME --arch ARCH [--backends cuda,torch,vulkan] [--device cuda=0,torch=1,vulkan=0]

For instance `python tools/measure_gpu.py h200-sxm --arch nvidia/h200-sxm`. Each suite becomes a table and a sidecar in
kernels/measured/NAME/ (cuda-micro.csv, cuda-micro.csv.json, …); what is there already is not measured again, so run the
same command after an interruption. A backend that is not here is told and left out; where none is and nothing was
measured before, the exit code is 2. A kernel that computes something wrong ends its suite, and the exit code is 1.
Then come, and are written to predicted.json:

- operators: the error of the predictions by table, as `simexplore compare` gives it;
- micro-benchmarks: figure by figure (clocks, rates) against `simexplore reproduce hopper`'s, on ARCH@facts;
- what the rows settle of the GPU: near and far L2, an isolated wgmma, the clock under load, the size of the L2.

About half an hour on a data-centre GPU. Needs pip install 'simexplore[cuda,cublas,torch,vulkan]' and the GPU's driver.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

import simexplore
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.backend.registry import backend_of
from simexplore.kernels.suites import suites_of
from simexplore.sim.studies.measured_micro import Beside, beside, settled

MEASURED = Path(__file__).resolve().parents[1] / "kernels" / "measured"
BACKENDS = ("cuda", "torch", "vulkan")
TORCH_GPU = 1
"""PyTorch's first GPU; its device 0 is the CPU."""
MICRO_SUITES = ("micro", "hopper")
CLOSE = 0.1
"""A simulated figure agrees within this share of the measured one."""


def measured(folder: Path, backends: list[str], devices: dict[str, int], budget_s: float) -> dict[str, str]:
    """Measure every suite of the backends; what went wrong, by backend or table."""
    wrong = {}
    for backend in backends:
        number = devices.get(backend, TORCH_GPU if backend == "torch" else 0)
        try:
            backend_of(backend).open(number).close()
        except SimexploreError as error:
            wrong[backend] = str(error)
            print(f"{backend}: left out: {error}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for suite in suites_of(backend):
            table = folder / f"{backend}-{suite}.csv"
            try:
                outcome = simexplore.measure(backend, suite, table, device=number, budget_s=budget_s)
            except SimexploreError as error:
                wrong[table.name] = str(error)
                print(f"{table.name}: {error}")
                continue
            left_out = "".join(f"; {count} left out: {why}" for why, count in outcome.left_out.items())
            print(f"{table.name}: {outcome.measured} measured, {outcome.already_done} were there{left_out}")
    return wrong


def operators(gpu: Gpu, folder: Path) -> dict[str, dict[str, Any]]:
    """Errors of the predictions by table, of tables that hold operators."""
    found = {}
    for table in sorted(folder.glob("*.csv")):
        backend, suite = table.stem.split("-", 1)
        if backend in ("cuda", "vulkan") and suite in MICRO_SUITES:
            continue
        try:
            found[table.name] = simexplore.compare(gpu, table).as_dict()
        except SimexploreError as error:
            print(f"{table.name}: nothing to compare: {error}")
    return found


def micro_figures(gpu: Gpu, folder: Path) -> tuple[list[Beside], Counter[str], dict[str, float]]:
    """Figures of CUDA's micro-benchmarks beside the machine's, rows without one, and what the rows settle."""
    tables = [pd.read_csv(path) for suite in MICRO_SUITES if (path := folder / f"cuda-{suite}.csv").exists()]
    if not tables:
        return [], Counter(), {}
    rows = pd.concat(tables, ignore_index=True)
    return *beside(gpu, rows), settled(rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="folder of the tables in --root")
    parser.add_argument("--arch", required=True, help="machine to predict with: a name or a file")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="of cuda, torch, vulkan [%(default)s]")
    parser.add_argument("--device", default="", help="numbers as `simexplore devices` shows them, e.g. cuda=1,torch=2")
    parser.add_argument("--root", type=Path, default=MEASURED, help="[%(default)s]")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds for each suite")
    return parser.parse_args()


def devices_of(text: str) -> dict[str, int]:
    """`cuda=0,torch=1` as numbers by backend. Raises SimexploreError for anything else."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    for name, _, number in pairs:
        if name not in BACKENDS or not number.isdecimal():
            raise SimexploreError(f"--device: expected such as cuda=0,torch=1, found {text!r}")
    return {name: int(number) for name, _, number in pairs}


def main() -> int:
    """0; 1 where a suite went wrong; 2 where there is nothing to measure on, or a mistake in the arguments."""
    try:
        return measure_and_predict(arguments())
    except SimexploreError as error:
        print(f"measure_gpu.py: {error}", file=sys.stderr)
        return 2


def measure_and_predict(given: argparse.Namespace) -> int:
    folder = given.root / given.name
    devices, backends = devices_of(given.device), given.backends.split(",")
    gpu = simexplore.load_arch(given.arch)
    wrong = measured(folder, backends, devices, given.budget)
    if not any(folder.glob("*.csv")):
        without = "; ".join(wrong.get(name, f"{name}: it has no suites") for name in backends)
        raise SimexploreError(f"expected a device to measure on, found none: {without}")
    compared = operators(gpu, folder)
    facts = simexplore.load_arch(f"{given.arch}@facts") if not Path(given.arch).suffix else gpu
    figures, without, open_questions = micro_figures(facts, folder)
    show(compared, figures, open_questions)
    document = {
        "arch": given.arch,
        "wrong": wrong,
        "operators": compared,
        "micro": [{**figure.__dict__, "ratio": figure.ratio} for figure in figures],
        "micro_without": dict(without),
        "settled": open_questions,
    }
    (folder / "predicted.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{folder / 'predicted.json'} has all of it")
    return 1 if any(name.endswith(".csv") for name in wrong) else 0


def show(compared: dict[str, dict[str, Any]], figures: list[Beside], open_questions: dict[str, float]) -> None:
    print()
    for name, errors in compared.items():
        for op, one in errors["by_op"].items():
            print(f"{name}: {op}: mape {one['mape']:.1%}, bias {one['bias']:+.1%} over {one['rows']} rows")
    for figure in figures:
        line = f"measured {figure.measured:.5g}, simulated {figure.simulated:.5g} {figure.unit}"
        print(f"{figure.quantity}: {line} ({figure.ratio - 1.0:+.0%})")
    if figures:
        close = sum(abs(figure.ratio - 1.0) <= CLOSE for figure in figures)
        print(f"micro-benchmarks: {close} of {len(figures)} figures within {CLOSE:.0%}")
    for name, value in open_questions.items():
        print(f"{name}: {value:,.0f}")


if __name__ == "__main__":
    sys.exit(main())
