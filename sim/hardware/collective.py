"""Collectives as the hardware plays them: steps that wait for one another, and copies over links by a few SMs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import CollectiveLibrary, CustomAllReduce
from simexplore.sim.conditions import Launch
from simexplore.sim.demand import CollectiveDemand, FloatArray

OVERLAP = 3.0
"""Exponent with which a channel's copies and the link hide one another: nearly the longer of the two."""


@dataclass(frozen=True)
class CollectiveTiming:
    """A collective alone on idle links; arrays of shape (rows,) [s]."""

    latency_s: FloatArray
    """Launch, and steps in which hardly anything moves."""
    run_s: FloatArray
    """Copies."""
    link_s: FloatArray
    """Of that, what the link is busy at the rate that the exchange can reach."""
    l2_s: FloatArray
    dram_s: FloatArray
    """What the GPU's own memory is busy."""


def collective_timing(demand: CollectiveDemand, gpu: Gpu, launch: Launch) -> CollectiveTiming:
    """Time of a collective on this GPU, which takes as long as on the others.

    latency = launch + start + steps t_step + simple starts and steps + first bytes / channel rate
    run = ((channel bytes / channel rate)^p + (wire bytes / (share x bandwidth))^p)^(1/p), at least what memory takes

    Hockney's model (R. Hockney, Parallel Computing 20, 1994) of each step, with the copying CTA as a stage of its own.
    """
    link = link_between(demand.link, gpu)
    link_s = demand.wire_bytes / (demand.link_share * link.bandwidth_bytes_per_s)
    copy_s = demand.channel_bytes / demand.channel_rate
    longer, shorter = np.maximum(link_s, copy_s), np.minimum(link_s, copy_s)
    ratio = shorter / np.where(longer > 0.0, longer, 1.0)
    run_s = longer * (1.0 + ratio**OVERLAP) ** (1.0 / OVERLAP)
    clock_hz = gpu.clock.top_hz
    l2_s = demand.local_bytes / (gpu.l2.bandwidth_bytes_per_clk * clock_hz)
    dram_s = demand.local_bytes / (gpu.dram.bandwidth_bytes_per_s * gpu.dram.efficiency)
    moved = (demand.steps > 0.0) | (demand.simple_steps > 0.0)
    run_s = np.maximum(run_s, np.maximum(l2_s, dram_s))
    each_s = gpu.launch.each_s(launch)
    latency_s = np.where(moved, each_s + _waits_s(demand, gpu) + demand.first_bytes / demand.channel_rate, 0.0)
    return CollectiveTiming(latency_s, *(np.where(moved, part_s, 0.0) for part_s in (run_s, link_s, l2_s, dram_s)))


def collective_energies(demand: CollectiveDemand, gpu: Gpu) -> dict[str, FloatArray]:
    """Dynamic energy of a collective by where it goes, shape (rows,) [J]."""
    energy, local = gpu.energy, demand.local_bytes
    return {
        "link": demand.wire_bytes * energy.link_j_per_byte,
        "l2": local * energy.l2_j_per_byte,
        "dram": local * energy.dram_j_per_byte,
    }


def _waits_s(demand: CollectiveDemand, gpu: Gpu) -> FloatArray:
    costs = _costs(demand, gpu)
    if isinstance(costs, CustomAllReduce):
        return costs.start_s + demand.steps * costs.doubling_s + demand.simple_steps * costs.exchange_s
    simple_s = demand.simple_starts * costs.simple_start_s + demand.simple_steps * costs.simple_step_s
    return costs.start_s + demand.steps * costs.step_s + simple_s


def _costs(demand: CollectiveDemand, gpu: Gpu) -> CollectiveLibrary | CustomAllReduce:
    library = gpu.collective_library
    assert library is not None, "the mapping asks for a library's collectives only where there is one"
    return library.custom[demand.engine] if demand.engine is not None else library


def link_between(name: str, gpu: Gpu) -> Link:
    """The link of that name that leads to the other GPUs."""
    links = gpu.links
    return links.pcie if name == "pcie" or links.nvlink is None else links.nvlink
