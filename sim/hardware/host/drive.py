"""What a drive, or an array of them, takes for reads and writes."""

from __future__ import annotations

from simexplore.archs.schema.host.drive import Drive, Way

BOTH = "drives"
"""Resource of a drive whose reads and writes take turns."""
READS, WRITES = "reads", "writes"
"""Resources of a drive that has both at once."""


def drive_resources(drive: Drive) -> tuple[str, ...]:
    """Names of what is shared on a drive."""
    return (BOTH,) if drive.duplex == "half" else (READS, WRITES)


def resource_of(drive: Drive, *, writes: bool) -> str:
    """Name of what reads, or writes, take of it."""
    return BOTH if drive.duplex == "half" else WRITES if writes else READS


def drive_rate(way: Way, drive: Drive, block_bytes: float, queue: float) -> float:
    """Bytes a second of one stream of requests, min(e B, q b / (l + b / B)) [B/s] (Little's law).

    Args:
        way: reads or writes, l its latency [s] and B its bandwidth [B/s].
        drive: whose e is the share of the bandwidth that is reached.
        block_bytes: b, of a request [B].
        queue: q, requests under way at once, over all drives of an array.
    """
    request_s = way.latency_s + block_bytes / way.bandwidth_bytes_per_s
    return min(drive.efficiency * way.bandwidth_bytes_per_s, queue * block_bytes / request_s)
