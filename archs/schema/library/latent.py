"""The attention kernels of a latent cache (MLA)."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.library.menus import Exponent, Rate, Tile, Trips
from simexplore.archs.schema.quantities import Count, Share, Spec, about


class LatentPrefill(Spec):
    """Prefill; what a step costs beside its products is `attention`'s."""

    tile: Tile = about("query rows x keys of a CTA's step", "rows x keys")
    overlap_exponent: Exponent = about("overlap_exponent of the kernel", "1")
    tensor_efficiency: Share = about("share of the tensor cores' rate that it reaches", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    step_round_trips: Trips = about("L2 round trips that each step over a tile of keys waits for", "1")
    module_kernels: Trips = about("kernels of the engine's module around it, itself included", "1")


class LatentDecode(Spec):
    """Decode."""

    tile: Tile = about("query heads x tokens of the cache of a CTA's step", "rows x keys")
    split_blocks: Count = about("steps that a sequence's begin and end count for when work is divided", "1")
    overlap_exponent: Exponent = about("overlap_exponent of the kernel", "1")
    tensor_efficiency: Share = about("share of the tensor cores' rate that it reaches", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA for each sequence that it works on", "1")
    step_round_trips: Trips = about("L2 round trips that each step waits for", "1")
    merge_round_trips: Trips = about("dependent L2 round trips of the kernel that merges partial results", "1")
    module_kernels: Trips = about("kernels of the engine's module around it, itself and the merge included", "1")


class LatentLibrary(Spec):
    """Attention over a latent cache."""

    rules: Literal["flash_mla", "absorbing", "whole_waves"] = about(
        "engine whose rules say which kernels serve a row and how their grids are laid out", "text"
    )
    setup_round_trips: Trips = about("dependent L2 round trips before the main loop", "1")
    prefill: LatentPrefill = about("prefill", "mapping")
    decode: LatentDecode = about("decode", "mapping")
