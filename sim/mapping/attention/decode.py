"""Decode attention → kernel demands: one query token a sequence against its KV cache, split among CTAs.

TensorRT-LLM has two kernels (cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention, cpp/kernels/xqa). With grouped
queries a CTA computes all query heads of a KV head on the tensor cores and reads its keys once (XQA); otherwise a CTA
computes one query head on the FMA pipes (MMHA). Both split long contexts as Flash-Decoding does (Dao et al., 2023),
each by its own rule. What follows counts their grids, tiles and loops as those sources do. On Blackwell for servers
generated kernels that work by tiles take XQA's place (`tiled_decode`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Algorithm, Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.libraries import attention_rules, tiled_rules
from simexplore.sim.libraries.tensorrt_llm import LARGEST_CTA, SCORE_BYTES
from simexplore.sim.libraries.tiled import trtllm_gen
from simexplore.sim.mapping.attention.prefill import (
    OPS_OF_SCORE,
    REFERENCE_HEAD,
    grown,
    rotate_and_append,
    tensor_dtype,
)
from simexplore.sim.mapping.attention.tiled_decode import laid_out, missing_bytes, tiled_algorithms
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.gemm import PARTIAL_SUM_BYTES
from simexplore.sim.mapping.matmul.tiles import MMA_ROWS, MOST_REGISTERS
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
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
REFERENCE_QUERIES = 1024.0
"""Elements of a CTA's queries of which `grouped.narrow.cta_instructions` are: eight heads of 128."""
SMALL_QUERIES = 2048.0
"""Elements of a CTA's queries up to which more CTAs share an SM, by its launch bounds."""
SMALL_CTAS_PER_SM, CTAS_PER_SM = 3.0, 2.0
LOAD_BYTES = 16.0
"""Bytes that a thread of the one-head kernel loads at once."""
UNROLL = 8.0
"""Loads of values that such a thread has in flight, and so the loops of keys that a split gives it at least."""
KEY_UNROLL = 4.0
"""Loads of keys that it has in flight."""
HEAD_REGISTERS = 64.0
SHARED_PASSES = 2.0
"""Times that a key or value passes through shared memory: it is written, and read."""


