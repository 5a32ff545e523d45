"""Measured rows that nobody measured: the physics' own times, bent by a known factor, with noise of a known size.

And watts that nobody read: FP32 loops of rising intensity on a board of known energies, by the equation written out,

    P = idle (1 - c + c f^x) + ((fma flops + (l2 + l1) bytes) f^(x-1) + dram bytes) / t
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.datasets import conditions_of
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


ELEMENTS = 2**28


class Truth(NamedTuple):
    """What a made-up board draws."""

    idle_w: float
    dram_j_per_byte: float
    fma_j_per_flop: float
    share: float = 0.25
    limit_w: float = np.inf


def loops(gpu: Gpu, truth: Truth, rows: int = 40, noise: float = 0.0, device: str | None = None) -> Measurements:
    """Loops at 90 % of the memory's and 60 % of the pipes' rate at boost; above the limit slower, at a lower clock."""
    flops = np.arange(rows) * 8.0 + 1.0
    moved = 4.0 * ELEMENTS
    memory_s = moved / (0.9 * gpu.dram.bandwidth_bytes_per_s)
    pipes_s = flops * ELEMENTS / (0.6 * gpu.fma_peak_ops_per_s("fp32"))
    clock = np.ones(rows)
    for _ in range(200):
        seconds = np.maximum(memory_s, pipes_s / clock)
        caches = gpu.energy.l2_j_per_byte + gpu.energy.shared_j_per_byte  # L1 and shared memory are one array
        on_clock = truth.fma_j_per_flop * flops * ELEMENTS + caches * moved
        static = truth.idle_w * (1.0 - truth.share + truth.share * clock**3)
        watts = static + (on_clock * clock**2 + truth.dram_j_per_byte * moved) / seconds
        clock = np.minimum(1.0, clock * np.where(watts > truth.limit_w, (truth.limit_w / watts) ** 0.3, 1.0))
    watts = watts * np.exp(noise * np.random.default_rng(0).normal(size=rows))
    frame = pd.DataFrame(
        {
            "source": "gpu-benches",
            "device": gpu.name if device is None else device,
            "op": "stream_fma_roofline",
            "dtype": "fp32",
            "elements": float(ELEMENTS),
            "flops_per_element": flops,
            "time_us": seconds * 1e6,
            "power_w": watts,
            "clock_mhz": clock * gpu.clock.boost_hz * 1e-6,
        }
    )
    return Measurements(frame, conditions_of)
