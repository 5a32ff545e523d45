"""Messages over a link, by Hockney's model: the latency of each dependent step, and bytes over bandwidth."""

from __future__ import annotations

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, LinkDemand


def link_seconds(demand: LinkDemand, machine: Gpu | Link) -> FloatArray:
    """Time of a message alone on its link, shape (rows,) [s]; the link is the GPU's own of that name, or given."""
    link = _of(demand, machine)
    return demand.steps * link.latency_s + demand.bytes / link.bandwidth_bytes_per_s


def link_energies(demand: LinkDemand, machine: Gpu | Link) -> dict[str, FloatArray]:
    """Energy of a message by where it goes, shape (rows,) [J]; none where the link is not a GPU's own."""
    return {"link": demand.bytes * machine.energy.link_j_per_byte} if isinstance(machine, Gpu) else {}


def _of(demand: LinkDemand, machine: Gpu | Link) -> Link:
    if isinstance(machine, Link):
        return machine
    links = machine.links
    return links.pcie if demand.link == "pcie" or links.nvlink is None else links.nvlink
