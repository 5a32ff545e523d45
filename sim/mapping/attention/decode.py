"""Decode attention → kernel demands: one query token a sequence against its KV cache, split among CTAs.

TensorRT-LLM has two kernels (cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention, cpp/kernels/xqa). With grouped
queries a CTA computes all query heads of a KV head on the tensor cores and reads its keys once (XQA); otherwise a CTA
computes one query head on the FMA pipes (MMHA). Both split long contexts as Flash-Decoding does (Dao et al., 2023),
each by its own rule. What follows counts their grids, tiles and loops as those sources do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Algorithm, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.attention.prefill import rotate_and_append, tensor_dtype
from simexplore.sim.mapping.columns import ceil_div, column, constant
from simexplore.sim.mapping.matmul.gemm import PARTIAL_SUM_BYTES
from simexplore.sim.mapping.matmul.tiles import MMA_ROWS
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import AttentionDecode

BoolArray = NDArray[np.bool_]

GROUP_WARPS = 8.0
"""Warps of a CTA of the grouped kernel: four for scores, four for weighted values."""
WARP_KEYS = 64.0
"""Keys that a warp of it, or its warp group with wgmma, computes at once."""
NARROW_WARPS = 12.0
"""Warps of the grouped kernel that multiplies 8-bit keys with wgmma."""
WGMMA_QUERIES = 8.0
"""Query heads of which it computes a multiple."""
SMALL_QUERIES = 2048.0
"""Elements of a CTA's queries up to which three CTAs share an SM, by its launch bounds; else two."""
LOAD_BYTES = 16.0
"""Bytes that a thread of the one-head kernel loads at once."""
UNROLL = 8.0
"""Loads of values that such a thread has in flight, and so the loops of keys that a split gives it at least."""
KEY_UNROLL = 4.0
"""Loads of keys that it has in flight."""
HEAD_REGISTERS = 64.0
LARGEST_CTA = 1024.0
"""Threads of the largest CTA."""


