"""How rough a table of GEMMs is: what one row more of A changes, measured and predicted.

    python tools/roughness.py --arch nvidia/h200-sxm aiconfigurator:h200_sxm/gemm/sglang

Work that grows by 1/m takes hardly longer, but where a rule of the engine changes, which the prediction knows too. What
the measured times jump by beyond that is noise of the measurement, and no prediction of single rows can be nearer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd

import simexplore
from simexplore.kernels.datasets import read_measurements

SIZES = ["n", "k", "m"]


def steps(table: pd.DataFrame) -> Iterator[tuple[str, int, float, float]]:
    """Of each type: pairs of rows, and the mean steps of log time, measured and predicted."""
    for dtype, rows in table.groupby("dtype"):
        rows = rows.sort_values(SIZES)
        logs = np.log(rows[["time_us", "predicted_us"]].to_numpy())
        sizes = rows[SIZES].to_numpy()
        next_to = np.all(np.diff(sizes, axis=0) == (0.0, 0.0, 1.0), axis=1)
        measured, predicted = np.abs(np.diff(logs, axis=0)[next_to]).mean(axis=0)
        yield str(dtype), int(next_to.sum()), float(measured), float(predicted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="TABLE")
    parser.add_argument("--arch", required=True)
    asked = parser.parse_args()
    for name in asked.tables:
        table = simexplore.compare(asked.arch, read_measurements(name)).table
        for dtype, pairs, measured, predicted in steps(table[table["op"] == "gemm"]):
            print(f"{name} {dtype}: m to m + 1 changes the time by {100 * measured:.1f} %, as predicted by "
                  f"{100 * predicted:.1f} % ({pairs} pairs)")  # fmt: skip


if __name__ == "__main__":
    main()
