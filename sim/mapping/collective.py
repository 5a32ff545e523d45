"""Collectives → bytes over a link, in the steps of NCCL's ring algorithm."""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import LinkDemand
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AllReduce, Collective


def collective_demand(op: Collective, gpu: Gpu, conditions: Conditions) -> tuple[LinkDemand, ...]:  # noqa: ARG001
    """One GPU's share: its bytes over NVLink, or PCIe where there is none, and the ring's dependent steps."""
    others = column(op.num_gpus)[:, 0] - 1.0
    passes = 2.0 if isinstance(op, AllReduce) else 1.0
    link = "pcie" if gpu.links.nvlink is None else "nvlink"
    return (LinkDemand(kernel=op.op, link=link, bytes=column(op.link_bytes)[:, 0], steps=passes * others),)