def decode_algorithms(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The grouped kernel and the one-head kernel; which of them serves a row, the engine decides by its shape.

    With `attention_module` the grouped kernel comes after a kernel that rotates and appends; the other one does that
    itself.
    """
    grouped = _takes_groups(op, gpu)[:, 0]
    fused = grouped & (_rotates_itself(op, gpu)[:, 0] | (not conditions.attention_module))
    helpers = 0.0
    if conditions.attention_module:
        helpers = np.maximum(gpu.library.attention.module_kernels_decode - 2.0, 0.0)
    ways = []
    if np.any(grouped):
        together = _grouped_kernel(op, gpu, conditions)
        before = rotate_and_append(op, constant(1.0), gpu, helpers)
        ways = [Algorithm((before, together), grouped & ~fused)]
        ways.append(Algorithm((together.with_extra_launches(helpers),), fused))
    if not np.all(grouped):
        ways.append(Algorithm((_head_kernel(op, gpu, conditions).with_extra_launches(helpers),), ~grouped))
    return tuple(way for way in ways if np.any(way.serves))


def _takes_groups(op: AttentionDecode, gpu: Gpu) -> BoolArray:
    """Rows that the grouped kernel serves, shape (rows, 1): the engine's supportConfig and mayHavePerfGain.

    Two to `max_group` query heads a KV head, and, with a 16-bit cache, at least `grouped_least_ctas_per_sm` CTAs an SM
    when every `split_tokens` keys have one.
    """
    library = gpu.library.attention
    group = column(op.heads) / column(op.kv_heads)
    ctas = column(op.batch) * column(op.kv_heads) * np.maximum(column(op.seq_kv) // library.split_tokens, 1.0)
    enough = ctas >= library.grouped_least_ctas_per_sm * gpu.sm.count
    served: BoolArray = (group > 1.0) & (group <= library.max_group) & (enough | (_cache_bytes(op) < 2.0))
    return served


def _rotates_itself(op: AttentionDecode, gpu: Gpu) -> BoolArray:
    """Rows whose grouped kernel needs none before it that rotates and appends: that of an 8-bit cache may do it."""
    wide: BoolArray = column(op.head_dim) >= gpu.library.attention.narrow_fused_head_dim
    return wide & (_cache_bytes(op) < 2.0)


class _Variant(NamedTuple):
    """What differs between the grouped kernels of 16-bit and 8-bit caches."""

    warps: float
    tile: float
    """Keys of a step."""
    ctas_per_sm: FloatArray
    most_splits: float
    returns: bool
    """Whether CTAs without keys return at once."""
    fixed_trips: float
    step_trips: float
    merge_trips: float
    flight_share: float
    instructions: float
    """Instructions of each warp outside the loop that keep the SM's schedulers busy."""
    conversions: float
    """Special-function operations for each element of a key or value."""


def _variant(op: AttentionDecode, gpu: Gpu) -> _Variant:
    """mha.cu, which fills an SM's shared memory, or mha_sm90.cu, which takes 8-bit caches where there is wgmma."""
    library = gpu.library.attention
    sixteen_bit = _Variant(
        warps=GROUP_WARPS,
        tile=float(library.decode_kv_tile),
        ctas_per_sm=constant(1.0),
        most_splits=np.inf,
        returns=False,
        fixed_trips=library.grouped_round_trips,
        step_trips=library.grouped_step_round_trips,
        merge_trips=library.merge_round_trips,
        flight_share=library.decode_flight_share,
        instructions=0.0,
        conversions=0.0,
    )
    if _cache_bytes(op) >= 2.0:
        return sixteen_bit
    widening = sixteen_bit._replace(
        most_splits=float(library.narrow_max_splits),
        fixed_trips=library.narrow_grouped_round_trips,
        step_trips=library.narrow_step_round_trips,
        merge_trips=library.narrow_merge_round_trips,
        conversions=library.narrow_conversions,
    )
    if gpu.library.gemm.instruction == "mma_sync":
        return widening
    rows = ceil_div(column(op.heads) / column(op.kv_heads), WGMMA_QUERIES) * WGMMA_QUERIES
    return widening._replace(
        warps=NARROW_WARPS,
        tile=float(library.narrow_kv_tile),
        ctas_per_sm=np.where(_padded(column(op.head_dim)) * rows <= SMALL_QUERIES, 3.0, 2.0),
        returns=True,
        flight_share=1.0,
        instructions=library.narrow_cta_instructions,
    )


class _Reach(NamedTuple):
    """What the CTAs of a sequence see; arrays of shape (rows, 1)."""

    tokens: FloatArray
    """Keys that a query sees."""
    splits: FloatArray
    """CTAs that share them."""
    steps: FloatArray
    """Steps of the busiest CTA's loop."""
    active: FloatArray
    """Share of the CTAs that have keys at all."""


def _grouped_kernel(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, sm = gpu.library.attention, gpu.sm
    element, cached = bytes_of(op.dtype), _cache_bytes(op)
    group = column(op.heads) / column(op.kv_heads)
    width = _padded(column(op.head_dim))
    variant = _variant(op, gpu)
    reach = _grouped_reach(op, gpu, variant)
    ctas = column(op.batch) * column(op.kv_heads) * reach.splits
    rows = ceil_div(group, MMA_ROWS) * MMA_ROWS
    keys = ceil_div(reach.tokens, WARP_KEYS) * WARP_KEYS / reach.splits  # of the last tile, the warps that have keys
    hit = cache.mean_latency_cycles(gpu)
    partial = group * column(op.head_dim) * np.where(reach.splits > 1.0, PARTIAL_SUM_BYTES, element)
    merge = variant.merge_trips + library.merge_step_round_trips * reach.splits
    trips = variant.fixed_trips * (rows / MMA_ROWS + 1.0) / 2.0
    trips = (trips + np.where(reach.splits > 1.0, library.partial_round_trips, 0.0)) * (2.0 + width / 128.0) / 3.0
    outside = variant.instructions * variant.warps * sm.warp_size * (1.0 + group * width / 1024.0) / 2.0
    room = np.minimum(library.grouped_load_bytes, width * cached)
    return KernelDemand(
        kernel="attention",
        ctas=ctas,
        warps_per_cta=constant(variant.warps),
        registers_per_thread=np.minimum(sm.registers / (variant.warps * sm.warp_size * variant.ctas_per_sm), 255.0),
        shared_bytes_per_cta=np.minimum(
            sm.shared_memory_bytes / variant.ctas_per_sm - sm.shared_memory_reserved_bytes,
            sm.shared_memory_per_cta_bytes,
        ),
        overlap_exponent=library.decode_overlap_exponent,
        l2_rate=library.decode_l2_rate,
        dram_rate=library.decode_dram_rate,
        tensor_dtype=tensor_dtype(op.dtype, gpu),
        tensor_ops=4.0 * rows * keys * width,
        fma_ops=2.0 * (library.softmax_instructions * rows * keys + outside),
        special_ops=rows * keys + 2.0 * variant.conversions * keys * width,
        shared_bytes=4.0 * keys * width * cached,
        l2_read_bytes=2.0 * reach.tokens / reach.splits * column(op.head_dim) * cached + partial,
        l2_write_bytes=partial,
        dram_read_bytes=_missing_bytes(op, gpu, conditions) / ctas,
        bytes_in_flight=variant.flight_share * 2.0 * variant.tile * room,
        chain_cycles=reach.steps * variant.step_trips * hit,
        exposed_cycles=_fixed_cycles(trips, ctas / (sm.count * variant.ctas_per_sm), reach, gpu),
        epilogue_bytes=partial,
        setup_cycles=_serial_cycles(merge, reach, gpu),
        label=(reach.splits,),
    )


def _grouped_reach(op: AttentionDecode, gpu: Gpu, variant: _Variant) -> _Reach:
    """The engine's computeMultiBlockCount, which looks at the whole context, seen or not, and the kernel's loop.

    One CTA for each `split_tokens` keys, but no more than the root of `split_root` times that many, nor more than
    `grouped_ctas_per_sm` CTAs an SM in all. They take tiles of keys in turns.
    """
    library, tile = gpu.library.attention, variant.tile
    context, tokens = column(op.seq_kv), column(op.visible_tokens)
    pieces = np.maximum(context // library.split_tokens, 1.0)
    wanted = np.maximum(np.minimum(pieces, np.round(np.sqrt(library.split_root * pieces))), 1.0)
    waves = column(op.batch) * column(op.kv_heads) * wanted / gpu.sm.count
    splits = np.maximum(np.floor(wanted / np.maximum(waves / library.grouped_ctas_per_sm, 1.0)), 1.0)
    tiles = ceil_div(context, tile) - (context - tokens) // tile
    splits = np.minimum(splits, np.minimum(variant.most_splits, tiles) if variant.returns else variant.most_splits)
    return _Reach(tokens, splits, ceil_div(tiles, splits), np.minimum(tiles / splits, 1.0))


def _head_kernel(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library = gpu.library.attention
    element, cached = bytes_of(op.dtype), _cache_bytes(op)
    width = _padded(column(op.head_dim))
    threads = _head_threads(op, gpu)
    at_once = threads / (width * element / LOAD_BYTES)
    reach = _head_reach(op, gpu, threads, at_once * UNROLL)
    ctas = column(op.batch) * column(op.heads) * reach.splits
    keys = reach.tokens / reach.splits
    hit = cache.mean_latency_cycles(gpu)
    partial = column(op.head_dim) * np.where(reach.splits > 1.0, PARTIAL_SUM_BYTES, element)
    trips = library.narrow_head_round_trips if cached < 2.0 else library.head_round_trips
    unrolled = at_once * KEY_UNROLL
    done = ceil_div(keys, unrolled) * unrolled * np.minimum(keys / at_once, 1.0)
    work = 4.0 * done * column(op.head_dim)
    return KernelDemand(
        kernel="attention",
        ctas=ctas,
        warps_per_cta=threads / gpu.sm.warp_size,
        registers_per_thread=constant(HEAD_REGISTERS),
        shared_bytes_per_cta=np.minimum(4.0 * keys, gpu.sm.shared_memory_per_cta_bytes),
        overlap_exponent=library.decode_overlap_exponent,
        l2_rate=library.decode_l2_rate,
        dram_rate=library.decode_dram_rate,
        tensor_dtype=tensor_dtype(op.dtype, gpu),
        fma_ops=library.head_instructions * work,
        special_ops=keys + (2.0 * library.narrow_head_conversions * done * width if cached < 2.0 else 0.0),
        l2_read_bytes=2.0 * keys * column(op.head_dim) * cached + partial,
        l2_write_bytes=partial,
        dram_read_bytes=_missing_bytes(op, gpu, conditions) / ctas,
        bytes_in_flight=threads * LOAD_BYTES * KEY_UNROLL,
        chain_cycles=(reach.steps - 1.0) * library.head_step_round_trips * hit,
        exposed_cycles=_fixed_cycles(trips + 0.0 * ctas, ctas * threads / (LARGEST_CTA * gpu.sm.count), reach, gpu),
        epilogue_bytes=partial,
        setup_cycles=_serial_cycles(library.head_merge_round_trips, reach, gpu),
        label=(reach.splits,),
    )


def _head_threads(op: AttentionDecode, gpu: Gpu) -> FloatArray:
    """Threads of a CTA: the engine makes them more while CTAs of the smallest size would leave SMs unfilled."""
    library = gpu.library.attention
    resident = np.floor(LARGEST_CTA / library.head_threads)
    heads = column(op.batch) * column(op.heads)
    wanted = library.head_threads * np.minimum(ceil_div(gpu.sm.count * resident, heads), resident)
    threads: FloatArray = np.minimum(2.0 ** np.floor(np.log2(wanted)), LARGEST_CTA)
    return threads


def _head_reach(op: AttentionDecode, gpu: Gpu, threads: FloatArray, loop_keys: FloatArray) -> _Reach:
    """The engine's multi_block_grid_setup: split until the CTAs fill the SMs, one loop of keys for each at least.

    The context must be split so far that the scores of a CTA fit shared memory, four bytes each.
    """
    context, tokens = column(op.seq_kv), column(op.visible_tokens)
    heads = column(op.batch) * column(op.heads)
    fewest = ceil_div(4.0 * tokens, gpu.sm.shared_memory_per_cta_bytes)
    most = np.maximum(ceil_div(gpu.sm.count + 0.0 * heads, heads), fewest)
    balanced = ceil_div(gpu.sm.count * LARGEST_CTA / threads, heads)
    splits = np.maximum(np.minimum(balanced, np.minimum(ceil_div(context + 1.0, loop_keys), most)), fewest)
    return _Reach(tokens, splits, ceil_div(tokens / splits, loop_keys), 1.0 + 0.0 * splits)


def _fixed_cycles(trips: FloatArray, fill: FloatArray, reach: _Reach, gpu: Gpu) -> FloatArray:
    """Latency of a CTA outside its loop, averaged over those that see keys and those that do not.

    Half of it is queueing behind the CTAs of the other SMs. It grows with the query rows and the head dimension, whose
    tiles are loaded, reduced and stored.
    """
    queued = gpu.library.attention.queued_share
    busy = 1.0 - queued + queued * np.minimum(fill, 1.0)
    cycles: FloatArray = trips * cache.mean_latency_cycles(gpu) * busy
    return cycles * (reach.active + gpu.library.attention.idle_cta_share * (1.0 - reach.active))


def _serial_cycles(merge_trips: FloatArray | float, reach: _Reach, gpu: Gpu) -> FloatArray:
    """Before the first CTA, and after the last: where a sequence was split, one CTA merges all its partial results."""
    trips = gpu.library.attention.setup_round_trips + np.where(reach.splits > 1.0, merge_trips, 0.0)
    cycles: FloatArray = trips * cache.mean_latency_cycles(gpu)
    return cycles


def _padded(width: FloatArray) -> FloatArray:
    """Head dimension that the kernels are built for: the next power of two."""
    padded: FloatArray = 2.0 ** np.ceil(np.log2(width))
    return padded


def _cache_bytes(op: AttentionDecode) -> float:
    return bytes_of(op.kv_dtype or op.dtype)


def _missing_bytes(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> FloatArray:
    """Bytes that DRAM brings: the KV cache as a weight, re-read as often as `weight_copies` says, and the queries.

    Between two reads of a line lie all bytes that a run touches: cache, queries and result, and in a module also the
    queries, keys and values that come in.
    """
    state = conditions.cache
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    of_cache, of_queries = (
        np.minimum(column(copies), 1e9) for copies in (state.weight_copies, state.activation_copies)
    )
    others = queries * (2.0 if not conditions.attention_module else 3.0 + 2.0 * column(op.kv_heads) / column(op.heads))
    missing: FloatArray = kv * (1.0 - cache.hit_share(of_cache * kv + others, gpu))
    return missing + queries * (1.0 - cache.hit_share(of_queries * queries + kv, gpu))
