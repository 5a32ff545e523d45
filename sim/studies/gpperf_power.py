"""GPPerf's power: what its forest learned of it, and the simulator's watts on the same rows.

Each CUTLASS row has one reading of `nvidia-smi`, taken once its 13 launches had ended (GPPerf's prof.sh), which is the
mean of the second before (NVML, nvmlDeviceGetPowerUsage). So it shows a board at rest, near 30 W whatever ran, or
another job: use of the GPU is full after runs of 0.6 ms too. The readings of the naive kernel are means of samples
every 100 ms of the process's life, its host's part and a check by cuBLAS included; those of long kernels are theirs.
"""

from __future__ import annotations

from math import inf

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import POWER, TIME
from simexplore.sim.conditions import COLD, WARM, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import Gemm, NaiveTiledGemm, Operator

AT_REST_W = 40.0
"""Readings under it are a board at rest: most are of 29 to 34 W, after kernels of any length."""
FULL_USE = 90.0
"""Use of the GPU after a run, in percent, from which another job had it."""
LONG_US = 10e6
"""Naive kernels this long are most of their process's life."""
CUBE_TILES = (1, 4, 8)
"""Tiles at which the cube of the naive kernel is that long."""

Floats = npt.NDArray[np.float64]


def forest_figures(guessed_w: Floats, held_out: pd.DataFrame) -> dict[str, float]:
    """R2 and median error [%] of the forest's watts, and its R2 on the rows after which another job had the GPU."""
    truth_w, used = held_out["power"].to_numpy(), _used(held_out)
    return {
        "forest_power_r2": r2(guessed_w, truth_w),
        "forest_power_error": _median_error(guessed_w, truth_w),
        "forest_use_r2": r2(guessed_w[used], truth_w[used]),
    }


def two_levels(fitted: pd.DataFrame, held_out: pd.DataFrame) -> dict[str, float]:
    """R2 and median error [%] of two levels: the fitted rows' mean (of R2) or median power by whether another job had
    the GPU after the run, which no property of the kernel tells."""
    truth_w, used = held_out["power"].to_numpy(), _used(held_out)
    by_use = fitted["power"].groupby(_used(fitted))
    means, medians = (levels.reindex([False, True]).to_numpy() for levels in (by_use.mean(), by_use.median()))
    return {
        "two_levels_r2": r2(means[used.astype(int)], truth_w),
        "two_levels_error": _median_error(medians[used.astype(int)], truth_w),
    }


def simulated_figures(frame: pd.DataFrame, held_out: pd.DataFrame, gpu: Gpu) -> dict[str, float]:
    """Median error [%] of the simulator's watts on the forest's held-out rows, and the share [%] of all readings that
    show neither a board at rest nor another job; `frame` has the rows as recorded, by the same index."""
    m, n, k = (frame.loc[held_out.index, side].to_numpy(dtype=np.int64) for side in ("m", "n", "k"))
    watts = _watts(Gemm(m=m, n=n, k=k, dtype="fp32"), gpu, Conditions(cache=WARM, launch="stream"))
    read = frame[frame["power"].notna()]
    own = (read["power"] >= AT_REST_W) & ~_used(read)
    return {
        "physics_power_error": _median_error(watts, held_out["power"].to_numpy()),
        "own_readings": float(own.mean() * 100.0),
    }


def naive_figures(frame: pd.DataFrame, gpu: Gpu, cube: int) -> dict[str, float]:
    """Mean error [%] and rank correlation of the simulator's watts on long runs of the naive kernel, and its watts on
    a cube by tile.

    Raises:
        SimexploreError: no long run has a power.
    """
    long = frame[frame[TIME] >= LONG_US]
    long = long[long[POWER].notna()] if POWER in long else long[:0]
    if long.empty:
        raise SimexploreError(
            f"gpperf: expected naive kernels of {LONG_US / 1e6:g} s and more with {POWER}, found none"
        )
    m, n, k, tile = (long[name].to_numpy(dtype=np.int64) for name in ("m", "n", "k", "tile"))
    watts, measured_w = _naive_watts(NaiveTiledGemm(m=m, n=n, k=k, tile=tile), gpu), long[POWER].to_numpy(dtype=float)
    tiles = np.array(CUBE_TILES)
    sides = np.full(len(tiles), cube)
    of_cube = _naive_watts(NaiveTiledGemm(m=sides, n=sides, k=sides, tile=tiles), gpu)
    return {
        "naive_power_error": float(np.mean(np.abs(watts / measured_w - 1.0)) * 100.0),
        "naive_power_rank": _rank_correlation(watts, measured_w),
        **{f"naive_power_{width}": float(found) for width, found in zip(CUBE_TILES, of_cube, strict=True)},
    }


def r2(guessed: Floats, truth: Floats) -> float:
    """Share of the variance of `truth` that `guessed` explains; negative where the mean would explain more.

    NaN where `truth` does not vary.
    """
    if len(truth) == 0 or np.ptp(truth) == 0.0:
        return float("nan")
    return float(1.0 - np.sum((guessed - truth) ** 2) / np.sum((truth - truth.mean()) ** 2))


def _used(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    return rows["util"].to_numpy() >= FULL_USE


def _naive_watts(op: NaiveTiledGemm, gpu: Gpu) -> Floats:
    return _watts(op, gpu, Conditions(cache=COLD, launch="stream", runs_before=inf))


def _watts(op: Operator, gpu: Gpu, conditions: Conditions) -> Floats:
    """Mean power of the board while the operator runs, idle power included."""
    found = predict(op, gpu, conditions)
    return np.asarray(found.energy_j / found.time_s)


def _median_error(guessed: Floats, truth: Floats) -> float:
    return float(np.median(np.abs(guessed / truth - 1.0)) * 100.0)


def _rank_correlation(guessed_w: Floats, truth_w: Floats) -> float:
    """Spearman's; guesses within a watt are ties, for the sensor's readings of one kernel differ by more."""
    return float(pd.Series(guessed_w.round()).rank().corr(pd.Series(truth_w).rank()))
