"""Measure this machine's Vulkan device, calibrate it, predict kernels that it was not calibrated on, and say how well.

    python examples/vulkan_loop.py [FOLDER]

Writes micro.csv, calibration.csv, exam.csv, neural.csv and calibrated.yaml into FOLDER (by default a temporary one).
About two minutes on two cores with Mesa's software driver. What is printed:

- the error of the exam, beside that of a roofline whose peaks are the best rates of micro.csv;
- how much faster a chain of twelve elementwise stages is as one kernel, measured and predicted.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import simexplore
from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.measurement import TIME
from simexplore.kernels.measuring import out_of_step, reference_s
from simexplore.kernels.runner import Effort
from simexplore.kernels.vulkan.neural import STAGE_INSTRUCTIONS
from simexplore.sim.conditions import WARM

ARCH = "cpu/lavapipe"
MOST_AGAIN = 2
"""Times that a table is measured again because the machine's speed differed."""


@dataclass(frozen=True)
class Exam:
    """How well predictions and measurements agree."""

    rows: int
    span: float
    """Longest time over the shortest."""
    mape: float
    spearman: float
    """Rank correlation of predicted and measured times."""
    roofline_mape: float
    """The same kernels by max(flops / peak, bytes / peak)."""


@dataclass(frozen=True)
class Peaks:
    """A roofline: the best rates of the micro-benchmarks."""

    flop_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Fusion:
    """Time of a chain of stages over that of the fused kernel."""

    rays: int
    measured: float
    predicted: float


def measured_in_step(folder: Path, effort: Effort | None = None) -> None:
    """Measure calibration and exam, and the slower one again where the machine ran at different speeds meanwhile.

    On a machine that others share, a fit to a slow quarter of an hour predicts that quarter of an hour.
    """
    tables = [folder / f"{suite}.csv" for suite in ("calibration", "exam")]
    for _ in range(1 + MOST_AGAIN):
        for table in tables:
            simexplore.measure("vulkan", table.stem, table, effort=effort)
        paces = [reference_s(table) or 0.0 for table in tables]
        if not out_of_step(tables[0]):
            return
        slower = tables[paces.index(max(paces))]
        print(f"{slower.name} again: the reference kernel took {max(paces) * 1e6:.0f} and {min(paces) * 1e6:.0f} µs")
        slower.unlink()


def calibrated(folder: Path, effort: Effort | None = None) -> Gpu:
    """Measure the calibration suite and fit the machine to it."""
    simexplore.measure("vulkan", "calibration", folder / "calibration.csv", effort=effort)
    return simexplore.calibrate(ARCH, folder / "calibration.csv", folder / "calibrated.yaml").gpu


def peaks(folder: Path, effort: Effort | None = None) -> Peaks:
    """Measure the micro-benchmarks: the best multiply-add rate and the best streaming rate."""
    simexplore.measure("vulkan", "micro", folder / "micro.csv", effort=effort)
    micro = pd.read_csv(folder / "micro.csv")
    multiply_adds = micro[(micro["op"] == "fma_rate") & (micro["dtype"] == "fp32")]
    streams = micro[micro["op"].isin(["copy", "triad"])]
    return Peaks(1e9 * multiply_adds["gflop_per_s"].max(), 1e9 * streams["gb_per_s"].max())


def examine(gpu: Gpu, roofline: Peaks, folder: Path, effort: Effort | None = None) -> Exam:
    """Measure the exam, and hold the machine's and the roofline's predictions against it."""
    simexplore.measure("vulkan", "exam", folder / "exam.csv", effort=effort)
    comparison = simexplore.compare(gpu, folder / "exam.csv")
    table = comparison.table
    seconds = table[TIME] * 1e-6
    flops, moved = (table[rate].astype(float) * 1e9 * seconds for rate in ("gflop_per_s", "gb_per_s"))
    roofline_s = np.maximum(flops / roofline.flop_per_s, moved / roofline.bytes_per_s)
    return Exam(
        rows=len(table),
        span=float(seconds.max() / seconds.min()),
        mape=comparison.total.mape,
        spearman=float(table["predicted_us"].corr(table[TIME], method="spearman")),
        roofline_mape=float(np.mean(np.abs(roofline_s / seconds - 1.0))),
    )


def fusion(gpu: Gpu, folder: Path, effort: Effort | None = None) -> list[Fusion]:
    """Fused and un-fused chains, measured and predicted, by size."""
    simexplore.measure("vulkan", "neural", folder / "neural.csv", effort=effort)
    table = pd.read_csv(folder / "neural.csv")
    times = {op: table[table["op"] == op].set_index("rays")[TIME] for op in ("ray_kernel", "ray_kernels")}
    sizes = [int(rays) for rays in times["ray_kernel"].index]
    return [
        Fusion(
            rays,
            float(times["ray_kernels"][rays] / times["ray_kernel"][rays]),
            sum(_predicted_s(gpu, rays, instructions) for instructions in STAGE_INSTRUCTIONS)
            / _predicted_s(gpu, rays, sum(STAGE_INSTRUCTIONS)),
        )
        for rays in sizes
    ]


def _predicted_s(gpu: Gpu, rays: int, instructions: int) -> float:
    work = f"ray_kernel(rays={rays},read_bytes=4,write_bytes=4,instructions={instructions},dtype=fp32)"
    return simexplore.estimate(work, gpu, cache=WARM).time_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for what is written [default: a temporary one]")
    asked: Path | None = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measured_in_step(folder)
        gpu = calibrated(folder)
        exam = examine(gpu, peaks(folder), folder)
        print(f"exam: {exam.rows} kernels, longest {exam.span:,.0f} times the shortest")
        print(f"mape {exam.mape:.1%}, Spearman {exam.spearman:.3f}; roofline: mape {exam.roofline_mape:.1%}")
        for chain in fusion(gpu, folder):
            print(
                f"chain of {chain.rays} values: fused is {chain.measured:.1f} times faster, "
                f"predicted {chain.predicted:.1f} ({chain.predicted / chain.measured - 1.0:+.0%})"
            )


if __name__ == "__main__":
    main()
