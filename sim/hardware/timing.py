"""Machine physics of one kernel: from its demand to its time on an SM array, alone on an idle GPU.

The SMs work through their CTAs in waves; L2 and DRAM serve all of them. A bandwidth-bound kernel's CTAs drift apart,
so its traffic is spread evenly over its waves, and the times of SMs, L2 and DRAM overlap as a whole:

    t = setup + ((t_sm^p + t_l2^p)^(r/p) + t_dram^r)^(1/r)
                                                    p: library.overlap_exponent, or the kernel's own; r likewise

    t_sm   = floor(B / o) w(o) + w(B mod o) + t_epilogue
                                                    B = ceil(CTAs / SMs) on the busiest SM, o: occupancy
    w(b)   = ((b t_tensor)^q + (b t_fma)^q + … + t_chain^q + t_flight^q)^(1/q) + h t_exposed
                                                    q: p, or the kernel's own exponent; h: wave_exposure

All of it is at the boost clock; what the power limit makes of it is `hardware.power`'s.

Never below the roofline: each term is at least the kernel's whole work over the resource's peak. Fewer SMs or less
bandwidth never make it faster. Sources: waves and occupancy as in the CUDA programming guide; Little's law for
t_flight = bytes latency / bytes in flight; the p-norm is a smooth maximum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Launch
from simexplore.sim.demand import BoolArray, FloatArray, KernelDemand
from simexplore.sim.hardware.norms import norm, norm_of_counts
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.hardware.power import Draw, board_of, clock_within, kernel_energies, split_energy


@dataclass(frozen=True)
class Waves:
    """How a grid falls onto the SMs; arrays as in the demand."""

    fits: BoolArray
    """Whether an SM has room for a CTA at all. Where it has not, the rest is told as if it had, for one."""
    per_sm: FloatArray
    """CTAs that one SM holds at once."""
    full: FloatArray
    """Waves with every slot of the busiest SM taken."""
    busiest: FloatArray
    """CTAs of the busiest SM in all."""
    rest: FloatArray
    """CTAs of the busiest SM in the last, partial wave; 0 where there is none."""


@dataclass(frozen=True)
class KernelTiming:
    """Times of one kernel alone on `sms` SMs at the boost clock, launch excluded; arrays as in the demand."""

    setup_s: FloatArray
    """Serial part in which no shared resource is busy."""
    run_s: FloatArray
    """All waves."""
    waves: Waves
    full_wave_share: FloatArray
    """Share of `run_s` that one full wave takes."""
    tail_share: FloatArray
    """Share of `run_s` that the partial wave takes."""
    busy_s: dict[str, FloatArray]
    """Time for which the whole machine's resource is kept busy, by name in `demand.RESOURCES`."""
    latency_s: FloatArray
    """Part of `run_s` explained by latency alone: chains, loads in flight and exposed latency of all waves."""
    energies_j: dict[str, FloatArray]
    """Dynamic energy, above idle, by name in `power.COMPONENTS`."""
    draw: Draw
    """How `run_s` and the energy follow from the clock."""

    @property
    def time_s(self) -> FloatArray:
        """Setup and all waves [s]."""
        return self.setup_s + self.run_s


