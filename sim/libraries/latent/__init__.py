"""How an engine lays out attention over a latent cache, one module an engine."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.latent import absorbing, flash_mla, whole_waves
from simexplore.sim.libraries.latent.interface import LatentRules

LATENT: Mapping[str, LatentRules] = {"absorbing": absorbing, "flash_mla": flash_mla, "whole_waves": whole_waves}
"""Modules by the name that a machine's file gives them."""


def latent_rules(gpu: Gpu) -> LatentRules:
    """The rules of the machine's attention over a latent cache."""
    return LATENT[gpu.latent_kernels.rules]