def decode_algorithms(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The grouped kernel and the one-head kernel; which of them serves a row, the engine decides by its shape.

    Engines that decode by tiles have one kernel for all rows (`tiled_decode`).

    With `attention_module` the grouped kernel comes after a kernel that rotates and appends; the other one does that
    itself.
    """
    if tiled_rules(gpu) is not None:
        return tiled_algorithms(op, gpu, conditions)
    grouped = attention_rules(gpu).takes_groups(op, gpu)[:, 0]
    helpers = 0.0
    if conditions.attention_module:
        helpers = np.maximum(gpu.attention_kernels.decode.module_kernels - 2.0, 0.0)
    ways: list[Algorithm] = []
    if np.any(grouped):
        together = _grouped_ways if gpu.attention_kernels.tiled is None else _generated_ways
        ways += [way._replace(serves=way.serves & grouped) for way in together(op, gpu, conditions, helpers)]
    if not np.all(grouped):
        ways.append(Algorithm((_head_kernel(op, gpu, conditions).with_extra_launches(helpers),), ~grouped))
    return tuple(way for way in ways if np.any(way.serves))


def _grouped_ways(op: AttentionDecode, gpu: Gpu, conditions: Conditions, helpers: float) -> tuple[Algorithm, ...]:
    fused = attention_rules(gpu).rotates_itself(op, gpu)[:, 0] | (not conditions.attention_module)
    together = _grouped_kernel(op, gpu, conditions)
    before = rotate_and_append(op, constant(1.0), gpu, helpers)
    return (Algorithm((before, together), ~fused), Algorithm((together.with_extra_launches(helpers),), fused))


def _generated_ways(op: AttentionDecode, gpu: Gpu, conditions: Conditions, helpers: float) -> tuple[Algorithm, ...]:
    before = (rotate_and_append(op, constant(1.0), gpu, helpers),) if conditions.attention_module else ()
    return laid_out(op, trtllm_gen.decode_plan(op, gpu), before, gpu, conditions)


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
    library = gpu.attention_kernels
    sixteen_bit = _Variant(
        warps=GROUP_WARPS,
        tile=float(library.grouped.kv_tile),
        ctas_per_sm=constant(1.0),
        most_splits=np.inf,
        returns=False,
        fixed_trips=library.grouped.round_trips,
        step_trips=library.grouped.step_round_trips,
        merge_trips=library.grouped.merge_round_trips,
        flight_share=library.grouped.flight_share,
        instructions=0.0,
        conversions=0.0,
    )
    if _cache_bytes(op) >= 2.0:
        return sixteen_bit
    widening = sixteen_bit._replace(
        most_splits=float(library.grouped.narrow.max_splits),
        fixed_trips=library.grouped.narrow.round_trips,
        step_trips=library.grouped.narrow.step_round_trips,
        merge_trips=library.grouped.narrow.merge_round_trips,
        conversions=library.grouped.narrow.conversions,
    )
    if gpu.library.gemm.tensor.reads_registers:
        return widening
    rows = ceil_div(column(op.heads) / column(op.kv_heads), WGMMA_QUERIES) * WGMMA_QUERIES
    return widening._replace(
        warps=NARROW_WARPS,
        tile=float(library.grouped.narrow.kv_tile),
        ctas_per_sm=np.where(_padded(column(op.head_dim)) * rows <= SMALL_QUERIES, SMALL_CTAS_PER_SM, CTAS_PER_SM),
        returns=True,
        flight_share=1.0,
        instructions=library.grouped.narrow.cta_instructions,
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
    library, sm = gpu.attention_kernels, gpu.sm
    element, cached = bytes_of(op.dtype), _cache_bytes(op)
    group = column(op.heads) / column(op.kv_heads)
    width = _padded(column(op.head_dim))
    variant = _variant(op, gpu)
    reach = _grouped_reach(op, gpu, variant)
    ctas = column(op.batch) * column(op.kv_heads) * reach.splits
    rows = ceil_div(group, MMA_ROWS) * MMA_ROWS
    keys = ceil_div(reach.tokens, WARP_KEYS) * WARP_KEYS / reach.splits  # of the last tile, the warps that have keys
    hit = gpu.l2.mean_latency_cycles
    partial = group * column(op.head_dim) * np.where(reach.splits > 1.0, PARTIAL_SUM_BYTES, element)
    merge = variant.merge_trips + library.grouped.merge_step_round_trips * reach.splits
    # A split sequence ends in a partial result, a fence and a semaphore instead of the result itself.
    handed_on = np.where(reach.splits > 1.0, library.grouped.partial_round_trips, 0.0)
    trips = variant.fixed_trips * grown(library.grouped.fixed_over_queries, rows / MMA_ROWS) + handed_on
    trips = trips * grown(library.grouped.fixed_over_width, width / REFERENCE_HEAD)
    of_warps = variant.instructions * variant.warps * sm.warp_size
    outside = of_warps * grown(library.grouped.narrow.fixed_over_queries, group * width / REFERENCE_QUERIES)
    room = np.minimum(library.grouped.load_bytes, width * cached)
    return KernelDemand(
        kernel="attention",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=constant(variant.warps),
            registers_per_thread=np.minimum(
                sm.registers / (variant.warps * sm.warp_size * variant.ctas_per_sm), MOST_REGISTERS
            ),
            shared_bytes_per_cta=np.minimum(
                sm.shared_memory_bytes / variant.ctas_per_sm - sm.shared_memory_reserved_bytes,
                sm.shared_memory_per_cta_bytes,
            ),
        ),
        work=Work(
            tensor_dtype=tensor_dtype(op.dtype, gpu),
            tensor_ops=OPS_OF_SCORE * rows * keys * width,
            fma_ops=2.0 * (library.softmax_instructions * rows * keys + outside),
            special_ops=rows * keys + 2.0 * variant.conversions * keys * width,
            shared_bytes=2.0 * SHARED_PASSES * keys * width * cached,
            l2_read_bytes=2.0 * reach.tokens / reach.splits * column(op.head_dim) * cached + partial,
            l2_write_bytes=partial,
            dram_read_bytes=missing_bytes(op, gpu, conditions) / ctas,
            epilogue_bytes=partial,
        ),
        latency=Latency(
            bytes_in_flight=variant.flight_share * 2.0 * variant.tile * room,
            chain_cycles=reach.steps * variant.step_trips * hit,
            exposed_cycles=_fixed_cycles(trips, ctas / (sm.count * variant.ctas_per_sm), reach, gpu),
            setup_cycles=_serial_cycles(merge, reach, gpu),
        ),
        overlap=Overlap(
            within_sm=library.decode.overlap_exponent,
            l2_rate=library.decode.l2_rate,
            dram_rate=library.decode.dram_rate,
        ),
        choice=Choice(
            label=(reach.splits,),
        ),
    )


def _grouped_reach(op: AttentionDecode, gpu: Gpu, variant: _Variant) -> _Reach:
    """CTAs take tiles of keys in turns; some kernels start none that would have no keys."""
    tile, context, tokens = variant.tile, column(op.seq_kv), column(op.visible_tokens)
    tiles = ceil_div(context, tile) - (context - tokens) // tile
    most = np.minimum(variant.most_splits, tiles) if variant.returns else variant.most_splits
    splits = np.minimum(attention_rules(gpu).grouped_splits(op, gpu), most)
    return _Reach(tokens, splits, ceil_div(tiles, splits), np.minimum(tiles / splits, 1.0))


def _head_kernel(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library = gpu.attention_kernels
    element, cached = bytes_of(op.dtype), _cache_bytes(op)
    width = _padded(column(op.head_dim))
    rules = attention_rules(gpu)
    threads = rules.head_threads(op, gpu)
    at_once = threads / (width * element / LOAD_BYTES)
    loop_keys = at_once * UNROLL
    splits, tokens = rules.head_splits(op, gpu, threads, loop_keys), column(op.visible_tokens)
    reach = _Reach(tokens, splits, ceil_div(tokens / splits, loop_keys), np.ones_like(splits))
    ctas = column(op.batch) * column(op.heads) * reach.splits
    keys = reach.tokens / reach.splits
    hit = gpu.l2.mean_latency_cycles
    partial = column(op.head_dim) * np.where(reach.splits > 1.0, PARTIAL_SUM_BYTES, element)
    trips = library.one_head.narrow.round_trips if cached < 2.0 else library.one_head.round_trips
    unrolled = at_once * KEY_UNROLL
    done = ceil_div(keys, unrolled) * unrolled * np.minimum(keys / at_once, 1.0)
    work = OPS_OF_SCORE * done * column(op.head_dim)
    return KernelDemand(
        kernel="attention",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=threads / gpu.sm.warp_size,
            registers_per_thread=constant(HEAD_REGISTERS),
            shared_bytes_per_cta=np.minimum(SCORE_BYTES * keys, gpu.sm.shared_memory_per_cta_bytes),
        ),
        work=Work(
            tensor_dtype=tensor_dtype(op.dtype, gpu),
            fma_ops=library.one_head.instructions * work,
            special_ops=keys + (2.0 * library.one_head.narrow.conversions * done * width if cached < 2.0 else 0.0),
            l2_read_bytes=2.0 * keys * column(op.head_dim) * cached + partial,
            l2_write_bytes=partial,
            dram_read_bytes=missing_bytes(op, gpu, conditions) / ctas,
            epilogue_bytes=partial,
        ),
        latency=Latency(
            bytes_in_flight=threads * LOAD_BYTES * KEY_UNROLL,
            chain_cycles=(reach.steps - 1.0) * library.one_head.step_round_trips * hit,
            exposed_cycles=_fixed_cycles(trips, ctas * threads / (LARGEST_CTA * gpu.sm.count), reach, gpu),
            setup_cycles=_serial_cycles(library.one_head.merge_round_trips, reach, gpu),
        ),
        overlap=Overlap(
            within_sm=library.decode.overlap_exponent,
            l2_rate=library.decode.l2_rate,
            dram_rate=library.decode.dram_rate,
        ),
        choice=Choice(
            label=(reach.splits,),
        ),
    )


def _fixed_cycles(trips: FloatArray | float, fill: FloatArray, reach: _Reach, gpu: Gpu) -> FloatArray:
    """Latency of a CTA outside its loop, averaged over those that see keys and those that do not.

    `queued_share` of it is queueing behind the CTAs of other SMs, as far as there are any. It grows with the query rows
    and the head dimension, whose tiles are loaded, reduced and stored.
    """
    queued = gpu.attention_kernels.decode.queued_share
    busy = 1.0 - queued + queued * np.minimum(fill, 1.0)
    cycles: FloatArray = trips * gpu.l2.mean_latency_cycles * busy
    return cycles * (reach.active + gpu.attention_kernels.decode.idle_cta_share * (1.0 - reach.active))


def _serial_cycles(merge_trips: FloatArray | float, reach: _Reach, gpu: Gpu) -> FloatArray:
    """Before the first CTA, and after the last: where a sequence was split, one CTA merges all its partial results."""
    trips = gpu.attention_kernels.setup_round_trips + np.where(reach.splits > 1.0, merge_trips, 0.0)
    cycles: FloatArray = trips * gpu.l2.mean_latency_cycles
    return cycles


def _padded(width: FloatArray) -> FloatArray:
    """Head dimension that the kernels are built for: the next power of two."""
    padded: FloatArray = 2.0 ** np.ceil(np.log2(width))
    return padded


def _cache_bytes(op: AttentionDecode) -> float:
    return bytes_of(op.kv_dtype or op.dtype)
