"""Measured rows that nobody measured: the physics' own times, bent by a known factor, with noise of a known size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.measurement import Measurements
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.estimate.operators import physics
from simexplore.workloads.ops import Gemm

NOISE = 0.03
SOURCE = "made up"
UNKNOWN_SOURCE = Conditions(cache=WARM, launch="stream")
"""How rows of a source that no adaptor knows are predicted."""


def gemms(gpu: Gpu, rows: int, seed: int = 0, dtype: str = "bf16") -> Measurements:
    """GEMMs of 64 to 8192, distinct; long ones 40 % slower than the physics, deep ones 20 % faster."""
    random = np.random.default_rng(seed)
    sizes = np.unique((2.0 ** random.uniform(6.0, 13.0, size=(rows * 2, 3))).astype(np.int64), axis=0)
    m, n, k = random.permutation(sizes)[:rows].T
    cost = physics(Gemm(m=m, n=n, k=k, dtype=dtype), gpu, UNKNOWN_SOURCE)
    factor = np.where(m > 1024, 1.4, 1.0) * np.where(k > 2048, 0.8, 1.0) * np.exp(NOISE * random.normal(size=rows))
    text = {"source": SOURCE, "device": gpu.name, "op": "gemm", "dtype": dtype}
    counts = {"m": m.astype(np.float64), "n": n.astype(np.float64), "k": k.astype(np.float64)}
    return Measurements(pd.DataFrame({**text, **counts, "time_us": cost.time_s * factor * 1e6}))
