"""The power limit: energy of a kernel, and the clock at which it stays within the board's limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, KernelDemand

SHORTEST_BURST_S = 1e-9
"""Stands for a regulator without delay, so that nothing is divided by zero; no kernel is as short."""


def dynamic_energy_j(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Energy above idle at the boost clock [J]: all CTAs' work times energy per unit of work (`energy` in YAML)."""
    energy, work = gpu.energy, demand.work
    per_cta = (
        work.tensor_ops * _of_dtype(energy.tensor_j_per_op, work.tensor_dtype)
        + work.fma_ops * _of_dtype(energy.fma_j_per_op, work.fma_dtype)
        + work.special_ops * energy.special_function_j_per_op
        + work.shared_bytes * energy.shared_j_per_byte
        + work.l2_bytes * energy.l2_j_per_byte
        + work.dram_bytes * energy.dram_j_per_byte
    )
    total: FloatArray = demand.grid.ctas * per_cta
    return total


def _of_dtype(energies: Mapping[Any, float], dtype: str) -> float:
    """A machine has an energy for each type that it has a rate for; work of no type takes none."""
    return energies.get(dtype, 0.0)


def throttle(
    on_clock_s: FloatArray, dram_s: FloatArray, energy_j: FloatArray, gpu: Gpu
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Times at the clock f (over boost) that the power limit allows: (on_clock_s / f, dram_s, f, energy at f).

    The energy of the work falls with the voltage, E(f) = E f^(x-1), x: power.clock_exponent. DRAM keeps its own clock.
    """
    scale = clock_scale(on_clock_s, dram_s, energy_j, gpu)
    energy = energy_j * scale ** (gpu.power.clock_exponent - 1.0)
    return on_clock_s / scale, np.broadcast_to(dram_s, scale.shape), scale, energy


def clock_scale(on_clock_s: FloatArray, dram_s: FloatArray, energy_j: FloatArray, gpu: Gpu) -> FloatArray:
    """Clock over boost at which a kernel stays within the power limit; 1 where boost does.

    Energy per operation falls with voltage, E(f) = E f^(x-1), so power is E f^(x-1) / t and the limit P asks for

        t(f) = max(on_clock / f, dram) >= E f^(x-1) / P      x: power.clock_exponent, P: tdp - idle

    A regulator averages: a kernel of time t may draw P (1 + headroom / (1 + t / burst)) beyond idle.
    The solution is f = max((P on_clock / E)^(1/x), (P dram / E)^(1/(x-1))). With x >= 2 no machine becomes slower
    by having more bandwidth or more SMs.
    """
    x = gpu.power.clock_exponent
    budget_w = np.maximum(gpu.power.tdp_w - gpu.power.idle_w, 1.0)
    unlimited_s = np.maximum(on_clock_s, dram_s)  # the longer of the two, for which the limit can be solved
    budget_w = budget_w * (
        1.0 + gpu.power.burst_headroom / (1.0 + unlimited_s / np.maximum(gpu.power.burst_s, SHORTEST_BURST_S))
    )
    limited = energy_j > budget_w * unlimited_s
    scale = np.ones(np.broadcast_shapes(np.shape(limited), np.shape(on_clock_s)))
    if np.any(limited):
        terms = (on_clock_s, dram_s, energy_j, budget_w)
        on_clock, dram, energy, budget = (np.broadcast_to(term, scale.shape)[limited] for term in terms)
        by_clock = (budget * on_clock / energy) ** (1.0 / x)
        by_dram = (budget * dram / energy) ** (1.0 / (x - 1.0))
        scale[limited] = np.minimum(np.maximum(by_clock, by_dram), 1.0)
    return scale
