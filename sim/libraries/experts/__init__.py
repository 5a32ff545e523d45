"""Which kernels an engine's layer of experts is made of, one module an engine."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.experts import cutlass, triton
from simexplore.sim.libraries.experts.interface import ExpertRules

EXPERTS: Mapping[str, ExpertRules] = {"cutlass": cutlass, "triton": triton}
"""Modules by the name that a machine's file gives them."""


def expert_rules(gpu: Gpu) -> ExpertRules:
    """The rules of the machine's layers of experts."""
    return EXPERTS[gpu.expert_kernels.rules]
