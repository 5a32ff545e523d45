"""Attention of engines that decode by tiles of query rows and keys: one module each, behind `TiledRules`."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.sim.libraries.tiled import flash_attention_2, flash_attention_3, flashinfer, trtllm_gen, vllm_xpu
from simexplore.sim.libraries.tiled.interface import TiledRules

TILED: Mapping[str, TiledRules] = {
    "flash_attention_2": flash_attention_2,
    "flash_attention_3": flash_attention_3,
    "flashinfer": flashinfer,
    "trtllm_gen": trtllm_gen,
    "vllm_xpu": vllm_xpu,
}
"""Modules by the name that a machine's file gives them."""
