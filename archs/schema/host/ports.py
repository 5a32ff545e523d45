"""A port that several links share, such as a root port of a CPU behind which a switch has its devices."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.quantities import BytesPerSecond, Spec, about


class Port(Spec):
    """What the links behind it share; each way of a link takes the same way of its port."""

    bandwidth_bytes_per_s: BytesPerSecond = about("bandwidth of all links behind it, in each direction", "B/s")
    duplex: Literal["full", "half"] = about(
        "full: the bandwidth is there each way; half: both ways share it", "text", default="full"
    )
