"""Corrections of so few rows that trees learn nothing from them: one shift, and a width that is not taken for known."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.residual import Trees
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.learn.leaving.quantiles import covering, drawn_to, share_kept


def constant(value: float) -> Trees:
    """One leaf: every row gets `value`."""
    return Trees(
        root=np.zeros(1, dtype=np.int32),
        feature=np.full(1, -1, dtype=np.int16),
        value=np.array([value], dtype=np.float32),
        left=np.zeros(1, dtype=np.int32),
        start=np.zeros(1),
    )


def shift_of(y: FloatArray) -> tuple[float, FloatArray]:
    """One shift for all rows, and what is left of each row when it is left out.

    The shift is the median, less what leaving each row out says is chance: 0 where that is all of it.
    """
    without = np.array([np.median(np.delete(y, i)) for i in range(len(y))])
    share = share_kept(without, y)
    return share * float(np.median(y)), y - share * without


def half_width_of(left_out: FloatArray, before: float) -> float:
    """Half of the 80 % interval of log time by few left-out errors and by the half-width that was known before.

    The width that covers them is drawn towards the earlier one and widened as Student's t is over the normal
    distribution of as many degrees of freedom, for they tell the spread itself no better (Student, Biometrika 6, 1908).
    """
    rows = len(left_out)
    return drawn_to(covering(np.abs(left_out)), before, rows) * student_80(rows) / NORMAL_80


def student_80(rows: int) -> float:
    """Half-width of the 80 % interval of Student's t, of a new row after `rows` of them [standard deviations].

    Cornish and Fisher's expansion in 1 / (rows - 1) (Abramowitz and Stegun, 26.7.5), times sqrt(1 + 1 / rows).
    """
    z, freedom = NORMAL_80, max(rows - 1, 1)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    return float((z + first / freedom + second / freedom**2) * np.sqrt(1.0 + 1.0 / max(rows, 1)))
