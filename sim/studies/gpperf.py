"""GPPerf (Liu and Halim, arXiv 2411.16954): GEMMs of an RTX 4070, by its random forest and by the simulator.

The forest is fitted as GPPerf's `cutlass_predictor.py` does, on rows with a recorded power, and asked about the fifth
that it was not fitted on. The simulator takes the machine by its facts (`@facts`), with nothing fitted to any kernel.
Its rows are those that ran alone: the others (896 of 16,128) shared the GPU with another job. Their block columns name
no kernel: it was always the SIMT kernel of 128 x 128. Of the naive kernel, m and n up to 2048 are left out: those were
launched once, cold, and took 5 ms or more whatever their size. The instruction counts of its mapping were fitted on
half of the other rows: the error is that of the rest. Power is judged in `gpperf_power`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Tile
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import gpperf, read_measurements
from simexplore.kernels.measurement import TIME
from simexplore.sim.compare.predictors import forest
from simexplore.sim.conditions import COLD, WARM, CacheState, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping.conv.transforms import with_simt_tiles
from simexplore.sim.studies import gpperf_power, record_of
from simexplore.sim.studies.gpperf_power import r2
from simexplore.workloads.ops import Gemm, NaiveTiledGemm, Operator

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "gpperf.yaml"
CUTLASS, TILED = "gpperf_RTX4070_cutlass_16128.csv", "gpperf_RTX4070_tiled.csv"
SIZES = ("m", "n", "k", "blocksize1", "blocksize2", "blocksize3")
DERIVED = ("arithmetic_intensity", "bytes_accessed", "total_flops")
TARGETS = ("runtime", "power", "Energy", "TFlops")
CLIPPED = (0.01, 0.99)
"""Quantiles that GPPerf clips every column to."""
SPLIT_SEED = 42
"""Seed of GPPerf's split; that of its trees is not set, so any is as good."""
FEWEST_ROWS = 10
SMALLEST_SIDE = 8192
CUBE = 16384
NAIVE_SEED = 0
"""Seed of the half of the naive rows that `sim.mapping.naive_gemm` was set on."""

Floats = npt.NDArray[np.float64]


def study(measured: Path) -> list[dict[str, Any]]:
    """Published figures beside ours; `measured` is the folder with both tables. Raises SimexploreError for bad ones."""
    table = read_document(PUBLISHED).data
    gpu = load_arch(f"{table['arch']}@facts")
    simt = with_simt_tiles(gpu, Tile.parse(table["tile"]))
    cutlass, naive = gpperf.read_cutlass(measured / CUTLASS), read_measurements(measured / TILED).frame
    _, held_out = split(prepared(cutlass))
    found = {
        **forest_figures(cutlass),
        **simulated_figures(cutlass, simt),
        **gpperf_power.simulated_figures(cutlass, held_out, simt),
        **naive_figures(naive, gpu),
        **gpperf_power.naive_figures(naive, gpu, cube=CUBE),
    }
    for key, value in found.items():
        if not np.isfinite(value):
            raise SimexploreError(
                f"gpperf: {key}: expected rows that tell it in {measured}, found too few or all alike"
            )
    return [record_of(table, figure, found[figure["key"]]) for figure in table["figures"]]


def forest_figures(frame: pd.DataFrame) -> dict[str, float]:
    """R2 and errors of the forest on the rows it was not fitted on, and of two levels in place of its power.

    Raises SimexploreError without scikit-learn.
    """
    fitted, held_out = split(prepared(frame))
    features, targets = [*SIZES, *DERIVED], list(TARGETS)
    trees = forest(fitted[features].to_numpy(), fitted[targets].to_numpy(), seed=0)
    guessed = np.asarray(trees.predict(held_out[features].to_numpy()))
    truth = held_out[targets].to_numpy()
    return {
        "forest_r2": r2(guessed[:, 0], truth[:, 0]),
        "forest_error": _mean_error(guessed[:, 0], truth[:, 0]),
        **gpperf_power.forest_figures(guessed[:, 1], held_out),
        **gpperf_power.two_levels(fitted, held_out),
    }


def split(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The four fifths of prepared rows that GPPerf fits on, and the fifth that it holds out.

    Raises:
        SimexploreError: rows too few to split.
    """
    if len(rows) < FEWEST_ROWS:
        raise SimexploreError(f"gpperf: expected {FEWEST_ROWS} CUTLASS rows with a power or more, found {len(rows)}")
    order = np.random.RandomState(SPLIT_SEED).permutation(len(rows))  # as scikit-learn's train_test_split does
    held_out, fitted = np.split(order, [int(np.ceil(0.2 * len(rows)))])
    return rows.iloc[fitted], rows.iloc[held_out]


def prepared(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows as GPPerf prepares them: columns clipped one after another, rows without a target dropped on the way.

    The order matters: runtimes are clipped to a quantile of all rows, energies to one of those with a power.
    """
    m, n, k = (frame[side] for side in ("m", "n", "k"))
    rows = frame.assign(total_flops=2.0 * m * n * k, bytes_accessed=4.0 * (m * k + k * n + m * n))
    rows["arithmetic_intensity"] = rows["total_flops"] / rows["bytes_accessed"]
    for column in (*SIZES, *DERIVED, *TARGETS):
        low, high = (float(rows[column].quantile(share)) for share in CLIPPED)
        rows[column] = rows[column].clip(low, high)
        rows = rows[rows[column].notna()]
    return rows


def simulated_figures(frame: pd.DataFrame, gpu: Gpu) -> dict[str, float]:
    """Mean error of the simulator on the rows that ran alone, operands in L2 as far as they fit, since runs repeat."""
    rows = frame[gpperf.ran_alone(frame)]
    m, n, k = (rows[side].to_numpy(dtype=np.int64) for side in ("m", "n", "k"))
    seconds = _seconds(Gemm(m=m, n=n, k=k, dtype="fp32"), gpu, WARM)
    return {"physics_error": _mean_error(seconds, rows["runtime"].to_numpy(dtype=np.float64) * 1e-3)}


def naive_figures(frame: pd.DataFrame, gpu: Gpu) -> dict[str, float]:
    """Mean error of the naive tiled kernel on the rows not used for its counts, and its speed on a cube by tile."""
    large = frame[(frame[["m", "n"]] >= SMALLEST_SIDE).all(axis=1)]
    order = np.random.default_rng(NAIVE_SEED).permutation(len(large))
    rows = large.iloc[order[len(large) // 2 :]]
    m, n, k, tile = (rows[name].to_numpy(dtype=np.int64) for name in ("m", "n", "k", "tile"))
    seconds = _seconds(NaiveTiledGemm(m=m, n=n, k=k, tile=tile), gpu, COLD)
    speeds = {}
    for width in (1, 4, 8, 16, 32):
        cube = NaiveTiledGemm(m=CUBE, n=CUBE, k=CUBE, tile=width)
        speeds[f"naive_{width}"] = float(cube.flops / _seconds(cube, gpu, COLD)[0] / 1e9)
    return {"naive_error": _mean_error(seconds, rows[TIME].to_numpy(dtype=np.float64) * 1e-6), **speeds}


def _seconds(op: Operator, gpu: Gpu, cache: CacheState) -> Floats:
    return predict(op, gpu, Conditions(cache=cache, launch="stream")).time_s


def _mean_error(predicted_s: Floats, measured_s: Floats) -> float:
    return float(np.mean(np.abs(predicted_s / measured_s - 1.0)) * 100.0)