def kernel_seconds(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Time of each candidate, alone on the whole GPU at boost, launch excluded [s]; infinite where a CTA does not fit.

    The fast path of tile search: the same physics as `kernel_timing`, without its explanations. A library chooses
    without knowing how warm the board is, so power does not come into it.
    """
    parts = _parts(demand, gpu, gpu.sm.count)
    seconds = parts.setup_s + norm((parts.on_clock_s, parts.dram_s), _dram_exponent(demand, gpu))
    return np.where(parts.waves.fits & demand.choice.offered, seconds, np.inf)


def settled_seconds(timing: KernelTiming, gpu: Gpu) -> FloatArray:
    """Time of a kernel on a board that has run it for so long that its budget is spent, set-up included [s]."""
    board = board_of(gpu)
    seconds: FloatArray = timing.setup_s + timing.draw.seconds(clock_within(timing.draw, board.held_w, board))
    return seconds


def launch_seconds(demand: KernelDemand, gpu: Gpu, launch: Launch) -> FloatArray:
    """What the host takes before the launch, the kernel's launch latency, and launch and latency of its helpers [s]."""
    each_s = gpu.launch.each_s(launch)
    latency = demand.latency
    return latency.host_s + each_s + latency.extra_launches * (each_s + latency.helper_cycles / gpu.clock.top_hz)


def kernel_timing(demand: KernelDemand, gpu: Gpu, sms: float | None = None) -> KernelTiming:
    """Time, waves, busy resources and energy of each kernel on `sms` SMs of the GPU (all of them by default).

    All of it is finite, also where no SM has room for a CTA, which `waves.fits` tells.
    """
    parts = _parts(demand, gpu, gpu.sm.count if sms is None else sms)
    p = _dram_exponent(demand, gpu)
    run = norm((parts.on_clock_s, parts.dram_s), p)
    waves, waves_s = parts.waves, parts.waves.full * parts.full_s + parts.tail_s
    shares = [
        np.where(waves_s > 0.0, each_s / np.where(waves_s > 0.0, waves_s, 1.0), ctas / waves.busiest)
        for each_s, ctas in ((parts.full_s, waves.per_sm), (parts.tail_s, waves.rest))
    ]
    energies = kernel_energies(demand, gpu)
    return KernelTiming(
        setup_s=np.broadcast_to(parts.setup_s, run.shape),
        run_s=run,
        waves=waves,
        full_wave_share=shares[0],
        tail_share=shares[1],
        busy_s={**_machine_seconds(demand, gpu), "dram": np.broadcast_to(parts.dram_s, run.shape)},
        latency_s=parts.latency_s,
        energies_j=energies,
        draw=Draw(parts.on_clock_s, parts.dram_s, p, *split_energy(energies)),
    )


@dataclass(frozen=True)
class _Parts:
    """Terms of the kernel's time at the boost clock."""

    waves: Waves
    setup_s: FloatArray
    full_s: FloatArray
    tail_s: FloatArray
    sm_s: FloatArray
    on_clock_s: FloatArray
    dram_s: FloatArray
    latency_s: FloatArray


def _within_exponent(demand: KernelDemand, gpu: Gpu) -> float:
    """How well the units of an SM overlap within this kernel."""
    return demand.overlap.within_sm or _machine_exponent(demand, gpu)


def _machine_exponent(demand: KernelDemand, gpu: Gpu) -> float:
    return demand.overlap.sm_l2 or gpu.library.overlap_exponent


def _dram_exponent(demand: KernelDemand, gpu: Gpu) -> float:
    return demand.overlap.dram or _machine_exponent(demand, gpu)


def _parts(demand: KernelDemand, gpu: Gpu, sms: float) -> _Parts:
    work, latency, exposure = demand.work, demand.latency, demand.overlap.wave_exposure
    p, within = _machine_exponent(demand, gpu), _within_exponent(demand, gpu)
    clk_s = 1.0 / gpu.clock.top_hz
    waves = _waves(demand, gpu, sms)
    # A load that misses L2 waits for both, so latency follows from what misses, not from the kernel.
    load = load_latency_cycles(demand, gpu)
    flight = _flight_cycles(demand, load)
    busy_or_waiting = norm_of_counts(_cycles_per_cta(demand, gpu), (latency.chain_cycles, flight), within)
    fill = np.where(work.l2_read_bytes > 0.0, load, 0.0)  # nothing is computed until the first loads are there
    count = waves.full + (waves.rest > 0.0)
    exposed = latency.exposed_cycles
    if np.any(latency.straggler_share):  # most kernels have none, and no array of it
        exposed = exposed + _straggler_cycles(demand, gpu) / count

    def wave_cycles(ctas: FloatArray) -> FloatArray:
        return np.where(ctas > 0.0, busy_or_waiting(ctas) + exposure * (exposed + fill), 0.0)

    full_s = wave_cycles(waves.per_sm) * clk_s
    tail_s = wave_cycles(waves.rest) * clk_s
    last = (1.0 - exposure) * exposed - exposure * fill  # the first fill is part of the set-up
    sm_s = waves.full * full_s + tail_s + (last + _epilogue_cycles(demand, waves, gpu)) * clk_s
    # L2 and DRAM serve all waves together: CTAs of kernels that they bind drift apart, so no wave has its own traffic.
    l2_s = demand.grid.ctas * _l2_cycles(demand, gpu) * clk_s
    # A kernel may stream better than others, but no better than the pins.
    dram_rate = gpu.dram.bandwidth_bytes_per_s * np.minimum(gpu.dram.efficiency * demand.overlap.dram_rate, 1.0)
    return _Parts(
        waves=waves,
        setup_s=(latency.setup_cycles + latency.ramp_cycles * _miss_share(demand) + fill) * clk_s,
        full_s=full_s,
        tail_s=tail_s,
        sm_s=sm_s,
        on_clock_s=norm((sm_s, l2_s), p),
        dram_s=demand.grid.ctas * work.dram_bytes / dram_rate,
        latency_s=count * (np.maximum(latency.chain_cycles, flight) + exposed + fill) * clk_s,
    )


@dataclass(frozen=True)
class Timeline:
    """Where the time of the busiest SM goes at the boost clock, for people; arrays as in the demand [s]."""

    setup_s: FloatArray
    """Before the first load: parameters, descriptors, instructions, DRAM's first answer."""
    fill_s: FloatArray
    """Waiting that nothing overlaps: for the first loads of each wave, pipelines that fill, barriers."""
    main_s: FloatArray
    """Full waves, or the only one; their units and latencies overlap."""
    tail_s: FloatArray
    """The partial wave behind full ones, and the longest CTA, which runs on alone."""
    epilogue_s: FloatArray
    """Results written while nothing else is done."""
    first_fill_s: FloatArray
    """The part of `fill_s` that is in `KernelTiming.setup_s`: no clock that power holds back changes it."""

    @property
    def on_sm_s(self) -> FloatArray:
        """The sum of all parts but those in `KernelTiming.setup_s` [s]."""
        return self.fill_s - self.first_fill_s + self.main_s + self.tail_s + self.epilogue_s


def timeline(demand: KernelDemand, gpu: Gpu) -> Timeline:
    """The parts of a kernel's time on an SM, alone on the whole GPU: what `kernel_timing` adds up, kept apart.

    `setup_s` with the first fill is `KernelTiming.setup_s`; the rest is what L2 and DRAM then overlap with.
    """
    latency, exposure, clk_s = demand.latency, demand.overlap.wave_exposure, 1.0 / gpu.clock.top_hz
    waves, load = _waves(demand, gpu, gpu.sm.count), load_latency_cycles(demand, gpu)
    busy = norm_of_counts(
        _cycles_per_cta(demand, gpu),
        (latency.chain_cycles, _flight_cycles(demand, load)),
        _within_exponent(demand, gpu),
    )
    count = waves.full + (waves.rest > 0.0)
    last = np.where(waves.rest > 0.0, busy(waves.rest), 0.0)
    whole = np.where(waves.full > 0.0, waves.full * busy(waves.per_sm), last)
    straggler = _straggler_cycles(demand, gpu) * (exposure + (1.0 - exposure) / count)
    fill = np.where(demand.work.l2_read_bytes > 0.0, load, 0.0)
    parts = (
        latency.setup_cycles + latency.ramp_cycles * _miss_share(demand),
        fill + exposure * fill * (count - 1.0) + latency.exposed_cycles * (exposure * count + (1.0 - exposure)),
        whole,
        np.where(waves.full > 0.0, last, 0.0) + straggler,
        _epilogue_cycles(demand, waves, gpu),
        fill,
    )
    return Timeline(*(part * clk_s for part in np.broadcast_arrays(*parts)))


def _flight_cycles(demand: KernelDemand, load_cycles: FloatArray) -> FloatArray:
    """Cycles for which a CTA waits for its loads, by Little's law; none where it keeps no loads in flight [clk]."""
    held = demand.latency.bytes_in_flight
    return np.where(held > 0.0, demand.work.l2_read_bytes * load_cycles / np.maximum(held, 1.0), 0.0)


def _straggler_cycles(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """What is waited for once, at the end: the longest CTA runs on alone when the others have ended [clk]."""
    tensor, fma, special, *_ = _cycles_per_cta(demand, gpu)
    # Alone on its SM it has the tensor cores to itself, and no memory traffic of others to wait for.
    terms = (demand.latency.chain_cycles, tensor * demand.overlap.tensor_efficiency, fma, special)
    return demand.latency.straggler_share * norm(terms, _within_exponent(demand, gpu))


def _epilogue_cycles(demand: KernelDemand, waves: Waves, gpu: Gpu) -> FloatArray:
    """Cycles for which results are written and nothing else is done [clk].

    The SMs of a wave write together, so their ports or the L2 limit them, whichever is slower; nothing is read
    meanwhile, so `l2.write_cost`, found on reads and writes that take turns, does not count. Of the last wave's writes
    nothing is hidden; of the others' all but `wave_exposure`.
    """
    written, exposure = demand.work.epilogue_bytes, demand.overlap.wave_exposure
    port = written / gpu.sm.l2_port_bytes_per_clk
    together = demand.grid.ctas * written / gpu.l2.bandwidth_bytes_per_clk
    last = np.minimum(waves.busiest, waves.per_sm) * port
    cycles: FloatArray = (1.0 - exposure) * last
    cycles = cycles + exposure * np.maximum(waves.busiest * port, together)
    return cycles / demand.overlap.epilogue_efficiency


def _waves(demand: KernelDemand, gpu: Gpu, sms: float) -> Waves:
    per_sm = ctas_per_sm(demand, gpu)
    held = np.maximum(per_sm, 1.0)
    busiest = np.ceil(demand.grid.ctas / sms)  # CTAs are dealt out one by one, so SMs differ by one at most
    full = np.floor(busiest / held)
    return Waves(fits=per_sm > 0.0, per_sm=held, full=full, busiest=busiest, rest=busiest - full * held)


def load_latency_cycles(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Latency of a CTA's loads: between an L2 hit and a DRAM access, by the share of its bytes that miss [clk]."""
    hit = gpu.l2.mean_latency_cycles
    missing = demand.latency.miss_share * _miss_share(demand)
    latency: FloatArray = hit + missing * np.maximum(gpu.dram_latency_cycles - hit, 0.0)
    return latency


def _miss_share(demand: KernelDemand) -> FloatArray:
    """Share of the bytes loaded that L2 does not have."""
    work = demand.work
    share: FloatArray = np.minimum(work.dram_read_bytes / np.maximum(work.l2_read_bytes, 1.0), 1.0)
    return share


def _cycles_per_cta(demand: KernelDemand, gpu: Gpu) -> tuple[FloatArray, ...]:
    """Cycles for which one CTA alone keeps each resource of its SM busy."""
    sm, work = gpu.sm, demand.work
    return (
        _over(work.tensor_ops, sm.tensor_ops_per_clk, work.tensor_dtype) / demand.overlap.tensor_efficiency,
        _over(work.fma_ops, sm.fma_ops_per_clk, work.fma_dtype),
        work.special_ops / sm.special_function_ops_per_clk,
        work.shared_bytes / sm.shared_bandwidth_bytes_per_clk,
        (work.l2_bytes - work.epilogue_bytes) / sm.l2_port_bytes_per_clk,
    )


def _l2_cycles(demand: KernelDemand, gpu: Gpu) -> FloatArray:
    """Cycles for which one CTA's traffic keeps the whole L2 busy; reads and writes take turns."""
    reads = demand.work.l2_read_bytes / demand.overlap.l2_rate
    return (reads + gpu.l2.write_cost * demand.work.l2_write_bytes) / gpu.l2.bandwidth_bytes_per_clk


def _over(ops: FloatArray, rates: Mapping[Any, float], dtype: str) -> FloatArray:
    """Cycles for `ops` at the rate of `dtype`; a rate is only asked for where there is work."""
    return ops / rates[dtype] if np.any(ops) else ops


def _machine_seconds(demand: KernelDemand, gpu: Gpu) -> dict[str, FloatArray]:
    """Seconds at boost for which the kernel's whole work keeps every SM's unit, or the L2, busy."""
    tensor, fma, special, shared, _ = _cycles_per_cta(demand, gpu)
    ctas = demand.grid.ctas
    sm_clk_s = 1.0 / (gpu.sm.count * gpu.clock.top_hz)
    return {
        "tensor": ctas * tensor * sm_clk_s,
        "fma": ctas * fma * sm_clk_s,
        "special": ctas * special * sm_clk_s,
        "shared": ctas * shared * sm_clk_s,
        "l2": ctas * _l2_cycles(demand, gpu) / gpu.clock.top_hz,
    }
