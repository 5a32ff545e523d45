"""The power limit: energy of a kernel, and the clock at which it stays within the board's limit."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, KernelDemand


def dynamic_energy_j(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Energy above idle at the boost clock [J]: all CTAs' work times energy per unit of work (`energy` in YAML)."""
    energy = gpu.energy
    l2_bytes = demand.l2_read_bytes + demand.l2_write_bytes
    per_cta = (
        demand.tensor_ops * energy.tensor_j_per_op.get(demand.tensor_dtype, 0.0)  # type: ignore[call-overload]
        + demand.fma_ops * energy.fma_j_per_op.get(demand.fma_dtype, 0.0)  # type: ignore[call-overload]
        + demand.special_ops * energy.special_function_j_per_op
        + demand.shared_bytes * energy.shared_j_per_byte
        + l2_bytes * energy.l2_j_per_byte
        + (demand.dram_read_bytes + demand.dram_write_bytes) * energy.dram_j_per_byte
    )
    total: FloatArray = demand.ctas * per_cta
    return total


def throttle(
    on_clock_s: FloatArray, dram_s: FloatArray, energy_j: FloatArray, gpu: Gpu
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Times at the clock f (over boost) that the power limit allows: (on_clock_s / f, dram_s, f, energy at f).

    Energy per operation falls with voltage, E(f) = E f^(x-1), so power is E f^(x-1) / t and the limit P asks for

        t(f) = max(on_clock / f, dram) >= E f^(x-1) / P      x: power.clock_exponent, P: tdp - idle

    A regulator averages: a kernel of time t may draw P (1 + headroom / (1 + t / burst)) beyond idle.
    The solution is f = max((P on_clock / E)^(1/x), (P dram / E)^(1/(x-1))). With x >= 2 no machine becomes slower
    by having more bandwidth or more SMs. DRAM keeps its own clock.
    """
    x = gpu.power.clock_exponent
    budget_w = np.maximum(gpu.power.tdp_w - gpu.power.idle_w, 1.0)
    unlimited_s = np.maximum(on_clock_s, dram_s)
    budget_w = budget_w * (1.0 + gpu.power.burst_headroom / (1.0 + unlimited_s / np.maximum(gpu.power.burst_s, 1e-9)))
    limited = energy_j > budget_w * unlimited_s
    scale = np.ones(np.broadcast_shapes(np.shape(limited), np.shape(on_clock_s)))
    if np.any(limited):
        terms = (on_clock_s, dram_s, energy_j, budget_w)
        on_clock, dram, energy, budget = (np.broadcast_to(term, scale.shape)[limited] for term in terms)
        by_clock = (budget * on_clock / energy) ** (1.0 / x)
        by_dram = (budget * dram / energy) ** (1.0 / (x - 1.0))
        scale[limited] = np.minimum(np.maximum(by_clock, by_dram), 1.0)
    return on_clock_s / scale, dram_s + 0.0 * scale, scale, energy_j * scale ** (x - 1.0)
