"""The fused attention kernels of the serving engine: prefill, and the two kinds of decode kernel.

`narrow` holds what differs for operands, or a KV cache, of 8 bits.
"""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.library.menus import (
    Exponent,
    HeadDims,
    Instructions,
    Portion,
    Rate,
    Splits,
    Tile,
    Trips,
)
from simexplore.archs.schema.quantities import Capacity, Count, Share, Spec, about


class NarrowPrefill(Spec):
    """Prefill of 8-bit operands."""

    head_dims: Splits = about("head dimensions whose products take 8-bit operands; others are widened", "1")


class Prefill(Spec):
    """The prefill kernels."""

    tiles: dict[str, Tile] = about(
        "query rows x keys of a CTA's step, by the largest head dimension served, quoted: '128'", "rows x keys"
    )
    short_keys: Count = about("most keys for which the kernels of short_tiles are taken", "1")
    short_tiles: dict[str, Tile] = about("tiles of contexts of that many keys", "rows x keys")
    overlap_exponent: Exponent = about(
        "overlap_exponent of these kernels, whose products and softmax wait for one another", "1"
    )
    tensor_efficiency: Share = about("share of the tensor cores' rate that they reach", "1")
    l2_rate: Rate = about("L2 read rate over that of streams", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    step_round_trips: Trips = about("L2 round trips that each step over a tile of keys waits for", "1")
    tail_share: Share = about("share of what its longest CTA takes beyond others that a kernel waits for", "1")
    module_kernels: Trips = about("kernels of the engine's prefill module, the attention kernel included", "1")
    fixed_over_queries: Trips = about(
        "part of round_trips that few queries need as much as many, over the part that grows with them", "1"
    )
    fixed_over_width: Trips = about("the same of narrow and wide heads", "1")
    narrow: NarrowPrefill = about("8-bit operands", "mapping")
    packs_heads: bool = about(
        "whether a tile's rows are the query heads of a KV head, token after token", "text", default=False
    )


class Unmasked(Spec):
    """What differs in prefill kernels without a mask, which an engine compiles apart: encoders, cross attention."""

    overlap_exponent: Exponent = about("overlap_exponent of prefill", "1")
    tensor_efficiency: Share = about("tensor_efficiency of prefill", "1")
    softmax_instructions: Trips = about("softmax_instructions of the library, without those of a mask", "1")
    round_trips: Trips = about("round_trips of prefill", "1")
    step_round_trips: Trips = about("step_round_trips of prefill", "1")
    module_kernels: Trips = about("kernels of the engine's module, the attention kernel included", "1")
    register_head_dims: HeadDims = about(
        "head dimensions whose kernel is an older one that multiplies from registers (mma.sync)", "1", default=()
    )
    register_rate: Share = about("rate of such products over that of the tensor cores", "1", default=1.0)


class Decode(Spec):
    """What both kinds of decode kernel share."""

    overlap_exponent: Exponent = about("overlap_exponent of these kernels, whose loads run ahead", "1")
    l2_rate: Rate = about("L2 read rate over that of streams: heads of a group share lines", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    queued_share: Share = about("share of a CTA's fixed cost that is queueing behind other SMs' CTAs", "1")
    idle_cta_share: Share = about("cost of a CTA whose keys are all outside the window, over another's", "1")
    module_kernels: Trips = about("kernels of the engine's decode module, the attention kernel included", "1")


class NarrowGrouped(Spec):
    """The grouped kernel for an 8-bit KV cache."""

    round_trips: Trips = about("round_trips, by a kernel of its own", "1")
    step_round_trips: Trips = about("step_round_trips of that kernel", "1")
    merge_round_trips: Trips = about("merge_round_trips of that kernel", "1")
    kv_tile: Count = about("kv_tile where its products are wgmma", "1")
    max_splits: Count = about("most CTAs among which the keys are split", "1")
    fused_head_dim: Count = about("least head dimension whose kernel rotates and appends by itself", "1")
    conversions: Trips = about("special-function operations with which an element of the cache is widened", "1")
    cta_instructions: Instructions = about("instructions of each warp outside its loop, with wgmma", "1")
    fixed_over_queries: Trips = about(
        "part of them that few queries need as much as many, over the part that grows with them", "1"
    )


class Grouped(Spec):
    """The decode kernel whose CTA computes all query heads of a KV head."""

    max_group: Count = about("most query heads per KV head that it takes", "1")
    kv_tile: Count = about("keys of one step", "1")
    load_bytes: Capacity = about("bytes of a key that are loaded at once", "B")
    split_tokens: Count = about("keys for each of which it would have a CTA", "1")
    split_root: Rate = about("its splits are at most the root of this times the CTAs that split_tokens asks for", "1")
    ctas_per_sm: Rate = about("CTAs per SM up to which it splits", "1")
    least_ctas_per_sm: Rate = about(
        "CTAs per SM, one for each split_tokens keys, below which the one-head kernel serves grouped queries too", "1"
    )
    flight_share: Share = about("share of a CTA's KV tiles that is in flight", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    step_round_trips: Trips = about("L2 round trips that each step over a tile of keys waits for", "1")
    merge_round_trips: Trips = about("dependent L2 round trips of merging partial results", "1")
    merge_step_round_trips: Trips = about("the same for each of the partial results", "1")
    partial_round_trips: Trips = about("those of a CTA that hands on a partial result", "1")
    fixed_over_queries: Trips = about(
        "part of round_trips that one tile of query rows needs as much as several, over the part that grows", "1"
    )
    fixed_over_width: Trips = about("the same of narrow and wide heads", "1")
    narrow: NarrowGrouped = about("an 8-bit KV cache", "mapping")


class NarrowOneHead(Spec):
    """The one-head kernel for an 8-bit KV cache."""

    round_trips: Trips = about("round_trips of that kernel", "1")
    conversions: Trips = about("special-function operations with which an element of the cache is widened", "1")


class OneHead(Spec):
    """The decode kernel whose CTA computes one query head."""

    threads: Count = about("threads of its smallest CTA", "1")
    instructions: Rate = about("FMA-pipe instructions for each product: conversion, product", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    step_round_trips: Trips = about("L2 round trips that each step over a tile of keys waits for", "1")
    merge_round_trips: Trips = about("dependent L2 round trips of merging partial results", "1")
    narrow: NarrowOneHead = about("an 8-bit KV cache", "mapping")


class Tiled(Spec):
    """Decode kernels that work by tiles of query rows and keys as prefill does: FlashAttention's, FlashInfer's."""

    tiles: dict[str, Tile] = about(
        "query rows x keys of a step of decode kernels, by the largest head dimension served, quoted: '128'",
        "rows x keys",
    )
    other_tiles: dict[str, Tile] = about(
        "tiles of rows that those do not serve: keys that are not split, windows, more query heads than rows",
        "rows x keys",
    )
    narrow_tiles: dict[str, Tile] = about("tiles where an 8-bit KV cache is multiplied in 8 bits", "rows x keys")
    narrow_prefill_tiles: dict[str, Tile] = about("tiles of prefill whose KV cache has 8 bits", "rows x keys")
    stages: Count = about("tiles of keys, and of values, that a CTA holds", "1")
    ctas_per_sm: Count = about("CTAs an SM that the rule reckons with which splits keys", "1")
    most_splits: Count = about("most CTAs among which keys are split", "1")
    narrow_products: bool = about("whether an 8-bit KV cache is multiplied in 8 bits, queries converted", "text")
    single_decodes: bool = about("whether prefill of one token a sequence is served by the decode kernels", "text")
    append_tokens: Count = about("new tokens whose keys and values a CTA of the append writes", "1")
    narrow_kernels: Trips = about("kernels that convert queries and new keys where the KV cache has 8 bits", "1")
    narrow_conversions: Trips = about(
        "special-function operations with which prefill widens an element of an 8-bit cache", "1"
    )
    cta_instructions: Instructions = about("instructions of each warp of a decode kernel outside its loop", "1")
    narrow_efficiency: Share = about("tensor_efficiency of prefill whose products are of 8-bit operands", "1")
    wave_exposure: Portion = about(
        "share of a wave's latency that its neighbours do not hide; small where CTAs take tile after tile", "1"
    )
    whole_steps: bool = about(
        "whether decode kernels load all keys of a step, those beyond the sequence's end too", "text", default=False
    )


class AttentionLibrary(Spec):
    """The fused attention kernels of the serving engine."""

    rules: Literal[
        "tensorrt_llm",
        "vllm_paged",
        "flash_attention_2",
        "flash_attention_3",
        "flashinfer",
        "trtllm_gen",
        "vllm_xpu",
    ] = about("engine whose rules say which kernel serves a row and how its grid is laid out", "text")
    softmax_instructions: Trips = about("FMA-pipe instructions per score: scale, maximum, subtract, sum, convert", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the main loop", "1")
    prefill: Prefill = about("prefill kernels", "mapping")
    unmasked: Unmasked | None = about("those without a mask; absent: as prefill's", "mapping", default=None)
    decode: Decode = about("what both kinds of decode kernel share", "mapping")
    grouped: Grouped = about("the decode kernel of all query heads of a KV head", "mapping")
    one_head: OneHead = about("the decode kernel of one query head", "mapping")
    tiled: Tiled | None = about("decode by tiles as prefill; absent: grouped and one_head", "mapping", default=None)
