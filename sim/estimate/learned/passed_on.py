"""A learned correction on machines that it was not learned on: variants of the measured one, and its kin.

    log t = log t_physics + w(r) s        r = log(t_physics / t_lender)        w(r) = exp(-r^2 / (2 sigma^2))

The lender is the machine whose rows were measured, s its learned shift of the row with the features that the row has
on the *lender*, and t_lender what the physics says of the row there; both times are at the boost clock. What the
physics does not move keeps its correction wholly, and a machine a hair away from the lender predicts a hair away from
it, for s does not depend on the machine.

**A worse machine is never faster.** With r the physics' logarithm of time rises, and what was learned fades:
d(r + w s)/dr = 1 - w(r) r s / sigma^2, and |w(r) r| / sigma is at most exp(-1/2) = 0.607, at r = sigma. So with
sigma >= 2 exp(-1/2) |s| the derivative is at least 1/2: what the physics makes slower stays slower. The half that is
left is for boards at their power limit. There a machine that is slower by r at its boost clock is slower by at least
(1 - 1/x) r, x being `power.clock_exponent`, at least 2: dynamic power goes with clock^x, so the limit lets a fraction
of r come back as clock. The sigma here is 5 % above that bound, and at least `SIGMA`. Where the voltage no longer falls
(`power.voltage_floor`) power goes with the clock alone, all of r may come back, and what fades with r^2 is left: a
machine that is 10 % slower at boost may then be 0.1 % faster, where a correction is 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.correction import NORMAL_80, correction_of
from simexplore.workloads.ops import Operator

SIGMA = log(2.0)
"""Where twice as fast or as slow as on the lender, a correction keeps exp(-1/2) of itself at least."""
STEEPEST = 0.5
"""Share of a slowdown by the physics that what was learned may take back."""
ANOTHER_BOARD = NORMAL_80 * 0.038 * sqrt(pi / 2.0)
"""Half-width of log time that another board, measured by others, adds. One GEMM measured twice on an H200, by the
collectors of TensorRT-LLM and of vLLM, differs by 3.8 % in the mean over 35,700 shapes of aiconfigurator-core: that
over the mean of a normal distribution's absolute value is the sigma of what one teaches of the other."""
_SIGMA_OVER_SHIFT = 1.05 * exp(-0.5) / STEEPEST


@dataclass(frozen=True, eq=False)
class Lent:
    """A correction that serves rows of a machine, and the machine that it was learned on."""

    correction: Correction
    lender: Gpu
    to_kin: bool
    """Whether the machine is another board than the lender, not the lender with other values."""


class Lesson(NamedTuple):
    """What a correction says of rows on its lender; arrays of shape (rows,)."""

    time_s: FloatArray
    """What the physics says of them there, at the boost clock."""
    shift: FloatArray
    """Of log time."""
    spread: FloatArray
    """Half-width of the 80 % interval of log time."""

    def take(self, rows: NDArray[np.int64]) -> Lesson:
        """Some of the rows."""
        return Lesson(self.time_s[rows], self.shift[rows], self.spread[rows])

    def passed_on(self, time_s: FloatArray, far: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Shift and half-width on another machine, where the physics says `time_s` of the rows at the boost clock.

        `far` is the half-width of the physics alone, which the interval widens to as the correction fades.
        """
        kept = kept_share(time_s, self)
        return kept * self.shift, kept * self.spread + (1.0 - kept) * np.maximum(far, self.spread)


NOTHING = Lesson(np.full(1, np.nan), np.zeros(1), np.zeros(1))
"""Of rows that the lender cannot run: with no time there, nothing of it is passed on."""


def kept_share(time_s: FloatArray, lesson: Lesson) -> FloatArray:
    """The w above of each row: 1 where the machine takes as long as the lender; 0 where either has no time."""
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.log(time_s / lesson.time_s)
        kept = np.exp(-0.5 * (apart / np.maximum(SIGMA, _SIGMA_OVER_SHIFT * np.abs(lesson.shift))) ** 2)
    return np.where(np.isfinite(apart), kept, 0.0)


def lent_to(op: Operator, gpu: Gpu, conditions: Conditions) -> Lent | None:
    """The correction that serves such rows of a machine: its own, else that of its kin, if anything."""
    for place, lender in enumerate(gpu.lenders):
        correction = correction_of(op, lender, conditions)
        if correction is not None:
            return Lent(correction, lender, to_kin=place > 0 or gpu.stands_on_another)
    return None
