"""Demands of CPUs and of copies over a path of links: their records, and what they cost alone.

A copy takes of everything on its way at once: of each link and port in its direction, of a drive's reads or writes, and
of the memory at its ends and wherever it is put down between two links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.system import Path, Place
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.hardware.host.cpu import cpu_timing
from simexplore.sim.hardware.host.drive import drive_rate, resource_of
from simexplore.sim.hardware.host.search import search_timing

CORES, MEMORY = "cores", "memory"
"""Resources of a CPU."""


@dataclass(frozen=True)
class CpuDemand:
    """Work of a CPU's cores."""

    kernel: str
    flops: float
    bytes: float
    """Memory traffic [B]."""
    cores: int | None = None
    """Cores that it runs on; None: all."""


@dataclass(frozen=True)
class SearchDemand:
    """Walks over graphs of keys in memory, each the work of one core."""

    kernel: str
    walks: int
    visited: float
    """Keys on each walk."""
    bytes: float
    """Memory traffic of all [B]."""


@dataclass(frozen=True)
class TransferDemand:
    """Bytes over a path of links."""

    kernel: str
    bytes: float
    block_bytes: float
    """Of a request to a drive [B]."""
    queue: float
    """Requests at a drive at once."""
    pageable: bool = False
    """True: of host memory that is not pinned, so drivers stage it."""


@alone.register
def _cpu(demand: CpuDemand, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001
    """Work of cores, which share the memory's channels with copies and each other."""
    cpu = place.arch
    if not isinstance(cpu, Cpu):
        raise SimexploreError(f"expected a CPU to run {demand.kernel}, found {place.name!r}")
    told = cpu_timing(demand.flops, demand.bytes, demand.cores, cpu)
    takes = {CORES: told.cores_s, **_memory(place, demand.bytes)}
    phase = Phase(told.latency_s, told.run_s, takes, {"host": told.energy_j}, (0.0, told.run_s, 1.0))
    bound = MEMORY if told.memory_s >= told.cores_s else CORES
    return Alone((phase,), bound)


@alone.register
def _search(demand: SearchDemand, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001
    """Walks that wait for memory visit by visit, so cores bind long before channels do."""
    cpu = place.arch
    if not isinstance(cpu, Cpu):
        raise SimexploreError(f"expected a CPU to run {demand.kernel}, found {place.name!r}")
    told = search_timing(demand.walks, demand.visited, demand.bytes, cpu)
    takes = {CORES: told.cores_s, MEMORY: told.memory_s}
    phase = Phase(0.0, told.run_s, takes, {"host": told.energy_j}, (0.0, told.run_s, 1.0))
    return Alone((phase,), MEMORY if told.memory_s >= told.run_s else CORES)


@alone.register
def _transfer(demand: TransferDemand, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001
    """The latency of all links and of a drive at an end, then what the slowest on the way gives."""
    path = place.arch
    if not isinstance(path, Path):
        raise SimexploreError(f"expected a path such as 'cpu->gpu' for {demand.kernel}, found {place.name!r}")
    takes = {name: demand.bytes / rate for hop in path.hops for name, rate in hop.rates.items()}
    waits_s = sum(hop.link.latency_s for hop in path.hops)
    own_s, energy_j = 0.0, 0.0
    for stop, writes in ((path.stops[0], False), (path.stops[-1], True)):
        if isinstance(drive := stop.arch, Drive):
            way = drive.write if writes else drive.read
            busy_s = demand.bytes / (drive.efficiency * way.bandwidth_bytes_per_s)
            takes[stop.prefix + resource_of(drive, writes=writes)] = busy_s
            own_s = max(own_s, demand.bytes / drive_rate(way, drive, demand.block_bytes, demand.queue))
            waits_s += way.latency_s
            energy_j += (drive.power.active_w - drive.power.idle_w) * busy_s
    for stop, passes in _put_down(path):
        takes |= {stop.prefix + name: taken for name, taken in _memory(stop, passes * demand.bytes).items()}
    own_s = max(own_s, *(demand.bytes / rate for rate in _staged(path, demand)), *takes.values())
    spends = {"link": demand.bytes * sum(_link_energies(path)), "host": energy_j}
    bound = (
        "drive"
        if any(isinstance(stop.arch, Drive) for stop in path.stops) and own_s > _links_s(path, demand)
        else "link"
    )
    return Alone((Phase(waits_s, own_s, takes, spends, (0.0, own_s, 1.0)),), bound, {"bytes": demand.bytes})


def _links_s(path: Path, demand: TransferDemand) -> float:
    """What the links alone would take [s]."""
    return max(demand.bytes / rate for hop in path.hops for rate in hop.rates.values())


def _staged(path: Path, demand: TransferDemand) -> Iterator[float]:
    """Rates of a driver that stages pageable memory, of the links that tell them [B/s]; pinned memory has none."""
    for hop in path.hops if demand.pageable else ():
        if (rate := hop.link.pageable_bandwidth_bytes_per_s) is not None:
            yield rate
    yield float("inf")


def _put_down(path: Path) -> Iterator[tuple[Place, float]]:
    """Places with memory on the way, and how often each byte crosses their memory."""
    for stop in path.stops:
        if not isinstance(stop.arch, Drive):
            yield stop, 1.0 if stop in (path.stops[0], path.stops[-1]) else 2.0


def _link_energies(path: Path) -> Iterator[float]:
    """What GPUs at the ends spend on a byte [J/B]."""
    for stop in path.stops:
        if isinstance(stop.arch, Gpu):
            yield stop.arch.energy.link_j_per_byte


def _memory(place: Place, moved_bytes: float) -> dict[str, float]:
    """What traffic takes of the memory that a place works on, by its name on the device [s of all of it]."""
    home = place.home_arch
    if isinstance(home, Gpu):
        return {"dram": moved_bytes / (home.dram.bandwidth_bytes_per_s * home.dram.efficiency)}
    assert isinstance(home, Cpu)
    return {MEMORY: moved_bytes / home.bandwidth_bytes_per_s}
