"""An NVMe drive: the `kind: drive` files."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.machine import Machine
from simexplore.archs.schema.quantities import BytesPerSecond, Capacity, Seconds, Share, Spec, Watts, about


class Way(Spec):
    """Reads or writes."""

    bandwidth_bytes_per_s: BytesPerSecond = about("sequential bandwidth with a full queue", "B/s")
    latency_s: Seconds = about("of one small request", "s")


class DrivePower(Spec):
    """What a drive draws."""

    active_w: Watts = about("drawn while it is busy", "W")
    idle_w: Watts = about("drawn with nothing to do", "W")


class Drive(Machine):
    """A drive; of an array of RAID 0, all of them as one."""

    kind: Literal["drive"] = about("what the file describes", "text")
    capacity_bytes: Capacity = about("capacity", "B")
    read: Way = about("reads", "mapping")
    write: Way = about("writes", "mapping")
    duplex: Literal["full", "half"] = about(
        "full: reads and writes each have their bandwidth at once; half: they take turns", "text"
    )
    efficiency: Share = about("share of both bandwidths that is reached through a file system", "1")
    power: DrivePower = about("power", "mapping")

    def times(self, drives: int) -> Drive:
        """So many of these drives as one, data striped over all: bandwidths, capacity and power add up."""

        def wider(way: Way) -> Way:
            return way.model_copy(update={"bandwidth_bytes_per_s": way.bandwidth_bytes_per_s * drives})

        power = self.power.model_copy(
            update={"active_w": self.power.active_w * drives, "idle_w": self.power.idle_w * drives}
        )
        return self.model_copy(
            update={
                "capacity_bytes": self.capacity_bytes * drives,
                "read": wider(self.read),
                "write": wider(self.write),
                "power": power,
            }
        )
