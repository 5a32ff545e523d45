"""Measured rows that are faster than their machine can be: what ran was less than their columns say.

Keys and values that lie in one memory are read from DRAM once, experts without a gate have two matrices, not three.
Such a row tells nothing of a machine, and a model that meets it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.measurement import TIME
from simexplore.kernels.records import OperatorColumn
from simexplore.sim.demand import FloatArray
from simexplore.sim.hardware.roofline import fastest_seconds

SLACK = 1.05
"""How many times faster than the roofline a row may seem: clocks and timers are no better."""


def too_fast(columns: Iterable[OperatorColumn], frame: pd.DataFrame, gpu: Gpu) -> FloatArray:
    """How many times faster than a machine can be each row of a table is; 0 where it is not. Shape (rows,).

    Args:
        columns: the rows that are looked at.
        frame: their table.
        gpu: the machine.
    """
    times = np.zeros(len(frame))
    measured_s = frame[TIME].to_numpy(dtype=np.float64) * 1e-6
    for column in columns:
        times[column.rows] = fastest_seconds(column.record, gpu) / measured_s[column.rows]
    return np.where(times > SLACK, times, 0.0)


def warnings_of(columns: Iterable[OperatorColumn], frame: pd.DataFrame, gpu: Gpu) -> Iterator[str]:
    """One line where some of the rows are too fast."""
    times = too_fast(columns, frame, gpu)
    if count := int(np.count_nonzero(times)):
        yield (
            f"rows that are faster than the machine's units and DRAM can be: {count:,}, up to {times.max():.3g} times; "
            "what ran was less than their columns say, or they are of another machine"
        )
