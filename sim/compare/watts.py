"""Predicted watts beside measured ones.

A board's sensor is read every few to a hundred milliseconds while a kernel runs again and again. Short kernels leave it
waiting for launches, so the watts of rows under 100 µs are not their own: those rows are not judged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.measurement import POWER, TIME
from simexplore.sim.estimate.correction import NORMAL_80

LONG_US = 100.0
"""Measured time from which a row's watts are its own."""
PREDICTED, LOW, HIGH = "predicted_w", "low_w", "high_w"

Floats = npt.NDArray[np.float64]


class PowerErrors(NamedTuple):
    """Errors of mean power; shares, not per cent. None where no row has watts that count."""

    power_rows: int
    power_mape: float | None
    """Mean absolute error."""
    power_bias: float | None
    """Mean signed error: above 0, predictions are too high."""
    power_coverage: float | None
    """Share of rows within the predicted 80 % interval."""


def power_errors(rows: pd.DataFrame) -> PowerErrors:
    """Errors of the watts in `predicted_w` on rows that have measured ones and are long enough."""
    if POWER not in rows or PREDICTED not in rows:
        return PowerErrors(0, None, None, None)
    told = rows[rows[POWER].notna() & rows[PREDICTED].notna() & (rows[TIME] >= LONG_US)]
    if told.empty:
        return PowerErrors(0, None, None, None)
    error = told[PREDICTED].to_numpy(dtype=np.float64) / told[POWER].to_numpy(dtype=np.float64) - 1.0
    inside = (told[LOW] <= told[POWER]) & (told[POWER] <= told[HIGH])
    return PowerErrors(len(told), float(np.abs(error).mean()), float(error.mean()), float(inside.mean()))


def with_watts(rows: pd.DataFrame, watts: npt.NDArray[np.float64], gpu: Gpu) -> pd.DataFrame:
    """The table with predicted watts and the ends of their 80 % interval; `watts` has shape (rows,) [W]."""
    ratio = float(np.exp(NORMAL_80 * gpu.energy.spread))
    return rows.assign(**{PREDICTED: watts, LOW: watts / ratio, HIGH: watts * ratio})
