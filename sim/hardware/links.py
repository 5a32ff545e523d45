"""Links: how long a message takes that has the link to itself."""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, LinkDemand


def link_seconds(demand: LinkDemand, gpu: Gpu) -> FloatArray:
    """Time of a message over a link: latency of each dependent step, and bytes over bandwidth (Hockney's model) [s]."""
    link = gpu.links.pcie if demand.link == "pcie" or gpu.links.nvlink is None else gpu.links.nvlink
    return demand.steps * link.latency_s + demand.bytes / link.bandwidth_bytes_per_s
