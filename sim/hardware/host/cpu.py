"""What a CPU's cores and memory channels take for work, as a roofline of the cores that it runs on."""

from __future__ import annotations

from typing import NamedTuple

from simexplore.archs.schema.host.cpu import Cpu


class CpuTiming(NamedTuple):
    """Work alone on an idle CPU."""

    latency_s: float
    """Of the first load [s]."""
    run_s: float
    """All of it [s]."""
    cores_s: float
    """Time for which all cores together would be busy [s]."""
    memory_s: float
    """Time for which all channels together are busy [s]."""
    energy_j: float
    """Above idle [J]."""


def cpu_timing(flops: float, moved_bytes: float, cores: int | None, cpu: Cpu) -> CpuTiming:
    """Time of work on some cores, t = max(flops / (c f r), bytes / min(c b, B)) (S. Williams et al., Roofline, 2009).

    A core holds its work from start to end, also while it waits for memory. Power above idle goes with busy cores.

    Args:
        flops: operations; an FMA is two.
        moved_bytes: memory traffic [B].
        cores: how many it runs on; None, or more than there are: all.
        cpu: all sockets as one; f its clock [Hz], r its rate [op/clk], b a core's bandwidth, B the channels' [B/s].
    """
    used = cpu.cores.count if cores is None else min(cores, cpu.cores.count)
    share = used / cpu.cores.count
    reached = min(used * cpu.cores.bandwidth_bytes_per_s, cpu.bandwidth_bytes_per_s)
    run_s = max(flops / (share * cpu.fma_ops_per_s), moved_bytes / reached)
    busy_w = (cpu.power.tdp_w - cpu.power.idle_w) * share
    latency_s = cpu.memory.latency_s if moved_bytes > 0.0 else 0.0
    return CpuTiming(latency_s, run_s, share * run_s, moved_bytes / cpu.bandwidth_bytes_per_s, busy_w * run_s)
