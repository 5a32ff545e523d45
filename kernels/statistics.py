"""Figures of repeated timings: the time that is reported, how sure it is, and which samples were outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FENCE = 3.0
"""A sample further than this many interquartile ranges outside the quartiles is an outlier (Tukey's far out)."""
Z = 1.96
"""Of a 95 % interval."""
LOW_QUANTILE = 0.1
"""What is reported where noise only adds: little is left there, and it falls less with more samples than the least."""

AGREEING = 3
"""Lowest samples that must agree where noise only adds: what disturbs does not disturb three samples alike."""


@dataclass(frozen=True)
class Timing:
    """What some samples of one kernel say [s]."""

    time_s: float
    """The median; where noise only adds, the lowest tenth's edge."""
    low_s: float
    high_s: float
    """95 % interval of the median."""
    samples: int
    outliers: int
    spread: float = float("inf")
    """By how much the `AGREEING`-th lowest sample exceeds the lowest, over it."""

    @property
    def relative_width(self) -> float:
        """Half the interval over the time."""
        return 0.5 * (self.high_s - self.low_s) / self.time_s


def timing_of(samples_s: Floats, noise_only_adds: bool) -> Timing:
    """Median (or `LOW_QUANTILE`), the median's 95 % interval and the outliers of samples [s].

    The interval is by order statistics, which assumes no distribution: the r-th lowest to the r-th highest sample with
    r = floor(n/2 - z sqrt(n)/2) (Conover, Practical Nonparametric Statistics, 3.2, rounded to the safe side). Outliers
    are counted, never dropped: the median does not need it.
    """
    ordered = np.sort(samples_s)
    n = len(ordered)
    rank = max(int(np.floor(0.5 * (n - Z * np.sqrt(n)))), 1)
    low, high = ordered[rank - 1], ordered[n - rank]
    first, third = np.quantile(ordered, [0.25, 0.75])
    reach = FENCE * (third - first)
    outliers = int(np.sum((ordered < first - reach) | (ordered > third + reach)))
    best = float(np.quantile(ordered, LOW_QUANTILE if noise_only_adds else 0.5))
    spread = float(ordered[AGREEING - 1] / ordered[0] - 1.0) if n >= AGREEING else float("inf")
    return Timing(best, float(low), float(high), n, outliers, spread)
