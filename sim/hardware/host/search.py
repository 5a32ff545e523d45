"""What a walk from key to key over a graph in memory takes of a CPU."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from simexplore.archs.schema.host.cpu import Cpu
from simexplore.errors import SimexploreError


class SearchTiming(NamedTuple):
    """Walks alone on an idle CPU."""

    run_s: float
    """All of them [s]."""
    cores_s: float
    """Time for which all cores together would be busy [s]."""
    memory_s: float
    """Time for which all channels together are busy [s]."""
    energy_j: float
    """Above idle [J]."""


def visit_seconds(cpu: Cpu) -> float:
    """Time of one visit on one core, t = c / f + m l [s].

    c clocks of work and m misses one after the other are the library's, as measured; f is the clock, l the latency of
    memory.

    Raises:
        SimexploreError: the CPU's file does not say what a visit takes.
    """
    if cpu.search is None:
        raise SimexploreError(f"{cpu.name}: expected a section search, what a visit of a key takes, found none")
    return cpu.search.work_cycles / cpu.cores.clock_hz + cpu.search.misses * cpu.memory.latency_s


def search_timing(walks: int, visited: float, moved_bytes: float, cpu: Cpu) -> SearchTiming:
    """Time of some walks, t = max(ceil(w / n) v t_visit, bytes / B), each on one of n cores.

    A walk cannot be divided, as each visit tells where the next one goes.

    Args:
        walks: w.
        visited: v, keys on each walk.
        moved_bytes: read in all [B].
        cpu: B its memory's bandwidth.
    """
    walk_s = visited * visit_seconds(cpu)
    memory_s = moved_bytes / cpu.bandwidth_bytes_per_s
    run_s = max(ceil(walks / cpu.cores.count) * walk_s, memory_s)
    cores_s = walks * walk_s / cpu.cores.count
    return SearchTiming(run_s, cores_s, memory_s, (cpu.power.tdp_w - cpu.power.idle_w) * cores_s)
