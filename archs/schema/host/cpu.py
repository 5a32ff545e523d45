"""A CPU socket and the memory on its channels: the `kind: cpu` files.

The memory's capacity is of a whole socket; a system's file says what its machine is fitted with.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from simexplore.archs import units
from simexplore.archs.schema.machine import Machine
from simexplore.archs.schema.quantities import (
    BytesPerSecond,
    Capacity,
    Count,
    Cycles,
    Hertz,
    OpsPerClk,
    Seconds,
    Share,
    Spec,
    Watts,
    about,
    mistake,
)


class Cores(Spec):
    """The cores of a socket."""

    count: Count = about("physical cores", "1")
    clock_hz: Hertz = about("clock that all cores hold while their vector units are busy", "Hz")
    fma_ops_per_clk: OpsPerClk = about("FP32 operations of one core per clock; an FMA is two", "op/clk")
    bandwidth_bytes_per_s: BytesPerSecond = about("memory bytes that one core alone can move", "B/s")


class Memory(Spec):
    """The memory of a socket."""

    capacity_bytes: Capacity = about("capacity", "B")
    channels: Count = about("channels that are fitted", "1")
    channel_bandwidth_bytes_per_s: BytesPerSecond = about("of one channel, reads and writes together", "B/s")
    efficiency: Share = about("share of the channels' bandwidth that streaming reaches", "1")
    latency_s: Seconds = about("of a load that misses all caches", "s")


class Search(Spec):
    """What a visit of one key takes when a library walks a graph over keys in memory."""

    work_cycles: Cycles = about("clocks of work on a visit", "clk")
    misses: float = about("loads of a visit that wait for memory, one after the other", "1", ge=0)


class CpuPower(Spec):
    """Electrical limits of a socket."""

    tdp_w: Watts = about("power with all cores busy", "W")
    idle_w: Watts = about("drawn with nothing to do", "W")

    @model_validator(mode="after")
    def _idle_is_least(self) -> Self:
        if self.idle_w > self.tdp_w:
            tdp, idle = (units.format(w, units.WATTS) for w in (self.tdp_w, self.idle_w))
            raise mistake(f"at most power.tdp, {tdp!r}", repr(idle), key="idle")
        return self


class Cpu(Machine):
    """A CPU; of a system with several sockets, all of them as one."""

    kind: Literal["cpu"] = about("what the file describes", "text")
    cores: Cores = about("cores", "mapping")
    memory: Memory = about("memory", "mapping")
    power: CpuPower = about("power", "mapping")
    search: Search | None = about("search among vectors in memory; absent: not known", "mapping", default=None)

    def times(self, sockets: int) -> Cpu:
        """So many of these sockets as one CPU: cores, channels, capacity and power add up."""
        cores = self.cores.model_copy(update={"count": self.cores.count * sockets})
        memory = self.memory.model_copy(
            update={
                "channels": self.memory.channels * sockets,
                "capacity_bytes": self.memory.capacity_bytes * sockets,
            }
        )
        power = self.power.model_copy(
            update={"tdp_w": self.power.tdp_w * sockets, "idle_w": self.power.idle_w * sockets}
        )
        return self.model_copy(update={"cores": cores, "memory": memory, "power": power})

    @property
    def fma_ops_per_s(self) -> float:
        """FP32 rate of all cores [op/s]."""
        return self.cores.count * self.cores.fma_ops_per_clk * self.cores.clock_hz

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """What streaming reaches of all channels [B/s]."""
        return self.memory.channels * self.memory.channel_bandwidth_bytes_per_s * self.memory.efficiency
